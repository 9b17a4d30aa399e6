"""The training goes on exactly where it was interrupted, learns, and never loses its last good checkpoint."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors.torch import load_file

import disks
from cli_runs import SOURCE
from gesso.core.errors import CancelledError, InputError, ModelError, NonFiniteError, StorageError
from gesso.training.primer import objective
from gesso.training.primer.autoencoding import Autoencoding
from gesso.training.primer.chance import generator
from gesso.training.primer.checkpoint import FILE, read_checkpoint
from gesso.training.primer.denoising import Denoising
from gesso.training.primer.latents import encoded_pictures
from gesso.training.primer.networks import load_networks
from gesso.training.primer.trainer import Progress, Trainer, train
from training_runs import assert_equal, curve, stop_after, tensors

CPU = torch.device("cpu")


def test_an_interrupted_training_ends_as_one_that_was_not(plan: Any, tmp_path: Path) -> None:
    straight, broken = plan(out=tmp_path / "straight"), plan(out=tmp_path / "broken")
    train(straight)
    before = signal.getsignal(signal.SIGTERM)
    for step in (1, 3):
        with pytest.raises(CancelledError, match=f"Stopped after step {step} of 4"):
            train(broken, watch=stop_after(step))
    assert signal.getsignal(signal.SIGTERM) == before
    train(broken)
    assert_equal(tensors(straight.out), tensors(broken.out))
    assert curve(straight.out) == curve(broken.out)
    for file in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"):
        assert (straight.out / "model" / file).read_bytes() == (broken.out / "model" / file).read_bytes()


def test_a_training_that_is_killed_keeps_a_good_checkpoint_and_goes_on_from_it(plan: Any, tmp_path: Path) -> None:
    straight, killed = plan(out=tmp_path / "straight", steps=15), plan(out=tmp_path / "killed", steps=15)
    program = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from gesso.training.primer.plan import TrainingPlan\n"
        "from gesso.training.primer.trainer import train\n"
        "train(TrainingPlan.model_validate_json(sys.argv[1]))"
    )
    # With a checkpoint after every step a kill is most likely to hit the middle of one.
    asked = killed.model_copy(update={"checkpoint_every_seconds": 1e-6}).model_dump_json(exclude_unset=True)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    child = subprocess.Popen([sys.executable, "-c", program, asked], env=environment)
    try:
        deadline = time.monotonic() + 90
        while not (killed.out / FILE).exists():
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.01)
        time.sleep(0.1)
    finally:
        child.kill()
        child.wait()
    kept = read_checkpoint(killed.out, fixed=killed.fixed())
    assert kept is not None
    assert 0 < kept.step <= 15
    (killed.out / ".0123456789abcdef.part").write_bytes(b"half a checkpoint")
    train(killed)
    assert not list(killed.out.glob(".*.part"))
    train(straight)
    assert_equal(tensors(straight.out), tensors(killed.out))
    assert curve(straight.out) == curve(killed.out)


@pytest.mark.parametrize(("asking", "lesson", "kib"), [("plan", Denoising, 6000), ("vae_plan", Autoencoding, 4000)])
def test_a_full_disk_leaves_the_last_checkpoint_good(
    request: pytest.FixtureRequest, tmp_path: Path, asking: str, lesson: type[Any], kib: int
) -> None:
    plan = request.getfixturevalue(asking)
    disk = tmp_path / "disk"
    with disks.small_disk(disk, kib=kib) as mounted:
        if not mounted:
            pytest.skip("needs the right to mount a small disk")
        asked = plan(out=disk / "out", checkpoint_every_seconds=1e-6)
        room = disk / "room"

        def fill(news: Progress) -> None:
            if news.step == 2:
                with pytest.raises(OSError, match="No space"):
                    room.write_bytes(b"x" * 1000 * kib)

        with pytest.raises(StorageError, match="No room left") as raised:
            train(asked, watch=fill)
        assert "\n" not in raised.value.message
        kept = read_checkpoint(asked.out, fixed=asked.fixed())
        assert kept is not None
        assert kept.step == 1
        del kept  # it lies on the disk that will be taken away
        room.unlink()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(lesson, "export", lambda *_: None)  # no room for the model
            train(asked)
        straight = plan(out=tmp_path / "straight")
        train(straight)
        assert_equal(tensors(straight.out), tensors(asked.out))


def test_a_model_that_found_no_room_is_written_by_the_next_run(plan: Any) -> None:
    asked = plan(validation={"every_steps": 2, "pictures": 4})

    def no_room(lesson: Denoising, folder: Path) -> None:
        if (folder / "model_index.json").exists():  # not in the middle, but at the end
            raise StorageError("No room left")
        write(lesson, folder)

    write = Denoising.export
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Denoising, "export", no_room)
        with pytest.raises(StorageError):
            train(asked)
    folder = train(asked)
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    average = tensors(asked.out)
    for name, tensor in weights.items():
        assert torch.equal(tensor, average[f"average/unet/{name}"].half()), name


def test_what_is_learned_is_seen_in_the_loss_on_held_out_pictures(plan: Any) -> None:
    fields: dict[str, Any] = {"fresh": True, "learning_rate": 5e-3, "cooldown_steps": 0, "average_decay": 0.8}
    for steps in (1, 80):
        train(plan(steps=steps, validation={"pictures": 16}, **fields))
    before, after = (line["held_out_loss"] for line in curve(plan().out) if "held_out_loss" in line)
    assert after < 0.85 * before


def test_the_end_of_the_plan_may_be_moved_and_what_must_stay_is_checked(plan: Any) -> None:
    train(plan(steps=2))
    train(plan(steps=3, learning_rate=1e-4))
    assert [line["step"] for line in curve(plan().out) if "loss" in line] == [1, 2, 3]
    for key, value in {"seed": 4, "pictures": 16, "batch_size": 2, "share_of_two_things": 0.1, "fresh": True}.items():
        with pytest.raises(InputError, match=f"was begun with `{key}:") as raised:
            train(plan(**{key: value}))
        assert raised.value.hint is not None


def test_a_training_that_is_done_changes_nothing(plan: Any) -> None:
    asked = plan(steps=1)
    folder = train(asked)
    before = {path: path.read_bytes() for path in asked.out.rglob("*") if path.is_file()}
    assert train(asked, tryout=lambda _: pytest.fail("tried out again")) == folder
    assert {path: path.read_bytes() for path in asked.out.rglob("*") if path.is_file()} == before


def test_a_damaged_checkpoint_is_refused_in_one_line(plan: Any) -> None:
    asked = plan(steps=1)
    train(asked)
    whole = (asked.out / FILE).read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"nonsense" * 100):
        (asked.out / FILE).write_bytes(broken)
        with pytest.raises(ModelError, match="damaged") as raised:
            train(asked)
        assert "\n" not in raised.value.message


def test_a_folder_that_is_no_model_is_refused(plan: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="could not be read as a Stable Diffusion folder"):
        train(plan(start=tmp_path))


def test_weights_that_became_infinite_end_the_training(plan: Any) -> None:
    asked = plan()
    lesson = Denoising(asked, device=CPU)
    lesson.prepare()
    trainer = Trainer(asked, lesson)
    with torch.no_grad():
        trainer.parameters[0].fill_(torch.inf)
    with pytest.raises(NonFiniteError):
        trainer.run()
    assert not (asked.out / FILE).exists()


def test_fresh_weights_have_the_widths_asked_for_and_make_a_folder_that_a_studio_can_use(plan: Any) -> None:
    from studios import studio

    asked = plan(fresh=True, unet_channels=(16, 16, 24), text_layers=2, steps=1)
    folder = train(asked)
    assert json.loads((folder / "text_encoder" / "config.json").read_text())["num_hidden_layers"] == 2
    unet = json.loads((folder / "unet" / "config.json").read_text())
    assert unet["block_out_channels"] == [16, 16, 24]
    weights = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    with studio() as opened:
        (picture,) = opened.generate("a red circle", model=str(folder), steps=1, seed=1).images
    assert picture.size == (128, 128)


def test_the_tryout_draws_with_the_averaged_weights(plan: Any) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def tryout(folder: Path) -> dict[str, Any]:
        seen.append(load_file(folder / "unet" / "diffusion_pytorch_model.safetensors"))
        return {"tried": len(seen)}

    asked = plan(average_decay=0.9, validation={"every_steps": 2, "pictures": 4})
    train(asked, tryout=tryout)
    assert [line["scores"] for line in curve(asked.out) if "scores" in line] == [{"tried": 1}, {"tried": 2}]
    average = {name: tensor for name, tensor in tensors(asked.out).items() if name.startswith("average/unet/")}
    assert len(average) == len(seen[1])
    for name, tensor in seen[1].items():
        torch.testing.assert_close(tensor, average[f"average/unet/{name}"].half(), rtol=0, atol=0)
    weights = tensors(asked.out)
    assert any(
        not torch.equal(weights[name.replace("average", "weights", 1)], tensor) for name, tensor in average.items()
    )


def test_pictures_are_encoded_once_and_a_damaged_file_is_made_again(plan: Any) -> None:
    asked = plan()
    networks = load_networks(asked)
    first = encoded_pictures(networks, asked)
    (file,) = (asked.out / "latents").rglob("*.safetensors")
    written = file.stat().st_mtime_ns
    encoded_pictures(networks, asked)
    assert file.stat().st_mtime_ns == written
    file.write_bytes(b"broken")
    again = encoded_pictures(networks, asked)
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(first.tokens, again.tokens)
    assert first.latents.shape == (12, 4, 16, 16)
    assert first.latents.dtype == torch.float16
    assert 0.5 < float(first.latents.float().std()) < 2  # scaled as the pipeline scales them


def test_every_picture_is_seen_once_before_any_is_seen_again(plan: Any) -> None:
    lesson = Denoising(plan(), device=CPU)
    lesson.prepare()
    seen: list[bytes] = []
    for step in range(6):
        x0, _ = lesson.batch(step, generator("any"))
        seen += [row.half().numpy().tobytes() for row in x0]
    assert len(set(seen[:12])) == 12
    assert sorted(seen[:12]) == sorted(seen[12:])
    assert seen[:12] != seen[12:]


def test_corruption_and_target_are_those_of_the_scheduler_that_samples() -> None:
    scheduler: Any = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    chance = generator("test")
    x0, noise = torch.randn(6, 4, 8, 8, generator=chance), torch.randn(6, 4, 8, 8, generator=chance)
    t = torch.tensor([0, 10, 300, 500, 900, 999])
    share = scheduler.alphas_cumprod[t]
    torch.testing.assert_close(objective.corrupt(x0, noise, share), scheduler.add_noise(x0, noise, t))
    torch.testing.assert_close(objective.target(x0, noise, share), scheduler.get_velocity(x0, noise, t))


def test_half_of_the_timesteps_are_drawn_more_often_from_the_middle() -> None:
    drawn = objective.timesteps(20_000, 1000, generator("times"))
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) <= 999
    logit_normal, uniform = drawn[::2], drawn[1::2]
    assert ((uniform >= 250) & (uniform < 750)).float().mean() == pytest.approx(0.5, abs=0.02)
    # P(|N(0, 1)| < logit(0.75)) = 0.728
    assert ((logit_normal >= 250) & (logit_normal < 750)).float().mean() == pytest.approx(0.728, abs=0.02)


def test_a_tenth_of_the_captions_is_left_out(plan: Any) -> None:
    asked = plan(pictures=100, batch_size=100, steps=3)
    lesson = Denoising(asked, device=CPU)
    lesson.prepare()
    empty = 0

    def counted(x0: torch.Tensor, tokens: torch.Tensor, _chance: torch.Generator) -> torch.Tensor:
        nonlocal empty
        empty += int((tokens == lesson.empty).all(dim=1).sum())
        return x0.sum() * 0

    lesson.error = counted  # pyright: ignore[reportAttributeAccessIssue]
    for step in range(3):
        lesson.loss(step)
    assert 12 <= empty <= 50
