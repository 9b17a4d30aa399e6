"""The VAE learns by the same loop: alone or only its decoder, from what it was or anew."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from safetensors.torch import load_file
from torch.nn.functional import avg_pool2d

import disks
from gesso.core.errors import CancelledError, InputError, StorageError
from gesso.primer import weights_folder
from gesso.primer.scene import Fill, random_scene
from gesso.training.primer import reconstruction
from gesso.training.primer.autoencoding import Autoencoding
from gesso.training.primer.chance import generator
from gesso.training.primer.checkpoint import FILE
from gesso.training.primer.latent_space import measure
from gesso.training.primer.latents import latents_of, signed
from gesso.training.primer.plan import TrainingPlan
from gesso.training.primer.renders import Renders, more_striped, renders
from gesso.training.primer.trainer import train
from training_runs import assert_equal, curve, stop_after, tensors

CPU = torch.device("cpu")
VAE = Path("vae/diffusion_pytorch_model.safetensors")


def test_a_decoder_that_learns_gives_pictures_back_better_and_leaves_all_else_as_it_was(vae_plan: Any) -> None:
    fields: dict[str, Any] = {"learning_rate": 1e-2, "cooldown_steps": 0, "average_decay": 0.8}
    for steps in (1, 30):
        asked = vae_plan(steps=steps, **fields)
        folder = train(asked)
    before, after = (line for line in curve(asked.out) if "held_out_loss" in line)
    assert after["held_out_loss"] < 0.95 * before["held_out_loss"]
    assert after["held_out_psnr"] > before["held_out_psnr"]
    was, became = load_file(asked.start / VAE), load_file(folder / VAE)
    changed = {name.partition(".")[0] for name in was if not torch.equal(was[name], became[name])}
    assert changed == {"decoder", "post_quant_conv"}
    for path in folder.rglob("*"):
        if path.is_file() and path != folder / VAE:
            assert path.read_bytes() == (asked.start / path.relative_to(folder)).read_bytes()


@pytest.mark.parametrize("part", ["decoder", "vae"])
def test_an_interrupted_training_ends_as_one_that_was_not(vae_plan: Any, tmp_path: Path, part: str) -> None:
    straight, broken = (vae_plan(out=tmp_path / name, part=part) for name in ("straight", "broken"))
    train(straight)
    for step in (1, 3):  # among windows, and among whole pictures
        with pytest.raises(CancelledError, match=f"Stopped after step {step} of 4"):
            train(broken, watch=stop_after(step))
    train(broken)
    assert_equal(tensors(straight.out), tensors(broken.out))
    assert curve(straight.out) == curve(broken.out)
    for file in (straight.out / "model").rglob("*.*"):
        assert file.read_bytes() == (broken.out / file.relative_to(straight.out)).read_bytes()


def test_a_fresh_vae_has_latents_of_standard_deviation_one_and_makes_a_pipeline(vae_plan: Any) -> None:
    asked = vae_plan(part="vae", fresh=True, vae_channels=(8, 8, 16, 16), pictures=32, kl_weight=1e-3)
    folder = train(asked)
    pipeline: Any = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    assert pipeline.vae.config.block_out_channels == [8, 8, 16, 16]
    pixels = renders(pipeline.vae, asked).pixels.float() / 127.5 - 1
    with torch.no_grad():
        latents = pipeline.vae.encode(pixels).latent_dist.mode() * pipeline.vae.config.scaling_factor
    assert latents.std().item() == pytest.approx(1, abs=0.01)
    pipeline.set_progress_bar_config(disable=True)
    (picture,) = pipeline("a red circle", num_inference_steps=1, generator=generator("any")).images
    assert picture.size == (128, 128)


@pytest.mark.slow  # the compiler takes minutes
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of what it does itself
def test_compiled_networks_learn_the_same(vae_plan: Any, tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "part": "vae",
        "fresh": True,
        "vae_channels": (8, 8, 8, 8),
        "steps": 3,
        "whole_pictures_steps": 0,
        "learning_rate": 1e-5,  # Adam's first steps go by signs, of gradients that are nearly none too
    }
    losses: list[list[float]] = []
    for compiled in (False, True):
        asked = vae_plan(out=tmp_path / str(compiled), compile=compiled, log_every_steps=1, **fields)
        StableDiffusionPipeline.from_pretrained(train(asked))  # its weights have the names that they always had
        losses.append([line["loss"] for line in curve(asked.out) if "loss" in line])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_fresh_decoder_keeps_the_encoder(vae_plan: Any) -> None:
    folder = train(vae_plan(fresh=True, steps=1, learning_rate=1e-6))
    was, became = load_file(vae_plan().start / VAE), load_file(folder / VAE)
    assert torch.equal(was["encoder.conv_in.weight"], became["encoder.conv_in.weight"])
    assert not torch.allclose(was["decoder.conv_in.weight"], became["decoder.conv_in.weight"], atol=0.01)


def test_what_learns_must_not_change_on_the_way(vae_plan: Any) -> None:
    train(vae_plan(steps=1))
    with pytest.raises(InputError, match="was begun with `part: decoder`"):
        train(vae_plan(part="vae"))


def test_a_disk_without_room_for_the_pictures_is_told_before_the_first_step(vae_plan: Any, tmp_path: Path) -> None:
    with disks.full_disk(tmp_path / "disk"):
        asked = vae_plan(out=tmp_path / "disk" / "out")
        with pytest.raises(StorageError, match="No room left"):
            train(asked)
        assert not (asked.out / FILE).exists()


def test_windows_hold_a_thing_and_latents_are_cut_where_pixels_are(vae_plan: Any) -> None:
    lesson = Autoencoding(vae_plan(batch_size=12), device=CPU)
    lesson.pictures = _maps_of_places(12)
    for step in range(2):
        batch = lesson.batch(step, generator("windows", step))
        assert batch.pixels.shape == (12, 3, 64, 64)
        assert batch.latents is not None
        cells = (batch.latents * lesson.scale).round()  # x and y of each cell
        for pixels, latents in zip((batch.pixels + 1) * 127.5, cells, strict=True):
            torch.testing.assert_close(pixels[:2, ::8, ::8] / 8, latents[:2], atol=1e-3, rtol=0)
            left, top = latents[:2, 0, 0].tolist()
            assert left <= 4 < left + 8
            assert top <= 10 < top + 8
    assert lesson.batch(2, generator("any")).pixels.shape == (3, 3, 128, 128)
    assert [lesson.seen(steps) for steps in range(5)] == [0, 12, 24, 27, 30]


def _maps_of_places(count: int) -> Renders:
    """Pictures and latents that hold nothing but their own coordinates, with a thing a third from the left."""

    def coordinates(side: int) -> torch.Tensor:
        down, right = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        return torch.stack([right, down, right, down]).expand(count, -1, -1, -1)

    return Renders(
        pixels=coordinates(128)[:, :3].to(torch.uint8),
        middles=torch.tensor([0.3, 0.65]).expand(count, 2, 2),
        latents=coordinates(16).half(),
    )


def test_processes_that_draw_draw_what_one_would(vae_plan: Any, tmp_path: Path) -> None:
    asked = vae_plan(part="vae", out=tmp_path / "alone", pictures=5)
    vae: Any = AutoencoderKL.from_pretrained(asked.start, subfolder="vae")
    alone = renders(vae, asked)
    together = renders(vae, asked.model_copy(update={"out": tmp_path / "together", "workers": 2}))
    assert torch.equal(alone.pixels, together.pixels)
    assert torch.equal(alone.middles, together.middles)


def test_half_of_the_things_that_a_vae_learns_from_are_striped() -> None:
    rng = Random(1)
    things = [thing for _ in range(1000) for thing in more_striped(random_scene(rng), rng).things]
    assert sum(thing.fill is Fill.STRIPED for thing in things) / len(things) == pytest.approx(0.51, abs=0.04)


def test_what_is_measured_of_the_primers_latents_is_as_good_as_what_its_folder_tells(tmp_path: Path) -> None:
    vae: Any = AutoencoderKL.from_pretrained(weights_folder(), subfolder="vae", torch_dtype=torch.float32).eval()
    plan = TrainingPlan.model_validate({"out": tmp_path, "part": "vae", "pictures": 64})
    pixels = renders(vae, plan).pixels
    space = measure(vae, pixels)
    assert space.scaling_factor == pytest.approx(vae.config.scaling_factor, rel=0.1)
    told = json.loads((weights_folder() / "preview.json").read_text())
    colours = avg_pool2d(signed(pixels), 8)  # [N, 3, 16, 16]

    def error(factors: list[list[float]], bias: list[float]) -> float:
        previews = torch.einsum("nchw,cr->nrhw", latents_of(vae, pixels).float(), torch.tensor(factors))
        return (previews + torch.tensor(bias)[:, None, None] - colours).square().mean().item()

    assert error(space.latent_rgb, space.bias) <= 1.01 * error(told["latent_rgb"], told["bias"])


def test_a_blurred_edge_costs_more_than_as_wrong_an_even_area() -> None:
    true = torch.zeros(1, 3, 8, 8)
    even, edgy = true + 0.1, true + 0.1 * (-1) ** torch.arange(8)
    assert reconstruction.loss(even, true, edge_weight=1).item() == pytest.approx(0.1)
    assert reconstruction.loss(edgy, true, edge_weight=0).item() == pytest.approx(0.1)
    assert reconstruction.loss(edgy, true, edge_weight=1).item() == pytest.approx(0.3)
    assert reconstruction.psnr(0.04) == pytest.approx(20)
