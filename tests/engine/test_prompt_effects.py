"""What a user would see of the prompt language, on the primer."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

import studios
from gesso.core.requests import ImageRequest
from gesso.engine.studio import Studio
from gesso.primer.reading import Reading, UnreadableError, read

HEART = "a large {} heart on a teal background"


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def pictures(studio: Studio, prompts: Sequence[str], *, seeds: int = 2, **fields: Any) -> list[list[Image.Image]]:
    """Of each prompt one for each seed."""
    given: dict[str, Any] = {"count": seeds, "seed": 1, "steps": 8} | fields
    asked = [ImageRequest(prompt=prompt, **given) for prompt in prompts]
    return [list(result.images) for result in studios.run_together(studio, asked)]


def redness(images: Sequence[Image.Image]) -> float:
    """How much more of red than of green and blue there is, -1 to 1."""
    r, g, b = np.stack([studios.pixels(image) for image in images]).mean(axis=(0, 1, 2))
    return float(r - (g + b) / 2)


def middles(images: Sequence[Image.Image]) -> list[Image.Image]:
    """What is in the middle of each picture, without its background."""
    return [image.resize((8, 8), box=(w / 3, w / 3, 2 * w / 3, 2 * w / 3)) for image in images for w in [image.width]]


def seen(image: Image.Image) -> Reading:
    try:
        return read(image)
    except UnreadableError:
        return Reading(background=None, things=(), relation=None)


def test_the_higher_the_weight_of_red_the_redder_the_picture(studio: Studio) -> None:
    prompts = [HEART.format(f"(red:{weight})") for weight in (0.5, 1, 1.5, 2)]
    found = [redness(images) for images in pictures(studio, prompts)]
    assert found == sorted(found)
    assert found[-1] > found[1] + 0.05


def test_the_later_a_shape_is_exchanged_the_more_of_the_first_is_seen(studio: Studio) -> None:
    prompts = [f"a large red [triangle:circle:{share}] on a white background" for share in (0.1, 0.5, 0.9)]
    made = pictures(studio, prompts)
    triangles, circles = (
        [sum(any(thing.shape == shape for thing in seen(image).things) for image in images) for images in made]
        for shape in ("triangle", "circle")
    )
    assert (triangles[0], circles[0]) == (0, 2)
    assert (triangles[-1], circles[-1]) == (2, 0)


def test_parts_joined_by_and_are_seen_by_their_shares(studio: Studio) -> None:
    red, blue = HEART.format("red"), HEART.format("blue")
    made = pictures(studio, [f"{red} :{share} AND {blue} :{1 - share:.1f}" for share in (0.1, 0.4, 0.6, 0.9)], steps=10)
    found = [redness(images) for images in made]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.2
    assert {seen(image).background for images in made for image in images} == {"teal"}


def test_parts_joined_by_and_are_both_seen(studio: Studio) -> None:
    """The colour of the one, the background of the other."""
    red, on_teal = "a large red heart", "a large heart on a teal background"
    made = pictures(studio, [f"{red} :0.6 AND {on_teal} :0.6", red, on_teal], steps=10, guidance=4.0)
    both, first = ([seen(image) for image in images] for images in made[:2])
    assert {reading.background for reading in both} == {"teal"}
    assert "teal" not in {reading.background for reading in first}
    assert all([thing.shape for thing in reading.things] == ["heart"] for reading in both)
    assert redness(middles(made[0])) > redness(middles(made[2])) + 0.05


def test_a_negative_prompt_removes_what_it_names(studio: Studio) -> None:
    (plain,) = pictures(studio, [HEART.format("red")], guidance=2.5)
    (without,) = pictures(studio, [HEART.format("red")], guidance=2.5, negative_prompt=HEART.format("(red:1.5)"))
    assert redness(without) < redness(plain) - 0.02
