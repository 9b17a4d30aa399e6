"""A picture to begin with: how much of it stays, in whose company it is made, and how it is made again."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import studios
import zoo
from effects import Effect
from gesso.core.errors import InputError
from gesso.core.registry import load_dotted
from gesso.core.requests import ImageRequest
from gesso.engine.facts import facts_for, facts_of
from gesso.engine.pictures import read_recipe
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.models.folder import describe
from gesso.models.tasks import Task

PROMPT = "a blue star on a white background"


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """64x64 px: a gradient with a dark square."""
    ramp = np.linspace(40, 250, 64).astype(np.uint8)
    values = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.full((64, 64), 120, np.uint8)], -1)
    values[20:40, 24:44] = 10
    path = tmp_path / "source.png"
    Image.fromarray(values).save(path)
    return path


SAME_COLOURS = "a red star on a white background"
"""Other colours come with the first step; what takes more of them is the shape and where it is."""
STRENGTHS = (0.25, 0.5, 0.75, 1.0)


def mean_distances(
    studio: Studio, folder: Path, seeds: range, *, steps: int
) -> tuple[list[float], dict[str, Image.Image]]:
    """How far what comes out is from its source, at each strength, on the average of the seeds; those of the first."""
    asked: list[ImageRequest] = []
    sources: list[Image.Image] = []
    for seed in seeds:
        path = folder / f"{seed}.png"
        (picture,) = studio.generate("a red circle on a white background", seed=seed, steps=steps).images
        picture.save(path)
        sources.append(picture)
        asked += [
            ImageRequest(prompt=SAME_COLOURS, seed=seed + 100, steps=steps, image=str(path), strength=strength)
            for strength in STRENGTHS
        ]
    made = [result.images[0] for result in studios.run_together(studio, asked, timeout=1000)]
    found = [
        [studios.mean_distance(source, picture) for picture in made[first : first + len(STRENGTHS)]]
        for first, source in zip(range(0, len(made), len(STRENGTHS)), sources, strict=True)
    ]
    names = ["the source", *(f"strength {strength:g}" for strength in STRENGTHS)]
    return [float(mean) for mean in np.mean(found, axis=0)], dict(zip(names, [sources[0], *made], strict=False))


def test_strength_moves_the_picture_away_from_its_source_monotonically(
    studio: Studio, tmp_path: Path, effect: Effect
) -> None:
    found, pictures = mean_distances(studio, tmp_path, range(2), steps=4)
    assert found == sorted(found)
    effect(
        "Strength moves a picture away from its source, the further the more: 1 further than 0.25, by a factor of",
        found[-1] / found[0],
        least=2,
        pictures=pictures,
    )


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_strength_moves_pictures_of_fifty_seeds_monotonically(studio: Studio, tmp_path: Path) -> None:
    found, _ = mean_distances(studio, tmp_path, range(50), steps=8)
    print("mean distance to the source at each strength:", dict(zip(STRENGTHS, np.round(found, 4), strict=True)))
    assert found == sorted(found)
    assert found[-1] > 2 * found[0]


@pytest.mark.parametrize(
    "kind",
    [
        "sd1",
        "sd3",
        "flux-dev",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("sdxl", "z-image", "qwen-image")),
    ],
)
def test_a_lone_picture_has_the_bytes_of_plain_diffusers(kind: str, source: Path) -> None:
    strength, guidance, steps = 0.7, 4.0, 3
    facts = facts_for(facts_of(describe(zoo.saved(kind))), Task.IMAGE_TO_IMAGE)
    plain: Any = zoo.build(kind)
    embeddings = studios.plain_embeddings(plain, kind, "a red circle", guidance=guidance)
    parts = {**plain.components, **{name: plain.config[name] for name in _options(plain)}}
    pipeline = load_dotted(f"diffusers:{facts.pipeline}")(**parts)
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad(), Image.open(source) as picture:
        # As a tensor of plain strides: of a PIL picture diffusers makes one whose channels are last, for which a
        # convolution adds up in another order. A host makes all strides plain, so that neighbours change nothing.
        values = torch.from_numpy(np.asarray(picture).astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()
        expected = pipeline(
            **embeddings,
            image=values,
            strength=strength,
            num_inference_steps=steps,
            generator=torch.Generator("cpu").manual_seed(11),
            output_type="pil",
            **{facts.guidance_argument: guidance},
            **({"width": 64, "height": 64} if "width" in facts.accepts else {}),
        ).images[0]
    with studios.studio() as studio:
        result = studio.generate(
            "a red circle",
            model=str(zoo.saved(kind)),
            image=str(source),
            **{"strength": strength, "guidance": guidance, "steps": steps, "seed": 11},
        )
    assert result.recipes[0].resolved.pipeline == facts.pipeline
    assert result.images[0].tobytes() == expected.tobytes()


def _options(pipeline: Any) -> list[str]:
    return [name for name in pipeline.config if name not in pipeline.components and not name.startswith("_")]


@pytest.mark.parametrize(
    "kind",
    [
        "flux-dev",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("sd1", "sdxl", "sd3", "z-image", "qwen-image")),
    ],
)
def test_it_runs_in_the_same_forwards_as_pictures_of_text_alone(kind: str, source: Path) -> None:
    fields: dict[str, Any] = {"model": str(zoo.saved(kind)), "guidance": 4.0, "steps": 8}
    texts = [ImageRequest(prompt="a red circle", seed=seed, width=64, height=64, **fields) for seed in range(3)]
    picture = ImageRequest(prompt="a red circle", seed=9, image=str(source), strength=0.9, **fields)
    with studios.studio() as studio:
        alone = [studio.submit(request).result(60).images[0] for request in (*texts, picture)]
        together = studios.run_together(studio, [*texts, picture])
    for one, other in zip(alone, together, strict=True):
        assert studios.mean_distance(one, other.images[0]) <= 1e-3
    # All others are made of text alone: rows beside this one's are theirs, in other slots of the same batch.
    shared = [
        segment
        for entry in together[-1].recipes[0].run.trace
        if entry.component in {"unet", "transformer"}
        for segment in entry.segments
        if segment.batch_rows > segment.rows
    ]
    assert len(shared) >= 3


def test_text_a_picture_and_a_mask_are_rows_of_one_forward(source: Path, tmp_path: Path, effect: Effect) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 40, 40))
    mask.save(tmp_path / "mask.png")
    fields: dict[str, Any] = {"model": str(zoo.saved("sd1")), "prompt": "a red circle", "guidance": 4.0, "steps": 20}
    asked = [
        ImageRequest(seed=1, width=64, height=64, **fields),
        ImageRequest(seed=2, image=str(source), strength=0.9, **fields),
        ImageRequest.model_validate(
            {"seed": 3, "image": str(source), "inpaint": {"mask": str(tmp_path / "mask.png")}, **fields}
        ),
    ]
    with studios.studio() as studio:
        made = studios.run_together(studio, asked)
    assert {recipe.resolved.image is None for result in made for recipe in result.recipes} == {True, False}
    largest = [
        max(
            part.batch_rows
            for entry in result.recipes[0].run.trace
            if entry.component == "unet"
            for part in entry.segments
        )
        for result in made
    ]
    effect(
        "A picture of text, one of a picture and one under a mask, two rows each: rows of one forward",
        min(largest),
        least=6,
        on="thin random weights",
    )


def test_color_correction_brings_the_colours_of_the_source_back(studio: Studio, tmp_path: Path, effect: Effect) -> None:
    (plain,) = studio.generate("a red circle on a white background", seed=1, steps=4).images
    tinted = Image.fromarray((np.asarray(plain) * np.array([1.0, 0.9, 0.7])).astype(np.uint8))
    tinted.save(tmp_path / "tinted.png")
    fields: dict[str, Any] = {"seed": 5, "steps": 4, "strength": 0.75, "image": str(tmp_path / "tinted.png")}
    without, corrected = (
        studio.generate(SAME_COLOURS, color_correction=correction, **fields).images[0] for correction in (False, True)
    )
    lost, left = (cast_apart(tinted, made) for made in (without, corrected))
    effect(
        "Colour correction: what is left of the cast of colour that a picture loses",
        left / lost,
        most=0.4,
        pictures={"the source": tinted, "as it is": without, "corrected": corrected},
    )


def cast_apart(one: Image.Image, other: Image.Image) -> float:
    """How far the mean differences of red and green, and of green and blue, are from each other."""
    return float(np.abs(np.diff(studios.pixels(one) - studios.pixels(other), axis=-1).mean((0, 1))).sum())


def test_a_picture_is_made_again_while_its_source_is_there(studio: Studio, source: Path, tmp_path: Path) -> None:
    asked = ImageRequest(prompt=PROMPT, seed=3, steps=4, image=source.name, strength=0.5)
    result = studio.submit(asked).result(60)
    (path,) = result.save(tmp_path / "made.png")
    recipe = read_recipe(path).recipe
    assert recipe is not None
    assert recipe.resolved.image is not None
    assert recipe.resolved.image.source == str(source)
    assert replay(studio, path).verdict is Verdict.IDENTICAL
    again = studio.submit(recipe.again()).result(60)
    assert again.images[0].tobytes() == result.images[0].tobytes()
    Image.new("RGB", (64, 64), "red").save(source)
    with pytest.raises(InputError, match="is not the picture that was meant: its sha256 begins with"):
        studio.resolve(recipe.again())
    source.unlink()
    with pytest.raises(InputError, match=r"The picture `.*source.png` is not there"):
        studio.resolve(recipe.again())
    with pytest.raises(InputError, match="is not there"):
        replay(studio, path)


def test_a_picture_that_came_with_the_request_is_not_kept_in_the_recipe(studio: Studio, source: Path) -> None:
    url = f"data:image/png;base64,{base64.b64encode(source.read_bytes()).decode()}"
    fields: dict[str, Any] = {"seed": 3, "steps": 4, "strength": 0.5}
    given = studio.generate(PROMPT, image=url, **fields)
    assert given.images[0].tobytes() == studio.generate(PROMPT, image=str(source), **fields).images[0].tobytes()
    recipe = given.recipes[0]
    assert url[30:60] not in recipe.to_json()
    with pytest.raises(InputError, match="came with the request, and recipes keep none"):
        studio.resolve(recipe.again())
    assert studio.resolve(recipe.again(image=url)).image == recipe.resolved.image


def test_a_variation_of_the_noise_is_one_of_the_noise_that_is_laid_over_the_picture(
    studio: Studio, source: Path
) -> None:
    fields: dict[str, Any] = {"seed": 3, "steps": 3, "image": str(source), "strength": 0.7, "noise_source": "nv"}
    plain, near, far = (
        studio.generate(PROMPT, variation_seed=9, variation_strength=strength, **fields).images[0]
        for strength in (0.0, 0.0001, 0.9)
    )
    assert studios.mean_distance(plain, near) < 1e-3 < studios.mean_distance(plain, far)


def test_a_damaged_colour_profile_is_told_with_the_picture(studio: Studio, source: Path) -> None:
    with Image.open(source) as picture:
        picture.save("photo.png", icc_profile=b"none")
    asked: dict[str, Any] = {"seed": 3, "steps": 2, "strength": 0.5, "count": 2}
    told = studio.generate(PROMPT, image="photo.png", **asked).warnings
    assert [line.partition(" of ")[0] for line in told] == ["The colour profile"]


def test_steps_are_counted_as_they_are_made(studio: Studio, source: Path) -> None:
    handle = studio.submit(ImageRequest(prompt=PROMPT, seed=3, steps=10, image=str(source), strength=0.45))
    steps = [(event.completed, event.total) for event in handle.events() if event.kind == "step-completed"]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_schedules_of_a_prompt_count_the_steps_that_are_made(studio: Studio, source: Path) -> None:
    fields: dict[str, Any] = {"seed": 3, "steps": 8, "image": str(source), "strength": 0.5}
    share, step, other = (
        studio.generate(f"a [red circle:blue star:{when}] on a white background", **fields).images[0]
        for when in ("0.5", "2", "1")
    )
    assert share.tobytes() == step.tobytes() != other.tobytes()
    asked = ImageRequest(prompt="[circle:star:0.5]", **fields)
    ends = [
        studio.explain(asked.model_copy(update={"dialect": dialect})).texts[0].last_step
        for dialect in ("gesso", "a1111")
    ]
    assert ends == [2, 4]  # AUTOMATIC1111 counts all steps, though it makes the first half of them only


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"strength": 7.0}, "Asked for strength 7"),
        ({"strength": 0.1, "steps": 4}, "Strength 0.1 of 4 steps is less than one step"),
        ({"image": None, "strength": 0.5}, "without a picture to begin with"),
        ({"image": "nowhere.png"}, "is not there"),
        ({"image": "."}, "is a folder"),
        ({"image": "notes.png"}, "is not a PNG, JPEG or WebP picture"),
        ({"image": "half.png"}, "is a damaged picture"),
        ({"image": "bomb.png"}, "and at most 89,478,485 are read"),
        ({"image": "data:image/png,abc"}, "without base64"),
        ({"model": "sana"}, "does not do image-to-image"),
    ],
)
def test_what_cannot_be_is_refused_before_any_network_runs(
    studio: Studio, source: Path, fields: dict[str, Any], told: str
) -> None:
    Path("notes.png").write_text("a list of things to buy")
    Path("half.png").write_bytes(source.read_bytes()[:200])
    Path("bomb.png").write_bytes(bomb())
    if fields.get("model") == "sana":
        fields = {"model": str(zoo.saved("sana"))}
    with pytest.raises(InputError, match=told):
        studio.resolve(ImageRequest.model_validate({"prompt": PROMPT, "image": str(source)} | fields))


def bomb() -> bytes:
    """The head of a PNG of 30,000 x 30,000 px."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
