"""Guidance in a part of the steps, rescaled and thresholded: exactly on thin models, by its effect on the primer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

import studios
import zoo
from effects import Effect
from gesso.components.layouts import CallLayout
from gesso.components.scope import ImageScope
from gesso.core.errors import InputError
from gesso.core.recipe import Recipe
from gesso.core.requests import DynamicThresholding, ImageRequest
from gesso.engine.evaluation import held_out_prompts
from gesso.engine.guidance.interval import Interval
from gesso.engine.guidance.rescale import rescaled
from gesso.engine.guidance.steering import GuidedApart, GuidedTogether
from gesso.engine.guidance.thresholding import thresholded
from gesso.engine.handle import Picture
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio

TRUE_GUIDANCE = {"negative_prompt": "a blue star", "arguments": {"true_cfg_scale": 3.0}}
GUIDED: dict[str, dict[str, Any]] = {
    "sd1": {"guidance": 3.0, "sampler": "Euler"},
    "sdxl": {"guidance": 3.0},
    "sd3": {"guidance": 3.0},
    "z-image": {"guidance": 3.0},
    "flux2-klein-base": {"guidance": 3.0},
    "qwen-image": {"guidance": 3.0, "negative_prompt": "a blue star"},
    "flux-dev": TRUE_GUIDANCE,
}
"""A thin model of each way to ask for guidance, and what asks for it."""
ALIKE = ("sdxl", "sd3", "flux2-klein-base")
"""Those that ask in the way of another."""


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def thin(studio: Studio, kind: str, **fields: Any) -> Picture:
    given: dict[str, Any] = {"prompt": "a red circle", "seed": 1, "steps": 4, "model": str(zoo.saved(kind))}
    given |= {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX} | fields
    result = studio.submit(ImageRequest(**given)).result(100)
    return Picture(image=result.images[0], recipe=result.recipes[0])


def rows_by_step(recipe: Recipe) -> list[int]:
    """Rows that the denoiser computed at each step."""
    rows = dict.fromkeys(range(recipe.resolved.steps), 0)
    for entry in recipe.run.trace:
        if entry.component in {"unet", "transformer"} and entry.step is not None:
            rows[entry.step] += sum(segment.rows for segment in entry.segments)
    return list(rows.values())


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind in ALIKE else []) for kind in GUIDED]
)
def test_steps_outside_the_interval_are_those_without_guidance_and_cost_half(studio: Studio, kind: str) -> None:
    asked = GUIDED[kind]
    whole = thin(studio, kind, **asked)
    inside = thin(studio, kind, **asked, guidance_start=0.25, guidance_stop=0.75)
    nowhere = thin(studio, kind, **asked, guidance_start=0.9)
    assert rows_by_step(whole.recipe) == [2, 2, 2, 2]
    assert rows_by_step(inside.recipe) == [1, 2, 2, 1]
    assert rows_by_step(nowhere.recipe) == [1, 1, 1, 1]
    unguided = {"guidance": 0.0 if kind == "z-image" else 1.0}
    if kind == "flux-dev":
        unguided = {"arguments": {}, "negative_prompt": None}
    plain = thin(studio, kind, **asked | unguided)
    assert studios.distance(plain.image, nowhere.image) <= 1.5 / 255
    assert studios.distance(plain.image, inside.image) > 1.5 / 255
    assert studios.distance(whole.image, inside.image) > 1.5 / 255


def test_an_interval_ends_where_a_prompt_of_several_parts_goes_on(studio: Studio) -> None:
    prompt = "a red circle AND a blue star :0.5"
    made = thin(studio, "sd1", prompt=prompt, sampler="Euler", guidance=3.0, guidance_stop=0.5)
    assert rows_by_step(made.recipe) == [3, 3, 3, 3]  # what the parts say is told against no prompt at all
    bare, outside = (
        thin(studio, "sd1", prompt=prompt, sampler="Euler", **fields).image
        for fields in ({"guidance": 1.0000001}, {"guidance": 3.0, "guidance_start": 0.9})
    )
    assert studios.distance(bare, outside) <= 1.5 / 255


def test_a_picture_with_an_interval_is_replayed_to_the_bit_and_shares_forwards(studio: Studio, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": str(zoo.saved("sd1")), "width": 64, "height": 64, "steps": 6, "guidance": 4.0}
    asked = ImageRequest(prompt="a red circle", seed=1, count=3, guidance_start=0.3, guidance_stop=0.7, **fields)
    with studios.gathered(studio, "unet", 3):
        together = studio.submit(asked).result(60)
    for index, path in enumerate(together.save(tmp_path)):
        assert studios.foreign_rows(together.recipes[index]) > 0
        alone = studio.submit(asked.model_copy(update={"seed": 1 + index, "count": 1})).result(60)
        assert studios.distance(alone.images[0], together.images[index]) <= 1.5 / 255
        assert replay(studio, path).verdict is Verdict.IDENTICAL


def test_an_interval_without_a_step_and_a_scale_that_is_not_milder_are_told(studio: Studio) -> None:
    fields: dict[str, Any] = {"model": str(zoo.saved("sd1")), "width": 64, "height": 64, "steps": 4, "guidance": 3.0}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"guidance_start": 0.3, "guidance_stop": 0.4}, "at no step: none of 4 begins between 0.3 and 0.4"),
        ({"dynamic_thresholding": DynamicThresholding(mimic_scale=9)}, "9 is no milder than guidance 3"),
    ]
    for asked, told in cases:
        result = studio.submit(ImageRequest(prompt="a", seed=1, **fields, **asked)).result(60)
        assert [told in warning for warning in result.warnings] == [True]


def tensors_of(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    negative, positive = torch.randn(2, 1, 4, 8, 8, generator=draw)
    return negative, positive


def test_the_rescale_is_that_of_diffusers() -> None:
    negative, positive = tensors_of()
    guided = negative + 7 * (positive - negative)
    expected = rescale_noise_cfg(guided, positive, guidance_rescale=0.7)
    torch.testing.assert_close(rescaled(guided, positive, 0.7), expected)


def test_thresholding_keeps_each_channel_within_the_range_of_the_milder_guidance() -> None:
    negative, positive = tensors_of()
    difference = positive - negative
    mild, strong = negative + 2 * difference, negative + 12 * difference
    made = thresholded(negative, positive, scale=12, mimic_scale=2)
    centred, mild_centred, strong_centred = (x - x.mean((2, 3), keepdim=True) for x in (made, mild, strong))
    torch.testing.assert_close(centred.abs().amax((2, 3)), mild_centred.abs().amax((2, 3)))
    torch.testing.assert_close(made.mean((2, 3)), strong.mean((2, 3)))  # nothing is cut at 1: shape and mean stay
    ratio = centred / strong_centred
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))
    cut = thresholded(negative, positive, scale=12, mimic_scale=2, percentile=0.9)
    assert (cut - made).abs().max() > 0.1
    torch.testing.assert_close(thresholded(negative, positive, scale=3, mimic_scale=3), negative + 3 * difference)


LAYOUT = CallLayout(rows=("x",))


@pytest.mark.parametrize("scale", [1.5, 7.0])
def test_whatever_way_a_pipeline_combines_its_predictions_it_gets_the_one_that_was_made(scale: float) -> None:
    negative, positive = tensors_of()
    wanted = thresholded(negative, positive, scale=scale, mimic_scale=1.2)

    def guide(u: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return thresholded(u, c, scale=scale, mimic_scale=1.2)

    def network(arguments: Any) -> Any:
        return (arguments["x"],)

    def call(steering: Any, x: torch.Tensor) -> torch.Tensor:
        return steering({"x": x}, network, layout=LAYOUT, step=0)[0]

    together = GuidedTogether(Interval(), guide, False, None, ImageScope())
    u, c = call(together, torch.cat([negative, positive])).chunk(2)
    torch.testing.assert_close(u + scale * (c - u), wanted)
    swapped = GuidedTogether(Interval(), guide, True, None, ImageScope())
    c, u = call(swapped, torch.cat([positive, negative])).chunk(2)
    torch.testing.assert_close(u + scale * (c - u), wanted)
    apart = GuidedApart(Interval(), guide, scale, None, ImageScope())
    c = call(apart, positive)
    u = call(apart, negative)
    torch.testing.assert_close(u + scale * (c - u), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["sd3", "z-image", "flux-dev"])
def test_every_family_takes_thresholds_and_rescale_and_one_that_mimics_itself_changes_nothing(
    studio: Studio, kind: str
) -> None:
    asked = GUIDED[kind]
    scale = {"flux-dev": 3.0, "z-image": 4.0}.get(kind, 3.0)  # Z-Image's pipeline adds 3 times the difference to one
    plain, same, cut, mild = (
        thin(studio, kind, **asked | fields).image
        for fields in (
            {},
            {"dynamic_thresholding": DynamicThresholding(mimic_scale=scale)},
            {"dynamic_thresholding": DynamicThresholding(mimic_scale=0.5, percentile=0.95)},
            {"guidance_rescale": 1.0},
        )
    )
    assert studios.distance(plain, same) <= 2.5 / 255
    assert studios.distance(plain, cut) > 4 / 255
    assert studios.distance(plain, mild) > 4 / 255


def test_what_strong_guidance_burns_is_kept_by_each_cure(studio: Studio, effect: Effect) -> None:
    prompts = held_out_prompts(2, things=1, seed=6)
    cures: dict[str, dict[str, Any]] = {
        "none": {},
        "interval": {"guidance_start": 0.2, "guidance_stop": 0.6},
        "rescale": {"guidance_rescale": 1.0},
        "thresholds": {"dynamic_thresholding": DynamicThresholding(mimic_scale=1.0)},
        "mild": {"guidance": 1.5},
    }
    fields: dict[str, Any] = {"seed": 3, "steps": 6, "guidance": 9.0}
    asked = [ImageRequest(**{"prompt": prompt, **fields, **cure}) for cure in cures.values() for prompt in prompts]
    made = [result.images[0] for result in studios.run_together(studio, asked)]
    images = {name: made[2 * place : 2 * place + 2] for place, name in enumerate(cures)}
    burnt = {
        name: sum(map(studios.mean_distance, images["mild"], found)) / 2
        for name, found in images.items()
        if name != "mild"
    }
    left = {name: value / burnt["none"] for name, value in burnt.items()}
    effect(
        "Guidance 9 in 0.2 to 0.6 of the steps: what is left of the distance to guidance 1.5",
        left["interval"],
        most=0.5,
        pictures={name: found[0] for name, found in images.items()},
    )
    effect("Guidance 9, rescaled: what is left of that distance", left["rescale"], most=0.8)
    # The means of channels stay what strong guidance makes them.
    effect("Guidance 9 with dynamic thresholding: what is left of it", left["thresholds"], most=0.97)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("sd1", {"guidance_start": 0.6, "guidance_stop": 0.4}, ("from 0.6 to 0.4", "the first below the second")),
        ("sd1", {"guidance_start": 1.5}, ("guidance start 1.5", "0 to 1")),
        ("sd1", {"guidance": 1.0, "guidance_stop": 0.5}, ("Guidance 1 is none", "above 1")),
        ("flux-schnell", {"guidance_stop": 0.5}, ("distilled", "true_cfg_scale")),
        ("pixart", {"guidance": 3.0, "guidance_stop": 0.5}, ("does not take an interval of guidance",)),
        ("pixart", {"guidance": 3.0, "guidance_rescale": 0.5}, ("does not take a guidance rescale",)),
        ("qwen-image", {"guidance_rescale": 0.5}, ("normalises guidance itself",)),
        ("z-image", {"guidance_rescale": 0.5, "arguments": {"cfg_normalization": 1.0}}, ("do not go together",)),
        ("sd1", {"dynamic_thresholding": {"mimic_scale": -1}}, ("mimic scale -1", "0 to 1000")),
        ("sd1", {"dynamic_thresholding": {"mimic_scale": 2, "percentile": 99}}, ("percentile", "0 to 1")),
        ("sd1", {"dynamic_thresholding": {"mimic_scale": 2}, "guidance_rescale": 0.5}, ("leave one out",)),
    ],
)
def test_guidance_without_sense_is_refused(
    studio: Studio, kind: str, fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        studio.resolve(ImageRequest(prompt="a red circle", model=str(zoo.saved(kind)), **fields))
    for word in words:
        assert word in f"{caught.value.message} | {caught.value.hint}"
