"""What a user would see of the prompt language, on the primer."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

import studios
from effects import Effect
from gesso.core.requests import ImageRequest
from gesso.engine.studio import Studio
from gesso.primer.reading import Reading, UnreadableError, read

HEART = "a large {} heart on a teal background"
HEART_OF_ANY_COLOUR = "a large heart on a teal background"


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


def test_the_higher_the_weight_of_red_the_redder_the_picture(studio: Studio, effect: Effect) -> None:
    words = [f"(red:{weight})" for weight in (0.5, 1, 1.5, 2)]
    made = pictures(studio, [HEART.format(word) for word in words])
    found = [redness(images) for images in made]
    assert found == sorted(found)
    effect(
        "Redness rises with every weight of `red`; from weight 1 to 2 by",
        found[-1] - found[1],
        least=0.05,
        pictures=dict(zip(words, (images[0] for images in made), strict=True)),
    )


def test_the_later_a_shape_is_exchanged_the_more_of_the_first_is_seen(studio: Studio, effect: Effect) -> None:
    words = [f"[triangle:circle:{share}]" for share in (0.1, 0.5, 0.9)]
    made = pictures(studio, [f"a large red {word} on a white background" for word in words])
    triangles, circles = (
        [sum(any(thing.shape == shape for thing in seen(image).things) for image in images) for images in made]
        for shape in ("triangle", "circle")
    )
    effect(
        "A shape that is exchanged early is the second, one that is exchanged late the first; pictures of 4",
        circles[0] - triangles[0] + triangles[-1] - circles[-1],
        least=4,
        pictures=dict(zip(words, (images[0] for images in made), strict=True)),
    )


def test_words_that_take_turns_are_both_in_the_picture(studio: Studio, effect: Effect) -> None:
    words = ("red", "[red|blue]", "[blue|red]", "blue")
    made = pictures(studio, [HEART.format(word) for word in words], steps=16, guidance=1.0)
    red, *turns, blue = (redness(middles(images)) for images in made)
    ways = [(found - blue) / (red - blue) for found in turns]
    effect(
        "A heart whose colours take turns at each step lies between the two: share of the way to the nearer",
        min(*ways, *(1 - way for way in ways)),
        least=0.1,
        pictures=dict(zip(words, (images[0] for images in made), strict=True)),
    )


def test_what_stands_behind_the_75th_token_is_seen(studio: Studio, effect: Effect) -> None:
    colours = ("red", "blue")
    made = pictures(studio, [f"{HEART_OF_ANY_COLOUR}{' ,' * 80} {colour}" for colour in colours])
    red, blue = (redness(images) for images in made)
    effect(
        "A colour behind the 75th token is seen; redder with `red` than with `blue` by",
        red - blue,
        least=0.3,
        pictures=dict(zip(colours, (images[0] for images in made), strict=True)),
    )


def test_what_stands_behind_a_break_is_seen(studio: Studio, effect: Effect) -> None:
    colours = ("red", "blue")
    made = pictures(studio, [f"{HEART_OF_ANY_COLOUR} BREAK {colour}" for colour in colours])
    red, blue = (redness(middles(images)) for images in made)
    effect(
        "A colour behind `BREAK` reaches the heart; redder in the middle with `red` than with `blue` by",
        red - blue,
        least=0.3,
        pictures=dict(zip(colours, (images[0] for images in made), strict=True)),
    )


def test_parts_joined_by_and_are_seen_by_their_shares(studio: Studio, effect: Effect) -> None:
    red, blue = HEART.format("red"), HEART.format("blue")
    shares = (0.1, 0.4, 0.6, 0.9)
    made = pictures(studio, [f"{red} :{share} AND {blue} :{1 - share:.1f}" for share in shares], steps=10)
    found = [redness(images) for images in made]
    assert found == sorted(found)
    effect(
        "Redness of a red heart `AND` a blue one rises with every share of the red one; from 0.1 to 0.9 by",
        found[-1] - found[0],
        least=0.2,
        pictures={f"red {share}": images[0] for share, images in zip(shares, made, strict=True)},
    )
    assert {seen(image).background for images in made for image in images} == {"teal"}


def test_parts_joined_by_and_are_both_seen(studio: Studio, effect: Effect) -> None:
    """The colour of the one, the background of the other."""
    red, on_teal = "a large red heart", "a large heart on a teal background"
    made = pictures(studio, [f"{red} :0.5 AND {on_teal} :0.5", red, on_teal], steps=10, guidance=2.0)
    both, first = ([seen(image) for image in images] for images in made[:2])
    assert {reading.background for reading in both} == {"teal"}
    assert "teal" not in {reading.background for reading in first}
    assert all([thing.shape for thing in reading.things] == ["heart"] for reading in both)
    effect(
        "`AND` shows the heart of the one part on the background of the other, and its red; redder in the middle by",
        redness(middles(made[0])) - redness(middles(made[2])),
        least=0.05,
        pictures={"both": made[0][0], red: made[1][0], on_teal: made[2][0]},
    )


def test_a_negative_prompt_removes_what_it_names(studio: Studio, effect: Effect) -> None:
    (plain,) = pictures(studio, [HEART.format("red")], guidance=2.5)
    (without,) = pictures(studio, [HEART.format("red")], guidance=2.5, negative_prompt=HEART.format("(red:1.5)"))
    effect(
        "A negative prompt of what the prompt asks for takes away of its redness",
        redness(plain) - redness(without),
        least=0.02,
        pictures={"without": plain[0], "with the negative prompt": without[0]},
    )
