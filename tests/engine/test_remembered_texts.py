"""Texts that were read lately are not read again, and nobody can tell from a picture or its recipe."""

from pathlib import Path
from typing import Any

import pytest
import torch

import inversions
import studios
import zoo
from effects import Effect
from gesso.core.requests import ImageRequest
from gesso.engine.handle import Result
from gesso.engine.remembered import Remembered
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio


def request(kind: str = "sd1", prompt: str = "a red (circle:1.2)", **fields: Any) -> ImageRequest:
    given: dict[str, Any] = {"seed": 1, "steps": 2, "guidance": 3.0, "width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    return ImageRequest(prompt=prompt, model=str(zoo.saved(kind)), **given | fields)


def made(studio: Studio, *arguments: Any, journal: Path | None = None, **fields: Any) -> Result:
    return studio.submit(request(*arguments, **fields), journal=journal).result(100)


def texts_read(result: Result) -> int:
    """Calls of text encoders that were made for a picture and not taken from an earlier one."""
    run = result.recipes[0].run
    return run.metering.forwards - sum(not entry.component.startswith("text_encoder") for entry in run.trace)


@pytest.mark.parametrize(
    ("kind", "exact"), [("sd1", False), ("sd1", True), ("sdxl", True), ("sd3", False), ("qwen-image", False)]
)
def test_a_text_is_read_once_and_pictures_and_traces_are_as_if_it_had_been_read_again(kind: str, exact: bool) -> None:
    with studios.studio() as studio, studios.studio(remembered_texts_mib=0) as forgetful:
        results = [made(each, kind, seed=seed, exact=exact) for each in (studio, forgetful) for seed in (1, 2)]
    first, second, *wanted = results
    assert texts_read(first) > 0
    assert [texts_read(result) for result in results] == [texts_read(first), 0, texts_read(first), texts_read(first)]
    for found, expected in zip((first, second), wanted, strict=True):
        assert found.recipes[0].run.trace == expected.recipes[0].run.trace
        assert found.images[0].tobytes() == expected.images[0].tobytes()


def test_a_picture_of_a_text_that_was_not_read_again_is_replayed_anywhere(tmp_path: Path) -> None:
    with studios.studio() as studio:
        made(studio)
        (path,) = made(studio, seed=2).save(tmp_path / "one.png")
        assert replay(studio, path).verdict is Verdict.IDENTICAL
    with studios.studio() as studio:
        assert replay(studio, path).verdict is Verdict.IDENTICAL


def test_what_decides_how_a_text_is_read_keeps_texts_apart(effect: Effect) -> None:
    Path("models/embeddings").mkdir(parents=True)
    pipeline: Any = zoo.built("sd1")
    width = pipeline.text_encoder.config.hidden_size
    for name, value in (("one", 1.0), ("two", 2.0)):
        inversions.a1111(Path(f"models/embeddings/{name}.pt"), torch.full((1, width), value))
    others: list[dict[str, Any]] = [
        {"negative_prompt": "dark"},
        {"guidance": 1.0},
        {"clip_skip": 2},
        {"weighting": "no-norm"},
        {"dialect": "comfyui"},
        {"exact": True},
        {"prompt": "a [red:blue:1] circle"},
        {"prompt": "a [red:blue:1] circle", "steps": 3},
        {"prompt": "a x", "embeddings": [{"name": "one", "word": "x"}]},
        {"prompt": "a x", "embeddings": [{"name": "two", "word": "x"}]},
    ]
    with studios.studio() as studio:
        made(studio)
        assert all(texts_read(made(studio, **fields)) > 0 for fields in others)
        alike: list[dict[str, Any]] = [
            {"steps": 3},
            {"guidance": 5.0},
            {"width": 128},
            {"sampler": "Heun"},
            {"count": 2},
        ]
        again = [texts_read(made(studio, **fields)) for fields in (*alike, *({"seed": 9, **more} for more in others))]
    effect(
        "Texts that were read before, in 15 requests of other steps, sizes, samplers and seeds: read again",
        sum(again),
        most=0,
        on="thin random weights",
    )
    assert len(again) == 15


def test_what_was_read_beside_others_is_not_remembered() -> None:
    """Its bytes may be others than those of a run by itself."""
    prompts = ["a red circle", "a blue dog", "a cat"]
    with studios.studio() as studio:
        made(studio, prompt="something else")
        with studios.gathered(studio, "text_encoder", 3):
            together = studios.run_together(studio, [request(prompt=prompt, seed=4) for prompt in prompts])
        assert any(studios.foreign_rows(result.recipes[0]) for result in together)
        alone = [made(studio, prompt=prompt) for prompt in prompts]
        for result in alone:
            assert all(part.rows == part.batch_rows for entry in result.recipes[0].run.trace for part in entry.segments)


def test_a_job_with_a_journal_goes_on_in_another_studio(tmp_path: Path) -> None:
    results: list[Result] = []
    for _ in range(2):
        with studios.studio() as studio:
            made(studio)
            results.append(made(studio, seed=2, journal=tmp_path / "journal"))
    assert results[1].recipes[0].run.metering.forwards == 0
    assert results[0].images[0].tobytes() == results[1].images[0].tobytes()


def test_memory_is_bounded_and_the_least_recently_used_leaves() -> None:
    remembered = Remembered[str](max_bytes=100)
    for key, size in (("a", 40), ("b", 40), ("huge", 101)):
        remembered.keep(key, key.upper(), size_bytes=size)
    assert remembered.find("a") == "A"
    remembered.keep("c", "C", size_bytes=40)
    assert [remembered.find(key) for key in ("a", "b", "c", "huge")] == ["A", None, "C", None]
    assert len(remembered) == 2
