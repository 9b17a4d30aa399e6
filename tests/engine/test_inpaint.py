"""A part of a picture changes, or what lies beyond its sides; every other byte stays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import studios
import zoo
from effects import Effect
from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest
from gesso.engine.pictures import read_recipe
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.primer.prompt import parse
from gesso.primer.reading import read
from gesso.primer.score import Kind, compare

BACKGROUND = "a red circle on a white background"
STAR = "a blue star on a white background"
SIDE = 128


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def mask_file(
    path: Path, box: tuple[int, int, int, int], *, size: tuple[int, int] = (SIDE, SIDE), gray: int = 255
) -> Path:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rectangle(box, fill=gray)
    mask.save(path)
    return path


def changed(before: Image.Image, after: Image.Image) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[H, W]: which pixels are others."""
    return (np.asarray(before.convert("RGB")) != np.asarray(after.convert("RGB"))).any(-1)


def inpainted(studio: Studio, folder: Path, seeds: range) -> tuple[int, int]:
    """(pictures in which a star is where the mask is, bytes outside of it that changed)."""
    sources, asked = list[Image.Image](), list[ImageRequest]()
    mask = mask_file(folder / "mask.png", (12, 12, 115, 115))
    for seed in seeds:
        (source,) = studio.generate(BACKGROUND, seed=seed, steps=15).images
        source.save(folder / f"{seed}.png")
        sources.append(source)
        given: dict[str, Any] = {"prompt": STAR, "seed": seed + 100, "steps": 15, "image": str(folder / f"{seed}.png")}
        asked.append(ImageRequest.model_validate(given | {"inpaint": {"mask": str(mask)}}))
    results = [result.images[0] for result in studios.run_together(studio, asked, timeout=1000)]
    outside = np.asarray(Image.open(mask)) == 0
    lost = sum(int(changed(source, made)[outside].sum()) for source, made in zip(sources, results, strict=True))
    shown = 0
    for made in results:
        facts = [fact for fact in compare(parse(STAR), read(made)).facts if fact.kind in (Kind.SHAPE, Kind.COLOUR)]
        shown += all(fact.right for fact in facts)
    return shown, lost


def test_the_asked_shape_is_under_the_mask_and_the_outside_keeps_its_bytes(studio: Studio, tmp_path: Path) -> None:
    shown, lost = inpainted(studio, tmp_path, range(3))
    assert shown >= 2
    assert lost == 0


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_of_fifty_seeds_nearly_all_show_the_shape_and_none_changes_a_byte_outside(
    studio: Studio, tmp_path: Path
) -> None:
    shown, lost = inpainted(studio, tmp_path, range(50))
    print(f"{shown} of 50 show a blue star under the mask, {lost} pixels outside changed")
    assert shown >= 40
    assert lost == 0


@pytest.mark.parametrize(
    ("fields", "reach"),
    [
        ({"fill": "noise"}, 0),
        ({"fill": "zero"}, 0),
        ({"fill": "blur"}, 0),
        ({"soft": True}, 0),
        ({"only_masked": True, "padding": 8}, 0),
        ({"blur": 2.0}, 12),
        ({"invert": True}, None),
    ],
)
def test_outside_every_kind_of_mask_each_byte_stays(
    studio: Studio, tmp_path: Path, fields: dict[str, Any], reach: int | None
) -> None:
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE + 3, SIDE + 1, 3), np.uint8))
    source.save(tmp_path / "source.png")  # no side is one that a model makes
    box = (30, 40, 80, 90)
    mask = mask_file(tmp_path / "mask.png", box, size=source.size, gray=200 if fields.get("soft") else 255)
    asked = {"mask": str(mask), **fields}
    result = studio.generate(STAR, seed=1, steps=4, image=str(tmp_path / "source.png"), inpaint=asked)
    (made,) = result.images
    assert made.size == source.size
    inside = np.zeros(changed(source, made).shape, bool)
    inside[40 - (reach or 0) : 91 + (reach or 0), 30 - (reach or 0) : 81 + (reach or 0)] = True
    if reach is None:
        inside = ~inside
    assert not changed(source, made)[~inside].any()
    assert changed(source, made)[inside].mean() > 0.5


