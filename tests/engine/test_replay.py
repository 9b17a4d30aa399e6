"""A picture made in company can be made again, byte for byte; a change to its recipe or pixels is noticed."""

from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

import studios
import zoo
from gesso.core.errors import ReplayError
from gesso.core.recipe import Recipe
from gesso.core.requests import OutputFormat
from gesso.engine import pictures
from gesso.engine.replay import Verdict, replay


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures made while eight other mixed requests ran."""
    folder = tmp_path_factory.mktemp("crowd")
    with studios.studio() as studio:
        results = studios.run_together(studio, studios.mixed_requests("primer", 9))
        assert sum(studios.foreign_rows(result.recipes[0]) for result in results) > 50
        return [path for index, result in enumerate(results) for path in result.save(folder / f"{index}.png")]


def rewritten(path: Path, recipe: Recipe, image: Image.Image, target: Path) -> Path:
    target.write_bytes(pictures.encode(image, recipe, OutputFormat.PNG))
    return target


def parts(path: Path) -> tuple[Image.Image, Recipe]:
    recipe = pictures.read_recipe(path).recipe
    assert recipe is not None
    with Image.open(path) as image:
        return image.convert("RGB"), recipe


def test_pictures_made_in_a_crowd_replay_identical(crowd: list[Path]) -> None:
    with studios.studio() as studio:
        for path in crowd:
            report = replay(studio, path)
            assert report.verdict is Verdict.IDENTICAL, (path, report.lines)


def test_one_altered_shape_is_noticed(crowd: list[Path], tmp_path: Path) -> None:
    image, recipe = parts(crowd[0])
    index = next(i for i, entry in enumerate(recipe.run.trace) if entry.component == "unet")
    entry = recipe.run.trace[index]
    segment = entry.segments[0]
    altered = entry.model_copy(
        update={"segments": (segment.model_copy(update={"batch_rows": segment.batch_rows + 3}),)}
    )
    trace = (*recipe.run.trace[:index], altered, *recipe.run.trace[index + 1 :])
    changed = recipe.model_copy(update={"run": recipe.run.model_copy(update={"trace": trace})})
    with studios.studio() as studio:
        report = replay(studio, rewritten(crowd[0], changed, image, tmp_path / "altered.png"))
    assert report.verdict is Verdict.DIFFERENT
    assert "altered" in report.lines[0]


def test_one_altered_digest_names_the_call_and_step(crowd: list[Path], tmp_path: Path) -> None:
    image, recipe = parts(crowd[0])
    index = next(i for i, entry in enumerate(recipe.run.trace) if entry.component == "unet" and entry.step == 2)
    altered = recipe.run.trace[index].model_copy(update={"digest": "0" * 16})
    trace = (*recipe.run.trace[:index], altered, *recipe.run.trace[index + 1 :])
    changed = recipe.model_copy(update={"run": recipe.run.model_copy(update={"trace": trace})})
    with studios.studio() as studio:
        report = replay(studio, rewritten(crowd[0], changed, image, tmp_path / "altered.png"))
    assert report.verdict is Verdict.DIFFERENT
    assert any("`unet` (step 2, call 2)" in line for line in report.lines)


def test_one_altered_pixel_is_noticed(crowd: list[Path], tmp_path: Path) -> None:
    image, recipe = parts(crowd[0])
    red, green, blue = image.getpixel((5, 7))  # pyright: ignore[reportGeneralTypeIssues]
    image.putpixel((5, 7), (red ^ 1, green, blue))
    with studios.studio() as studio:
        report = replay(studio, rewritten(crowd[0], recipe, image, tmp_path / "pixel.png"))
    assert report.verdict is Verdict.DIFFERENT
    assert report.distance == 1


def test_another_thread_count_is_not_comparable(crowd: list[Path], tmp_path: Path) -> None:
    image, recipe = parts(crowd[0])
    elsewhere = recipe.run.fingerprint.model_copy(update={"threads": 3})
    changed = recipe.model_copy(update={"run": recipe.run.model_copy(update={"fingerprint": elsewhere})})
    with studios.studio() as studio:
        report = replay(studio, rewritten(crowd[0], changed, image, tmp_path / "elsewhere.png"))
    assert report.verdict is Verdict.NOT_COMPARABLE
    assert "threads 3 → 1" in report.lines[0]
    assert report.distance == 0


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_files_replay_too(suffix: str, tmp_path: Path) -> None:
    with studios.studio() as studio:
        path = studio.generate("a red circle", seed=4, steps=3).save(tmp_path / f"circle.{suffix}")[0]
        assert replay(studio, path).verdict is Verdict.IDENTICAL


@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux-dev", "z-image", "flux2-klein-base", "qwen-image"])
def test_every_family_replays_from_a_crowd(kind: str, tmp_path: Path) -> None:
    with studios.studio() as studio:
        results = studios.run_together(studio, studios.mixed_requests(zoo.saved(kind), 6, width=64, height=64))
        assert sum(studios.foreign_rows(result.recipes[0]) for result in results) > 0
        for index, result in enumerate(results):
            path = result.save(tmp_path / f"{index}.png")[0]
            assert replay(studio, path).verdict is Verdict.IDENTICAL, path


def test_a_picture_of_somebody_else_cannot_be_replayed(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler, Seed: 1, Size: 8x8")
    Image.new("RGB", (8, 8)).save(tmp_path / "foreign.png", pnginfo=info)
    with studios.studio() as studio, pytest.raises(ReplayError, match="holds no recipe"):
        replay(studio, tmp_path / "foreign.png")
