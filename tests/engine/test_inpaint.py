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


def loaded(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def changed(before: Image.Image, after: Image.Image) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[H, W]: which pixels are others."""
    return (np.asarray(before.convert("RGB")) != np.asarray(after.convert("RGB"))).any(-1)


def shows_star(picture: Image.Image) -> bool:
    """Whether a blue star is read off it."""
    facts = [fact for fact in compare(parse(STAR), read(picture)).facts if fact.kind in (Kind.SHAPE, Kind.COLOUR)]
    return all(fact.right for fact in facts)


def inpainted(studio: Studio, folder: Path, seeds: range, *, steps: int) -> tuple[int, int, dict[str, Image.Image]]:
    """(pictures in which a star is where the mask is, pixels outside of it that changed, pictures of the first)."""
    sources, asked = list[Image.Image](), list[ImageRequest]()
    mask = mask_file(folder / "mask.png", (12, 12, 115, 115))
    for seed in seeds:
        (source,) = studio.generate(BACKGROUND, seed=seed, steps=steps).images
        source.save(folder / f"{seed}.png")
        sources.append(source)
        given: dict[str, Any] = {"prompt": STAR, "seed": seed + 100, "steps": steps}
        given |= {"image": str(folder / f"{seed}.png"), "inpaint": {"mask": str(mask)}}
        asked.append(ImageRequest.model_validate(given))
    results = [result.images[0] for result in studios.run_together(studio, asked, timeout=1000)]
    outside = np.asarray(loaded(mask)) == 0
    lost = sum(int(changed(source, made)[outside].sum()) for source, made in zip(sources, results, strict=True))
    pictures = {"source": sources[0], "mask": loaded(mask), "result": results[0]}
    return sum(shows_star(made) for made in results), lost, pictures


def test_the_asked_shape_is_under_the_mask_and_the_outside_keeps_its_bytes(
    studio: Studio, tmp_path: Path, effect: Effect
) -> None:
    shown, lost, pictures = inpainted(studio, tmp_path, range(3), steps=5)
    effect("What is asked for is seen under the mask: share of 3 seeds", shown / 3, least=0.66, pictures=pictures)
    effect("Pixels outside the mask that an inpaint changes", lost, most=0)


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_of_fifty_seeds_nearly_all_show_the_shape_and_none_changes_a_byte_outside(
    studio: Studio, tmp_path: Path
) -> None:
    shown, lost, _ = inpainted(studio, tmp_path, range(50), steps=6)
    print(f"{shown} of 50 show a blue star under the mask, {lost} pixels outside changed")
    assert shown >= 40
    assert lost == 0


@pytest.mark.parametrize(
    ("fields", "reach"),
    [
        ({"fill": "zero", "soft": True}, 0),
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
    result = studio.generate(STAR, seed=1, steps=2, image=str(tmp_path / "source.png"), inpaint=asked)
    (made,) = result.images
    assert made.size == source.size
    inside = np.zeros(changed(source, made).shape, bool)
    inside[40 - (reach or 0) : 91 + (reach or 0), 30 - (reach or 0) : 81 + (reach or 0)] = True
    if reach is None:
        inside = ~inside
    assert not changed(source, made)[~inside].any()
    assert changed(source, made)[inside].mean() > 0.5


def test_why_a_mask_lets_nothing_change_is_told_before_a_model_is_loaded(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "source.png")
    kinds = {"black": 0, "white": 255, "gray": 100}
    for name, value in kinds.items():
        Image.new("L", (64, 64), value).save(tmp_path / f"{name}.png")
    mask_file(tmp_path / "dot.png", (30, 30, 31, 31), size=(64, 64))
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("black", {}, "black everywhere"),
        ("white", {"invert": True}, "white everywhere"),
        ("gray", {}, "lighter than half"),
        ("dot", {"blur": 64.0}, "a blur of 64 px leaves nothing"),
    ]
    for name, fields, told in cases:
        inpaint = {"mask": str(tmp_path / f"{name}.png"), **fields}
        asked = ImageRequest.model_validate({"image": str(tmp_path / "source.png"), "inpaint": inpaint})
        with pytest.raises(InputError, match=told):
            studio.resolve(asked)


def test_what_does_not_go_with_a_part_of_a_picture_is_told(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "source.png")
    mask_file(tmp_path / "mask.png", (20, 20, 40, 40), size=(64, 64))
    asked: dict[str, Any] = {"image": str(tmp_path / "source.png"), "steps": 1, "seed": 1}
    masked = {"mask": str(tmp_path / "mask.png")}
    for fields in ({"outpaint": {"left": 8}}, {"inpaint": {**masked, "only_masked": True}}):
        with pytest.raises(InputError, match="only a part of this one is painted"):
            studio.resolve(ImageRequest.model_validate({**asked, **fields, "tiling": "both"}))
    result = studio.generate(STAR, **asked, inpaint=masked, output_format="jpeg")
    assert result.warnings == ("A JPEG file changes bytes outside the mask too: a PNG keeps them",)


def test_a_size_that_is_asked_for_is_made_also_where_it_is_near(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (100, 100), "teal").save(tmp_path / "source.png")
    mask = mask_file(tmp_path / "mask.png", (30, 30, 60, 60), size=(100, 100))
    asked: dict[str, Any] = {"image": str(tmp_path / "source.png"), "inpaint": {"mask": str(mask)}, "steps": 2}
    for size in ((128, 64), (160, 160), (96, 96)):  # the last is what the model makes for 100x100
        made = studio.generate(STAR, seed=1, width=size[0], height=size[1], resize="stretch", **asked).images[0]
        assert made.size == (size if size != (96, 96) else (100, 100))


def test_what_fills_the_mask_takes_the_old_shape_away(studio: Studio, tmp_path: Path, effect: Effect) -> None:
    (source,) = studio.generate(BACKGROUND, seed=1, steps=4).images
    source.save(tmp_path / "source.png")
    mask = mask_file(tmp_path / "mask.png", (4, 4, 123, 123))
    fields: dict[str, Any] = {"seed": 7, "steps": 4, "strength": 0.5, "image": str(tmp_path / "source.png")}
    fills = ("original", "blur", "noise", "zero")
    made = [studio.generate(STAR, inpaint={"mask": str(mask), "fill": fill}, **fields).images[0] for fill in fills]
    red = np.asarray(source)[..., 1] < 100
    original, *others = (float((np.asarray(picture)[..., 0] < 150)[red].mean()) for picture in made)
    assert all(share < original for share in others)
    effect(
        "At strength 0.5 less is left of the old shape where the colours around it fill the mask: share of it",
        original - others[0],
        least=0.1,
        pictures={"source": source, **dict(zip(fills, made, strict=True))},
    )


def test_a_part_of_a_large_picture_is_painted_at_the_size_of_the_model(
    studio: Studio, tmp_path: Path, effect: Effect
) -> None:
    source = Image.new("RGB", (400, 300), (245, 245, 245))
    source.paste("red", (20, 20, 60, 60))
    source.save(tmp_path / "large.png")
    mask = mask_file(tmp_path / "mask.png", (200, 100, 279, 179), size=source.size)
    fields: dict[str, Any] = {"image": str(tmp_path / "large.png"), "steps": 4}
    fields["inpaint"] = {"mask": str(mask), "only_masked": True, "padding": 4}
    asked = [ImageRequest.model_validate({"prompt": STAR, "seed": seed, **fields}) for seed in range(3)]
    made = [result.images[0] for result in studios.run_together(studio, asked)]
    parts = [picture.crop((196, 96, 284, 184)).resize((SIDE, SIDE)) for picture in made]
    effect(
        "80 px of a picture of 400, painted at 128: share of 3 seeds that show what was asked for",
        sum(map(shows_star, parts)) / len(parts),
        least=0.66,
        pictures={"the whole picture": made[0], "the part": parts[0]},
    )
    outside = np.asarray(loaded(mask)) == 0
    assert not any(changed(source, picture)[outside].any() for picture in made)


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


def beyond(studio: Studio, folder: Path, seeds: range) -> tuple[float, int, dict[str, Image.Image]]:
    """(largest share of what is new that is no ground, pixels of the source that changed, the last pictures)."""
    worst, lost, pictures = 0.0, 0, dict[str, Image.Image]()
    for seed in seeds:
        (source,) = studio.generate("a red circle on a yellow background", seed=seed, steps=5).images
        source.save(folder / "source.png")
        added = {"left": 24, "right": 16, "up": 8, "down": 32}
        made = studio.generate(
            "a red circle on a yellow background", seed=seed, steps=5, image=str(folder / "source.png"), outpaint=added
        ).images[0]
        assert made.size == (SIDE + 40, SIDE + 40)
        whole = np.asarray(made).astype(int)
        lost += int(changed(source, made.crop((24, 8, 24 + SIDE, 8 + SIDE))).sum())
        new = np.ones(whole.shape[:2], bool)
        new[8 : 8 + SIDE, 24 : 24 + SIDE] = False
        ground = np.median(np.asarray(source)[[0, -1]].reshape(-1, 3), axis=0)
        worst = max(worst, float((np.abs(whole[new] - ground).max(-1) > 40).mean()))
        pictures = {"source": source, "result": made}
    return worst, lost, pictures


def test_beyond_its_sides_the_picture_goes_on_with_its_background(
    studio: Studio, tmp_path: Path, effect: Effect
) -> None:
    worst, lost, pictures = beyond(studio, tmp_path, range(1))
    effect("Share of what is painted beyond the sides that is no background", worst, most=0.1, pictures=pictures)
    effect("Pixels of the picture itself that an outpaint changes", lost, most=0)


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_the_background_of_fifty_pictures_goes_on(studio: Studio, tmp_path: Path) -> None:
    found = [beyond(studio, tmp_path, range(seed, seed + 1)) for seed in range(50)]
    good = sum(share < 0.1 for share, _, _ in found)
    print(
        f"{good} of 50 go on with their background, {sum(lost for _, lost, _ in found)} pixels of the sources changed"
    )
    assert good >= 45
    assert not any(lost for _, lost, _ in found)


@pytest.mark.parametrize(
    "kind",
    ["sd1", "flux-dev", "qwen-image", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("sd3", "z-image"))],
)
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


def test_what_was_inpainted_is_made_again(studio: Studio, tmp_path: Path) -> None:
    Image.new("RGB", (SIDE, SIDE), "teal").save(tmp_path / "source.png")
    mask = mask_file(tmp_path / "mask.png", (8, 8, 90, 90))
    asked = {"mask": str(mask), "blur": 1.5, "fill": "blur"}
    result = studio.generate(STAR, seed=3, steps=2, image=str(tmp_path / "source.png"), inpaint=asked)
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
        ({"inpaint": {"mask": "black.png"}}, "The mask lets nothing change"),
        ({"inpaint": {"mask": "mask.png", "invert": True, "blur": 4.0}}, "The mask lets nothing change"),
        ({"inpaint": {"mask": "mask.png", "padding": 8}}, "padding of 8 px is around what is masked"),
        ({"inpaint": {"mask": "mask.png", "only_masked": True}, "resize": "fill"}, "Asked to fill a picture that"),
        ({"outpaint": {"left": 8}, "resize": "stretch"}, "Asked to stretch a picture that is outpainted"),
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
    Image.new("L", (SIDE, SIDE), 100).save("black.png")
    with pytest.raises(InputError, match=told):
        studio.resolve(ImageRequest.model_validate({"prompt": STAR, "image": "source.png"} | fields))