def test_a_gray_mask_lets_change_as_much_as_it_is_light(studio: Studio, tmp_path: Path, effect: Effect) -> None:
    (source,) = studio.generate(BACKGROUND, seed=1, steps=4).images
    source.save(tmp_path / "source.png")
    pictures = {"the source": source}
    for gray in (40, 100, 150, 255):
        mask = mask_file(tmp_path / f"{gray}.png", (0, 0, SIDE, SIDE), gray=gray)
        asked: dict[str, Any] = {"image": str(tmp_path / "source.png"), "inpaint": {"mask": str(mask), "soft": True}}
        (pictures[f"gray {gray}"],) = studio.generate(
            "a red star on a white background", seed=101, steps=4, **asked
        ).images
    distances = [studios.mean_distance(source, made) for made in list(pictures.values())[1:]]
    assert distances == sorted(distances)
    effect(
        "A gray mask lets change as much as it is light: white further from the source than gray 100, by a factor of",
        distances[-1] / distances[1],
        least=1.3,
        pictures=pictures,
    )


def beyond(studio: Studio, folder: Path, seeds: range) -> tuple[float, int]:
    """(largest share of what is beyond the sides that is not the ground, pixels of the source that changed)."""
    worst, lost = 0.0, 0
    for seed in seeds:
        (source,) = studio.generate("a red circle on a yellow background", seed=seed, steps=15).images
        source.save(folder / "source.png")
        added = {"left": 24, "right": 16, "up": 8, "down": 32}
        made = studio.generate(
            "a red circle on a yellow background", seed=seed, steps=15, image=str(folder / "source.png"), outpaint=added
        ).images[0]
        assert made.size == (SIDE + 40, SIDE + 40)
        whole = np.asarray(made).astype(int)
        lost += int(changed(source, made.crop((24, 8, 24 + SIDE, 8 + SIDE))).sum())
        new = np.ones(whole.shape[:2], bool)
        new[8 : 8 + SIDE, 24 : 24 + SIDE] = False
        ground = np.median(np.asarray(source)[[0, -1]].reshape(-1, 3), axis=0)
        worst = max(worst, float((np.abs(whole[new] - ground).max(-1) > 40).mean()))
    return worst, lost


def test_beyond_its_sides_the_picture_goes_on_with_its_background(studio: Studio, tmp_path: Path) -> None:
    worst, lost = beyond(studio, tmp_path, range(1))
    assert worst < 0.1
    assert lost == 0


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_the_background_of_fifty_pictures_goes_on(studio: Studio, tmp_path: Path) -> None:
    found = [beyond(studio, tmp_path, range(seed, seed + 1)) for seed in range(50)]
    good = sum(share < 0.1 for share, _ in found)
    print(f"{good} of 50 go on with their background, {sum(lost for _, lost in found)} pixels of the sources changed")
    assert good >= 45
    assert not any(lost for _, lost in found)


@pytest.mark.parametrize("kind", ["sd1", "sd3", "flux-dev", "z-image", "qwen-image"])
def test_the_latents_outside_the_mask_are_kept_in_every_layout(kind: str, tmp_path: Path) -> None:
    source = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
    source.save(tmp_path / "source.png")
    mask = mask_file(tmp_path / "mask.png", (0, 0, 31, 63), size=(64, 64))
    fields: dict[str, Any] = {"model": str(zoo.saved(kind)), "image": str(tmp_path / "source.png"), "steps": 4}
    inpaint = {"mask": str(mask), "keep_outside": False}
    with studios.studio() as studio:
        whole, masked = (
            [
                studio.generate(prompt, seed=1, strength=1.0, **fields, **given).images[0]
                for prompt in ("a star", "rings")
            ]
            for given in ({}, {"inpaint": inpaint})
        )
    # Two prompts differ where they may paint; elsewhere both decode the same latents (VAEs mix a little of all places).
    right, left = (slice(None), slice(48, None)), (slice(None), slice(0, 16))
    assert apart(masked, right) < 0.35 * apart(whole, right)
    assert apart(masked, left) > 0.5 * apart(whole, left)


