"""Textures whose edges fit: measured at the edge, on the primer; and nobody else's picture is another."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import studios
import zoo
from effects import Effect
from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest, Tiling
from gesso.engine.foreign.read import read_parameters
from gesso.engine.infotext import write
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.primer.prompt import parse as facts_of
from gesso.primer.reading import UnreadableError, read
from gesso.primer.score import compare

AXES = {"x": 1, "y": 0}
CIRCLE = "a large red circle on a white background"


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def seam(images: Sequence[Image.Image], axis: str) -> float:
    """Mean difference across the edge along `axis`, in mean differences of neighbours inside."""
    across = inside = 0.0
    for image in images:
        lines = np.moveaxis(studios.pixels(image), AXES[axis], 0)
        across += float(np.abs(lines[0] - lines[-1]).mean())
        inside += float(np.abs(np.diff(lines, axis=0)).mean())
    return across / inside


def rolled(image: Image.Image, axis: str) -> Image.Image:
    """By half its side: the edges meet in the middle."""
    pixels = np.asarray(image)
    return Image.fromarray(np.roll(pixels, pixels.shape[AXES[axis]] // 2, AXES[axis]))


def painted(studio: Studio, tilings: Sequence[str | None], **fields: Any) -> dict[str | None, list[Image.Image]]:
    asked = [ImageRequest(**{"seed": 3, "steps": 6, "tiling": tiling} | fields) for tiling in tilings]
    return dict(zip(tilings, (result.images for result in studios.run_together(studio, asked)), strict=True))


def test_edges_fit_along_the_axes_that_were_asked_for(studio: Studio, effect: Effect) -> None:
    # A guess after one step has traces of the borders everywhere, which convolutions fill with zeros.
    made = painted(studio, [None, "x", "y", "both"], prompt="a large red circle", guidance=3.0, steps=1, count=4)
    for axis in AXES:
        plain = seam(made[None], axis)
        assert plain > 3  # edges are seen
        for tiling in (axis, "both"):
            assert seam(made[tiling], axis) < 0.5 * plain
    effect(
        "Difference across the edges of a texture, in differences of neighbours inside",
        max(seam(made["both"], axis) for axis in AXES),
        most=2,  # an edge is nearly like any other place
        pictures={tiling or "none": images[0] for tiling, images in made.items()},
    )


def shows_circle(image: Image.Image) -> bool:
    try:
        return compare(facts_of(CIRCLE), read(image)).all_right
    except UnreadableError:
        return False


def test_a_shape_that_is_cut_by_an_edge_goes_on_at_the_opposite_one(studio: Studio) -> None:
    made = painted(studio, [None, "x"], prompt=CIRCLE, guidance=2.5, count=4, steps=4)

    def cut(image: Image.Image) -> bool:
        columns = studios.pixels(image)[:, [0, -1]]
        return bool(((columns[..., 0] - columns[..., 1]) > 0.4).any(axis=0).all())

    wrapped = [image for image in made["x"] if cut(image)]
    assert wrapped
    assert not [image for image in made[None] if cut(image)]  # its world has no shapes that are cut
    assert any(shows_circle(rolled(image, "x")) for image in wrapped)  # whole, where the edges meet


def test_others_at_the_same_time_have_edges_and_the_picture_is_replayed_to_the_bit(
    studio: Studio, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"model": str(zoo.saved("sd1")), "width": 64, "height": 64, "steps": 4}
    alone = painted(studio, [None], prompt=CIRCLE, **fields)[None][0]
    asked = [
        ImageRequest(prompt=CIRCLE, seed=3, tiling=tiling, **fields) for tiling in (None, Tiling.X, None, Tiling.BOTH)
    ]
    results = studios.run_together(studio, asked)
    for result in (results[0], results[2]):
        assert studios.distance(result.images[0], alone) <= 1.5 / 255
    for result in (results[1], results[3]):
        assert studios.distance(result.images[0], alone) > 0.02
        assert replay(studio, result.save(tmp_path / "texture.png")[0]).verdict is Verdict.IDENTICAL
    assert results[1].recipes[0].resolved.tiling is Tiling.X


def test_large_textures_are_decoded_whole(tmp_path: Path) -> None:
    """In tiles that wrap round each would fit to itself."""
    fields: dict[str, Any] = {"prompt": "", "guidance": 1.0, "steps": 3, "seed": 5, "tiling": "both"}
    with studios.studio() as whole, studios.studio(vae_tiling_above_px=4096) as tiled:
        one, other = (opened.generate(**fields).images[0] for opened in (whole, tiled))
    assert studios.distance(one, other) == 0


def test_the_parameters_text_says_so(studio: Studio) -> None:
    result = studio.generate(CIRCLE, seed=1, steps=1, tiling=Tiling.BOTH)
    text = write(result.recipes[0])
    assert "Tiling: True" in text
    assert read_parameters(text).fields["tiling"] is Tiling.BOTH


@pytest.mark.parametrize("kind", ["sd3", "flux-dev", "pixart"])
def test_a_transformer_makes_no_textures_and_says_why(studio: Studio, kind: str) -> None:
    with pytest.raises(InputError, match="cannot make seamless textures") as caught:
        studio.resolve(ImageRequest(prompt="a red circle", model=str(zoo.saved(kind)), tiling=Tiling.X))
    assert "no convolutions" in caught.value.message
    assert "UNet" in str(caught.value.hint)
