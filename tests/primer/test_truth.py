"""What is known of a picture beside its pixels: masks, edges, layers; and sheets of pictures."""

from random import Random

import numpy as np
import pytest
from PIL import Image, ImageFilter

from gesso.core.errors import UnknownNameError
from gesso.primer.render import place, render
from gesso.primer.scene import COLOURS, Scene, Thing, is_held_out, random_scene
from gesso.primer.shapes import NEW_SHAPES, SHAPES
from gesso.primer.sheet import sheet
from gesso.primer.truth import Truth, truth


def truths(count: int, size_px: int = 128) -> list[Truth]:
    rng = Random(2)
    return [truth(scene, place(scene, rng), size_px) for scene in (random_scene(rng) for _ in range(count))]


def test_masks_cover_what_differs_from_the_background_and_nothing_else() -> None:
    for known in truths(40):
        differs = (np.asarray(known.picture).astype(int) - COLOURS[known.scene.background] != 0).any(axis=-1)
        covered = np.max([np.asarray(mask) for mask in known.masks], axis=0)
        assert differs[covered > 200].mean() > 0.99
        # The smoothing of the picture reaches three pixels over the rim.
        near = np.asarray(Image.fromarray(covered).filter(ImageFilter.MaxFilter(7))) > 0
        assert not differs[~near].any()


def test_edges_run_along_the_rims() -> None:
    for known in truths(20):
        edges = np.asarray(known.edges) == 255
        hard = np.max([np.asarray(mask) for mask in known.masks], axis=0) >= 128
        assert 20 < edges.sum() < hard.sum()
        assert hard[edges].all()
        beside = ~hard[:-2, 1:-1] | ~hard[2:, 1:-1] | ~hard[1:-1, :-2] | ~hard[1:-1, 2:]
        diagonal = ~hard[:-2, :-2] | ~hard[2:, 2:] | ~hard[:-2, 2:] | ~hard[2:, :-2]
        assert (beside | diagonal)[edges[1:-1, 1:-1]].all()


def test_the_background_is_the_furthest_layer_and_the_second_thing_the_nearest() -> None:
    for known in truths(30):
        depth = np.asarray(known.depth)
        for number, mask in enumerate(known.masks, start=1):
            assert set(np.unique(depth[np.asarray(mask) > 200])) == {255 * number // len(known.masks)}
        assert depth[0, 0] == 0


def test_all_images_of_a_truth_have_its_size() -> None:
    (known,) = truths(1, size_px=192)
    assert {image.size for image in (known.picture, *known.masks, known.edges, known.depth)} == {(192, 192)}


def test_new_subjects_are_drawn_with_their_truth_but_never_by_chance() -> None:
    assert len(NEW_SHAPES) >= 3
    assert not set(NEW_SHAPES) & set(SHAPES)
    for name in NEW_SHAPES:
        scene = Scene(things=(Thing(shape=name, colour="green"),), background="white")
        known = truth(scene, place(scene, Random(1)))
        assert (np.asarray(known.masks[0]) > 128).sum() > 300
    rng = Random(3)
    assert not {thing.shape for _ in range(500) for thing in random_scene(rng).things} & set(NEW_SHAPES)
    with pytest.raises(UnknownNameError):
        Thing(shape="teapot", colour="red")


def test_held_out_scenes_show_at_least_one_thing_that_training_never_shows() -> None:
    rng = Random(4)
    for share in (0.0, 1.0):
        for _ in range(100):
            scene = random_scene(rng, share_of_two=share, held_out=True)
            assert len(scene.things) == 1 + share
            assert any(is_held_out(thing, scene.background) for thing in scene.things)


def test_a_sheet_shows_every_picture_at_its_own_size() -> None:
    rng = Random(5)
    pictures = [(render(random_scene(rng), rng), f"number {number} " * 6) for number in range(7)]
    paper = sheet(pictures, columns=3)
    corners = [(16 + column * 144, 16 + row * (144 + 56)) for row in range(3) for column in range(3)]
    for (picture, _), (left, top) in zip(pictures, corners, strict=False):
        assert paper.crop((left, top, left + 128, top + 128)).tobytes() == picture.tobytes()
