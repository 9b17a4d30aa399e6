"""A second pass at a larger size: it is the image-to-image pipeline on what the first made, and keeps the facts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import studios
import zoo
from effects import Effect
from gesso.core.chance import Chance
from gesso.core.errors import InputError
from gesso.core.requests import HiresPass, ImageRequest, ResolvedImageRequest
from gesso.engine.edit.strength import planned_steps, steps_made, strength_making
from gesso.engine.evaluation import Tally, held_out_prompts, score_into
from gesso.engine.hires.upscalers import UPSCALERS, larger_latents, larger_picture
from gesso.engine.infotext import write
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio

PROMPTS = held_out_prompts(4, things=1, seed=6)
SLOW = pytest.mark.slow
"""Kinds that go the way of another."""
KEEPING = HiresPass(upscaler="lanczos", strength=0.25, steps=2)


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def thin(kind: str, **fields: Any) -> ImageRequest:
    size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    given: dict[str, Any] = {"prompt": "a red circle", "seed": 1, "steps": 4, "model": str(zoo.saved(kind)), **size}
    return ImageRequest(**given | fields)


def painted(studio: Studio, fields: Sequence[dict[str, Any]]) -> list[Image.Image]:
    asked = [
        ImageRequest(**{"prompt": prompt, "seed": 4, "steps": 3} | own)
        for prompt, own in zip(PROMPTS, fields, strict=True)
    ]
    return [result.images[0] for result in studios.run_together(studio, asked)]


def right(images: Sequence[Image.Image]) -> float:
    """Share of the pictures that show all facts of their prompts."""
    tally = Tally()
    for prompt, image in zip(PROMPTS, images, strict=True):
        assert image.size == (256, 256)
        score_into(tally, prompt, image)
    return tally.all_right / tally.pictures


def test_the_second_pass_keeps_the_facts_at_twice_the_size_and_so_does_a_finished_picture_painted_again(
    studio: Studio, effect: Effect, tmp_path: Path
) -> None:
    large: dict[str, Any] = {"width": 256, "height": 256}
    small, second, at_once = (painted(studio, [fields] * len(PROMPTS)) for fields in ({}, {"hires": KEEPING}, large))
    paths = [tmp_path / f"{place}.png" for place in range(len(PROMPTS))]
    for image, path in zip(small, paths, strict=True):
        image.save(path)
    again = painted(studio, [large | {"image": str(path), "strength": 0.25, "steps": 8} for path in paths])
    effect(
        "Pictures with all facts of four prompts at twice the size, painted small, then once more at strength 0.25",
        right(second),
        least=0.5,
        pictures={"small": small[1], "after the second pass": second[1], "painted large at once": at_once[1]},
    )
    effect("The same, painted large at once", right(at_once), most=0.25)
    effect("The same after `gesso upscale IMAGE PROMPT` of the small pictures", right(again), least=0.5)
    effect(
        "The same after `gesso upscale IMAGE`, which enlarges pixels",
        right([*(studio.upscale(path) for path in paths[:2]), *(studio.upscale(image) for image in small[2:])]),
        least=0.9,
    )


@pytest.mark.parametrize("kind", ["sd1", "flux-dev", *(pytest.param(kind, marks=SLOW) for kind in ("sd3", "z-image"))])
def test_it_is_the_image_to_image_pipeline_on_the_first_picture_enlarged(
    studio: Studio, kind: str, tmp_path: Path
) -> None:
    guided = {"guidance": 3.0, "sampler": None}
    hires = HiresPass(scale=2, upscaler="lanczos", strength=0.5, steps=3)
    made = studio.submit(thin(kind, hires=hires, **guided)).result(100)
    first = studio.submit(thin(kind, **guided)).result(100).images[0]
    side = 2 * zoo.PICTURE_PX
    first.resize((side, side), Image.Resampling.LANCZOS).save(tmp_path / "first.png")
    decided = made.recipes[0].resolved.hires
    assert decided is not None
    again = thin(
        kind,
        **guided | {"width": side, "height": side, "steps": decided.planned_steps},
        image=str(tmp_path / "first.png"),
        strength=0.5,
    )
    assert studios.distance(made.images[0], studio.submit(again).result(100).images[0]) <= 1.5 / 255


def test_latents_are_enlarged_without_a_detour_by_way_of_pixels(studio: Studio) -> None:
    made = studio.submit(thin("sdxl", hires=HiresPass(scale=1.5, upscaler="Latent (bicubic)", steps=3))).result(100)
    calls = [(entry.component, entry.method) for entry in made.recipes[0].run.trace if entry.component == "vae"]
    assert calls == [("vae", "decode")]
    assert made.images[0].size == (96, 96)


@pytest.mark.parametrize("name", UPSCALERS)
def test_each_upscaler_covers_a_size_of_other_proportions_and_cuts_the_middle_out(name: str) -> None:
    upscaler = UPSCALERS[name]
    ramp = torch.linspace(0, 1, 16)[None, None, :, None].expand(1, 4, 16, 16)  # from top to bottom
    if upscaler.latent_mode is not None:
        made = larger_latents(ramp, (32, 24), upscaler)
        assert made.shape == (1, 4, 24, 32)
        column = made[0, 0, :, 5]
    else:
        grey = Image.fromarray((ramp[0, 0].numpy() * 255).astype("uint8")).convert("RGB")
        image = larger_picture(grey, (32, 24), upscaler)
        assert image.size == (32, 24)
        column = torch.from_numpy(studios.pixels(image)[:, 5, 0])
    torch.testing.assert_close(column, torch.linspace(0.125, 0.875, 24), rtol=0, atol=0.05)


def test_steps_and_previews_of_both_passes_are_told_as_one_way() -> None:
    with studios.studio(previews=True) as opened:
        handle = opened.submit(ImageRequest(prompt=PROMPTS[0], seed=4, steps=2, hires=HiresPass(steps=3, strength=0.6)))
        events = list(handle.events())
    steps = [(event.completed, event.total) for event in events if event.kind == "step-completed"]
    assert steps == [(done, 5) for done in range(1, 6)]
    assert {event.completed for event in events if event.kind == "preview-ready"} == set(range(1, 6))


def test_a_killed_job_goes_on_in_the_second_pass_and_replays_to_the_bit(tmp_path: Path) -> None:
    asked = thin("sd1", exact=True, hires=HiresPass(steps=4, prompt="a blue star", guidance=4.0))
    with studios.studio() as opened:
        whole = opened.submit(asked).result(100)
        assert replay(opened, whole.save(tmp_path / "whole.png")[0]).verdict is Verdict.IDENTICAL
        studios.cancel_after(opened.submit(asked, journal=tmp_path / "journal"), 6)
        going_on = opened.submit(asked, journal=tmp_path / "journal").result(100)
    assert studios.distance(whole.images[0], going_on.images[0]) == 0


def test_the_second_pass_reads_its_own_prompt_with_its_own_sampler(studio: Studio) -> None:
    plain, other, sampled = (
        studio.submit(thin("sd1", guidance=3.0, hires=second)).result(100)
        for second in (HiresPass(), HiresPass(prompt="a blue star on black"), HiresPass(sampler="Heun"))
    )
    for changed in (other, sampled):
        assert studios.distance(plain.images[0], changed.images[0]) > 3 / 255
    text = write(other.recipes[0])
    for pair in ("Hires upscale: 2.0", "Hires upscaler: Latent", "Hires prompt: a blue star on black"):
        assert pair in text
    assert "Hires sampler: Heun" in write(sampled.recipes[0])


def test_schedules_of_the_prompt_count_on_in_the_second_pass(studio: Studio) -> None:
    def made(text: str, **second: Any) -> Image.Image:
        hires = HiresPass(steps=2, **second)
        return studio.submit(thin("sd1", prompt=text, guidance=3.0, hires=hires)).result(100).images[0]

    early = "[a red circle:a blue star:0.5]"
    assert studios.distance(made(early), made(early, prompt="a blue star")) == 0
    within = made("[a red circle:a blue star:1.5]")
    assert studios.distance(within, made("[a red circle:a blue star:5]")) == 0
    for other in ("a red circle", "a blue star"):
        assert studios.distance(within, made("a red circle", prompt=other)) > 1 / 255


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("strength", [0.01, 0.3, 0.55, 0.7, 0.999, 1.0])
def test_as_many_steps_are_made_as_were_asked_for(flow: bool, strength: float) -> None:
    for steps in (1, 2, 7, 20, 33):
        planned = planned_steps(steps, strength)
        share = strength_making(steps, planned, near=strength, flow=flow)
        assert 0 < share <= 1
        assert steps_made(planned, share, flow=flow) == steps


@pytest.mark.parametrize(
    ("strength", "planned"), [(0.3, 66), (0.45, 44), (0.55, 36), (0.6, 33), (0.7, 28), (0.75, 26), (1.0, 20)]
)
def test_the_schedule_is_that_of_automatic1111(studio: Studio, strength: float, planned: int) -> None:
    """`int(steps / min(denoising_strength, 0.999))`, of which the last `steps` are made."""
    decided = studio.resolve(thin("sd1", steps=20, hires=HiresPass(strength=strength))).hires
    assert decided is not None
    assert (decided.steps, decided.planned_steps, decided.strength) == (20, planned, strength)


@pytest.mark.parametrize("kind", ["sd1", "sdxl", "flux-dev"])
def test_steps_that_the_strength_alone_would_not_give_are_run(studio: Studio, kind: str) -> None:
    hires = HiresPass(scale=1, upscaler="lanczos", steps=3, strength=0.7)
    handle = studio.submit(thin(kind, steps=1, hires=hires))
    done = [(event.completed, event.total) for event in handle.events() if event.kind == "step-completed"]
    assert done[-1] == (4, 4)
    assert len(done) == 4


def test_chance_holds_for_another_sampler_of_the_second_pass(studio: Studio, tmp_path: Path) -> None:
    """The picture is that of the image-to-image pipeline with that sampler and that chance."""
    chance = {"eta": 0.3, "s_noise": 1.05}
    first = thin("sd1", sampler="Euler a", **chance)
    studio.submit(first).result(100).images[0].save(tmp_path / "first.png")
    hires = HiresPass(scale=1, upscaler="lanczos", strength=0.5, steps=3, sampler="DPM2 a")
    made = studio.submit(first.model_copy(update={"hires": hires})).result(100)
    again = thin("sd1", sampler="DPM2 a", steps=6, strength=0.5, image=str(tmp_path / "first.png"))
    with_chance, without = (
        studio.submit(again.model_copy(update=fields)).result(100).images[0] for fields in (chance, {})
    )
    assert studios.distance(made.images[0], with_chance) <= 1.5 / 255
    assert studios.distance(made.images[0], without) > 1.5 / 255
    assert not made.recipes[0].run.warnings
    decided = made.recipes[0].resolved.second()
    assert (decided.eta, decided.s_noise) == (0.3, 1.05)


def test_chance_that_the_sampler_of_the_second_pass_does_not_take_is_told(studio: Studio) -> None:
    hires = HiresPass(scale=1, steps=1, sampler="DPM++ 2M")
    asked = thin("sd1", steps=1, sampler="Euler a", eta=0.3, s_noise=1.05, hires=hires)
    [recipe] = studio.submit(asked).result(100).recipes
    words = "has no effect on sampler `DPM++ 2M` of the second pass"
    assert [line for line in recipe.run.warnings if "no effect" in line] == [f"`eta` {words}", f"`s_noise` {words}"]


def test_another_sampler_has_its_own_chance_where_none_is_asked_for(studio: Studio) -> None:
    decided = studio.resolve(thin("sd1", sampler="Euler a", hires=HiresPass(sampler="DPM++ 2M"))).hires
    assert decided is not None
    assert decided.chance == Chance()
    same = studio.resolve(thin("sd1", sampler="Euler a", eta=0.3, hires=HiresPass())).hires
    assert same is not None
    assert same.chance == Chance(eta=0.3)


def test_a_recipe_that_says_nothing_of_the_chance_of_its_second_pass_means_what_it_meant(studio: Studio) -> None:
    for sampler, eta in (("Euler a", 0.3), ("DPM2 a", None)):
        decided = studio.resolve(thin("sd1", sampler="Euler a", eta=0.3, hires=HiresPass(sampler=sampler)))
        written = decided.model_dump()
        del written["hires"]["chance"]
        assert ResolvedImageRequest.model_validate(written).second().eta == eta


@pytest.mark.parametrize(("first", "second", "idle"), [(4.0, 1.0, "second"), (1.0, 4.0, "first"), (4.0, 4.0, None)])
def test_what_a_pass_without_guidance_goes_without_is_told(
    studio: Studio, first: float, second: float, idle: str | None
) -> None:
    asked = {"negative_prompt": "a blue star", "guidance_rescale": 0.5, "guidance_stop": 0.8, "guidance": first}
    hires = HiresPass(scale=1, steps=1, guidance=second)
    [recipe] = studio.submit(thin("sd1", steps=1, hires=hires, **asked)).result(100).recipes
    told = [line for line in recipe.run.warnings if "no effect" in line]
    names = ("The negative prompt", "The guidance rescale", "The interval of guidance")
    assert told == [f"{name} has no effect in the {idle} pass at guidance 1" for name in names if idle]


def test_what_no_pass_has_the_guidance_for_is_refused(studio: Studio) -> None:
    with pytest.raises(InputError, match="Guidance 1 is none, so an interval of guidance has no effect"):
        studio.resolve(thin("sd1", guidance=1.0, guidance_stop=0.8, hires=HiresPass(guidance=1.0)))


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("sd1", {"scale": 0.5}, ("scale 0.5 of the second pass", "1 to 16")),
        ("sd1", {"scale": 1000.0}, ("scale 1000", "1 to 16")),
        ("sd1", {"width": 32, "height": 32}, ("32x32", "larger pictures")),
        ("sd1", {"width": 20_000}, ("20000x20000 px", "at most 16384 px")),
        ("sd1", {"width": 100, "height": 100}, ("multiples of 8", "nearest: 96x96")),
        ("sd1", {"scale": 2.0, "width": 128}, ("Both a scale and a size",)),
        ("sd1", {"upscaler": "lancsoz"}, ("Unknown upscaler: `lancsoz`", "nearest: lanczos")),
        ("flux-dev", {"upscaler": "latent"}, ("does not work on the latents", "use `lanczos`")),
        ("sd1", {"strength": 7.0}, ("strength 7 of the second pass", "0.01 to 1")),
        ("sd1", {"sampler": "Eular"}, ("Eular", "nearest")),
        ("sd1", {"prompt": "a <lora:red:1> star"}, ("names a network",)),
        ("flux2", {}, ("makes no second pass: it does not do image-to-image", "`--hires`")),
    ],
)
def test_a_second_pass_without_sense_is_refused(
    studio: Studio, kind: str, fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        studio.resolve(thin(kind, hires=HiresPass(**fields)))
    for word in words:
        assert word in f"{caught.value.message} | {caught.value.hint}"