def apart(pair: list[Image.Image], where: tuple[slice, slice]) -> float:
    one, other = (studios.pixels(image)[where] for image in pair)
    return float(np.abs(one - other).mean())


def test_it_runs_in_the_same_forwards_as_pictures_of_text_alone(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "source.png")
    mask = mask_file(tmp_path / "mask.png", (8, 8, 40, 40), size=(64, 64))
    fields: dict[str, Any] = {"model": str(zoo.saved("sd1")), "guidance": 4.0, "steps": 10, "prompt": "a red circle"}
    texts = [ImageRequest(seed=seed, width=64, height=64, **fields) for seed in range(4)]
    source: dict[str, Any] = {"image": str(tmp_path / "source.png"), "inpaint": {"mask": str(mask)}}
    with studios.studio() as studio:
        *_, masked = studios.run_together(studio, [*texts, ImageRequest(seed=9, **fields, **source)])
    segments = [s for e in masked.recipes[0].run.trace if e.component == "unet" for s in e.segments]
    assert sum(segment.batch_rows > segment.rows for segment in segments) >= 3  # the other rows are of text alone


def test_what_was_inpainted_is_made_again(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (SIDE, SIDE), "teal").save(tmp_path / "source.png")
    mask = mask_file(tmp_path / "mask.png", (8, 8, 90, 90))
    asked = {"mask": str(mask), "blur": 1.5, "fill": "blur"}
    result = studio.generate(STAR, seed=3, steps=4, image=str(tmp_path / "source.png"), inpaint=asked)
    (path,) = result.save(tmp_path / "made.png")
    recipe = read_recipe(path).recipe
    assert recipe is not None
    assert replay(studio, path).verdict is Verdict.IDENTICAL
    assert studio.resolve(recipe.again()) == recipe.resolved
    Image.new("L", (SIDE, SIDE), 255).save(mask)
    with pytest.raises(InputError, match="is not the mask that was meant"):
        studio.resolve(recipe.again())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"inpaint": {"mask": "small.png"}}, "The mask is 64x64 px, the picture 128x128"),
        ({"inpaint": {"mask": "nowhere.png"}}, "The mask .* is not there"),
        ({"inpaint": {"mask": "mask.png", "blur": 1000.0}}, "mask blur of 1000 px"),
        ({"inpaint": {"mask": "mask.png"}, "strength": 7.0}, "strength 7"),
        ({"inpaint": {"mask": "mask.png"}, "outpaint": {"left": 8}}, "to inpaint and to outpaint"),
        ({"outpaint": {}}, "outpaint by nothing"),
        ({"outpaint": {"left": 8}, "hires": {}}, "A second pass changes every byte"),
        ({"outpaint": {"up": -3}}, "-3 px up"),
        ({"outpaint": {"up": 8}, "width": 64}, "A size and an outpaint"),
        ({"image": None, "inpaint": {"mask": "mask.png"}}, "`inpaint` has no effect without a picture"),
    ],
)
def test_what_cannot_be_is_refused_before_any_network_runs(studio: Studio, fields: dict[str, Any], told: str) -> None:
    Image.new("RGB", (SIDE, SIDE), "teal").save("source.png")
    Image.new("L", (SIDE, SIDE), 255).save("mask.png")
    Image.new("L", (64, 64), 255).save("small.png")
    with pytest.raises(InputError, match=told):
        studio.resolve(ImageRequest.model_validate({"prompt": STAR, "image": "source.png"} | fields))
