"""The primer's world: what a scene says is what its picture shows and what its caption tells."""

import subprocess
import sys
from random import Random

import numpy as np
import pytest
from PIL import Image

from gesso.core.errors import InputError, UnknownNameError
from gesso.primer.caption import caption
from gesso.primer.render import Place, draw, mask, place, render
from gesso.primer.scene import COLOURS, Fill, Relation, Scene, Size, Thing, is_held_out, random_scene
from gesso.primer.shapes import SHAPES

HOLLOW = {"ring", "crescent"}
"""Shapes whose middle is not of their colour."""


def scenes(count: int, seed: int = 0) -> list[Scene]:
    rng = Random(seed)
    return [random_scene(rng) for _ in range(count)]


def pixels_of(picture: Image.Image, colour: str, tolerance: int = 6) -> np.ndarray:
    """Places (row, column) of the pixels that have `colour`."""
    distance = np.abs(np.asarray(picture).astype(int) - np.array(COLOURS[colour])).max(axis=-1)
    return np.argwhere(distance <= tolerance)


def lone(shape: str, colour: str = "red", background: str = "white", **facts: object) -> Scene:
    thing = Thing(shape=shape, colour=colour, size=Size.LARGE, **facts)  # pyright: ignore[reportArgumentType]
    return Scene(things=(thing,), background=background)


def test_a_caption_names_every_fact_of_its_scene() -> None:
    rng = Random(1)
    for scene in scenes(500):
        words = caption(scene, rng)
        for thing in scene.things:
            striped = "striped " if thing.fill is Fill.STRIPED else ""
            assert f"{striped}{thing.colour} {thing.shape}" in words
        assert (scene.relation is None) == (" left of " not in words and " above " not in words)
        if scene.relation is not None:
            first, second = words.split(f" {scene.relation} ")
            assert scene.things[0].shape in first
            assert scene.things[1].shape in second
        assert words.endswith(
            (f"on a {scene.background} background", f"on {scene.background}", f", {scene.background} background")
        )


def test_a_caption_that_names_a_size_names_the_right_one() -> None:
    rng = Random(2)
    named = 0
    for scene in scenes(500):
        words = set(caption(scene, rng).split())
        if words & {"small", "large", "big"}:
            named += 1
            assert ("small" in words) == (scene.things[0].size is Size.SMALL)
            assert scene.relation is None
    assert named > 100


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("colour", ["red", "black", "gray"])
def test_the_middle_of_a_thing_has_its_colour_and_the_corners_have_that_of_the_background(
    shape: str, colour: str
) -> None:
    scene = lone(shape, colour, "yellow")
    (where,) = place(scene, Random(3))
    pixels = np.asarray(draw(scene, (where,)))
    middle = pixels[int(where.y * 128), int(where.x * 128)]
    # The middle of a ring is its hole; that of a crescent is bitten off.
    np.testing.assert_allclose(middle, COLOURS["yellow" if shape in HOLLOW else colour], atol=1)
    for corner in (pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]):
        np.testing.assert_array_equal(corner, COLOURS["yellow"])


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_mask_covers_the_pixels_that_have_the_colour_of_the_thing(shape: str) -> None:
    scene = lone(shape, "blue", "orange")
    (where,) = place(scene, Random(4))
    blue = np.zeros((128, 128), dtype=bool)
    blue[tuple(pixels_of(draw(scene, (where,)), "blue", tolerance=60).T)] = True
    covered = np.asarray(mask(scene.things[0], where, 128)) == 255
    assert (blue & covered).sum() / (blue | covered).sum() > 0.93


def test_shapes_differ_from_each_other() -> None:
    where = Place(x=0.5, y=0.5, radius=0.3)
    masks = {shape: np.asarray(mask(Thing(shape=shape, colour="red"), where, 128)) == 255 for shape in SHAPES}
    for one in masks:
        for other in masks:
            if one < other:
                overlap = (masks[one] & masks[other]).sum() / (masks[one] | masks[other]).sum()
                assert overlap < 0.95, (one, other)


def test_a_large_thing_covers_much_more_than_a_small_one() -> None:
    for shape in SHAPES:
        large, small = (
            len(pixels_of(render(Scene(things=(thing,), background="white"), Random(5)), "green"))
            for thing in (Thing(shape=shape, colour="green", size=size) for size in (Size.LARGE, Size.SMALL))
        )
        assert large > 2 * small > 0


def test_a_striped_thing_has_its_colour_and_a_paler_one_in_turn() -> None:
    column = np.asarray(draw(lone("square", "black", fill=Fill.STRIPED), (Place(x=0.5, y=0.5, radius=0.3),)))[:, 64]
    dark = (column < 60).all(axis=-1)
    changes = int(np.abs(np.diff(dark.astype(int))).sum())
    assert changes >= 6
    gap = (0.4 * 28 + 0.6 * 248, 0.4 * 32 + 0.6 * 248)
    assert np.isclose(column[:, 0], gap[0], atol=2).sum() > 10


@pytest.mark.parametrize(("relation", "axis"), [(Relation.LEFT_OF, 1), (Relation.ABOVE, 0)])
def test_a_relation_holds_in_the_pixels(relation: Relation, axis: int) -> None:
    rng = Random(6)
    for first in SHAPES:
        for second in SHAPES:
            things = (Thing(shape=first, colour="red"), Thing(shape=second, colour="blue"))
            picture = render(Scene(things=things, relation=relation, background="white"), rng)
            red, blue = pixels_of(picture, "red"), pixels_of(picture, "blue")
            assert len(red) > 50
            assert len(blue) > 50
            assert red[:, axis].max() < blue[:, axis].min(), (first, second)


def test_things_never_touch_the_edge_of_the_picture() -> None:
    rng = Random(7)
    for scene in scenes(300):
        pixels = np.asarray(render(scene, rng))
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            np.testing.assert_array_equal(edge, np.broadcast_to(COLOURS[scene.background], edge.shape))


def test_the_same_state_of_chance_gives_the_same_scene_caption_and_picture() -> None:
    def make(seed: int) -> tuple[Scene, str, bytes]:
        rng = Random(seed)
        scene = random_scene(rng)
        return scene, caption(scene, rng), render(scene, rng).tobytes()

    assert make(8) == make(8)
    assert make(8) != make(9)


def test_the_scene_is_the_same_at_every_size() -> None:
    scene = scenes(1, seed=10)[0]
    big, small = render(scene, Random(11), 256), render(scene, Random(11), 128)
    assert big.size == (256, 256)
    difference = np.abs(np.asarray(big.resize((128, 128), Image.Resampling.BOX)).astype(int) - np.asarray(small))
    assert difference.mean() < 2


def test_random_scenes_show_every_fact_and_nothing_held_out() -> None:
    drawn = scenes(3000, seed=12)
    things = [thing for scene in drawn for thing in scene.things]
    assert {scene.background for scene in drawn} == set(COLOURS)
    assert {scene.relation for scene in drawn} == {None, *Relation}
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.fill for thing in things} == set(Fill)
    assert {thing.size for thing in things} == set(Size)
    assert not any(is_held_out(thing, scene.background) for scene in drawn for thing in scene.things)


def test_one_combination_in_twenty_is_held_out() -> None:
    every = [
        is_held_out(Thing(shape=shape, colour=colour), background)
        for shape in SHAPES
        for colour in COLOURS
        for background in COLOURS
        if colour != background
    ]
    assert 0.03 < sum(every) / len(every) < 0.07


def test_a_scene_that_cannot_be_seen_is_refused() -> None:
    red, blue = Thing(shape="circle", colour="red"), Thing(shape="star", colour="blue")
    with pytest.raises(UnknownNameError, match="Unknown shape: `blob`"):
        Thing(shape="blob", colour="red")
    with pytest.raises(UnknownNameError, match="Unknown colour: `rde`"):
        Thing(shape="circle", colour="rde")
    with pytest.raises(UnknownNameError, match="Unknown colour: `plaid`"):
        Scene(things=(red,), background="plaid")
    with pytest.raises(InputError, match="cannot be seen on a red background"):
        Scene(things=(red,), background="red")
    with pytest.raises(InputError, match="has 1 thing"):
        Scene(things=(red, blue), background="white")
    with pytest.raises(InputError, match="has 2 thing"):
        Scene(things=(red,), background="white", relation=Relation.ABOVE)
    with pytest.raises(InputError, match="no room"):
        Scene(
            things=(red, Thing(shape="star", colour="blue", size=Size.LARGE)),
            background="white",
            relation=Relation.ABOVE,
        )


def test_importing_the_primer_loads_nothing_heavy() -> None:
    modules = "gesso.primer, gesso.primer.caption, gesso.primer.render, gesso.primer.scene"
    heavy = "{'torch', 'diffusers', 'transformers', 'safetensors'}"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
