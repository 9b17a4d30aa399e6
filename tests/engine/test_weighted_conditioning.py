"""Weights, chunks and schedules of prompts as encoders and denoisers get them, on thin models."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import studios
import zoo
from effects import Effect
from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest, PromptDialect, Weighting
from gesso.engine.conditioning import chunks, clip, clip_pair
from gesso.engine.conditioning.texts import Texts
from gesso.engine.handle import Result
from gesso.engine.prompt.reading import read_prompts
from gesso.engine.prompt.steps import Sections
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio

ENCODE = {"sd1": clip.encode_texts, "sdxl": clip_pair.encode_texts}
ROUNDING = 1.5 / 255
"""Of a pixel's value."""
A1111, COMFYUI, GESSO = PromptDialect.A1111, PromptDialect.COMFYUI, PromptDialect.GESSO


class PlainModel:
    """The parts of a thin pipeline, unhosted."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, kind: str) -> None:
        self._pipe: Any = zoo.built(kind)

    @property
    def init_options(self) -> Mapping[str, Any]:
        return dict(self._pipe.config)

    def network(self, name: str) -> Any:
        return getattr(self._pipe, name, None)

    tokenizer = network

    def processor(self, name: str) -> None:
        return None

    def part(self, path: str) -> Any:
        return self._pipe.text_encoder.get_submodule(path.partition(".")[2])


def sections(prompt: str, dialect: PromptDialect = GESSO) -> Sections:
    return read_prompts(prompt, "", dialect=dialect, steps=1).parts[0].entries[0].sections


def encoded(kind: str, *prompts: str, weighting: Weighting = Weighting.ORIGINAL) -> Tensor:
    """[texts, 77 K, C], each text by itself."""
    texts = Texts(prompts=tuple((sections(prompt),) for prompt in prompts), negatives=(), weighting=weighting)
    with torch.no_grad():
        encoded = ENCODE[kind](PlainModel(kind), texts, clip_skip=1)
    return torch.stack([row for text in encoded.texts for row in text["prompt_embeds"]])


def error_of_rules(kind: str) -> float:
    """The largest difference between what a weight makes of embeddings and what the rule of each weighting says."""
    plain, nothing = encoded(kind, "a red circle", "")
    weights = torch.ones(77, 1)
    weights[2] = 1.5  # begin, a, red
    widths = [
        part.config.hidden_size for part in (PlainModel(kind).network(f"text_encoder{n}") for n in ("", "_2")) if part
    ]
    wanted = {
        Weighting.NO_NORM: plain * weights,
        Weighting.COMFYUI: nothing + weights * (plain - nothing),
        Weighting.IGNORE: plain,
        # Each encoder keeps a mean of its own.
        Weighting.ORIGINAL: torch.cat(
            [part * weights * (part.mean() / (part * weights).mean()) for part in plain.split(widths, dim=-1)], dim=-1
        ),
    }
    assert set(wanted) == set(Weighting)
    found = {weighting: encoded(kind, "a (red:1.5) circle", weighting=weighting)[0] for weighting in wanted}
    assert all(not torch.equal(found[one], found[Weighting.IGNORE]) for one in wanted if one is not Weighting.IGNORE)
    return max(float((found[weighting] - states).abs().max() / plain.std()) for weighting, states in wanted.items())


def test_each_weighting_does_what_its_rule_says(effect: Effect) -> None:
    effect(
        "Weights on one and two CLIPs as AUTOMATIC1111, ComfyUI and `no-norm` have them: largest error, in deviations",
        max(error_of_rules(kind) for kind in ENCODE),
        most=1e-4,
        on="thin random weights",
    )


def ids(prompt: str, dialect: PromptDialect) -> list[list[int]]:
    found = chunks.chunked(zoo.built("sd1").tokenizer, sections(prompt, dialect), 75, dialect)
    return [[token for token, _ in chunk] for chunk in found]


def test_a_chunk_ends_at_a_comma_that_is_near_in_automatic1111_alone() -> None:
    words = ["red"] * 90
    words[60] = ","
    assert [len(chunk) for chunk in ids(" ".join(words), A1111)] == [61, 29]
    assert [len(chunk) for chunk in ids(" ".join(words), GESSO)] == [75, 15]
    words[60], words[53] = "red", ","  # 21 tokens back
    assert [len(chunk) for chunk in ids(" ".join(words), A1111)] == [75, 15]


def test_a_short_piece_is_not_divided_in_comfyui() -> None:
    prompt = "red " * 70 + "(blue dog, blue dog, blue:1.2)"
    assert [len(chunk) for chunk in ids(prompt, COMFYUI)] == [70, 7]
    assert [len(chunk) for chunk in ids(prompt, GESSO)] == [75, 2]
    long = "red " * 70 + "(blue dog, blue dog, blue dog, blue:1.2)"
    assert [len(chunk) for chunk in ids(long, COMFYUI)] == [75, 5]


def test_break_ends_a_chunk() -> None:
    assert [len(chunk) for chunk in ids("red BREAK blue dog BREAK", GESSO)] == [1, 2]
    assert encoded("sd1", "red BREAK blue").shape[1] == 2 * 77


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def made(studio: Studio, prompt: str, kind: str = "sd1", journal: Path | None = None, **fields: Any) -> Result:
    given: dict[str, Any] = {
        "prompt": prompt,
        "model": str(zoo.saved(kind)),
        "seed": 3,
        "steps": 4,
        "guidance": 4.0,
        "sampler": "Euler",
        "width": zoo.PICTURE_PX,
        "height": zoo.PICTURE_PX,
    }
    return studio.submit(ImageRequest(**given | fields), journal=journal).result(100)


def denoised(result: Result) -> list[str]:
    return [entry.digest for entry in result.recipes[0].run.trace if entry.component == "unet"]


def far(one: Result, other: Result) -> float:
    return studios.distance(one.images[0], other.images[0])


@pytest.mark.parametrize("kind", ENCODE)
def test_a_prompt_without_signs_of_the_language_has_the_bytes_of_plain_text(studio: Studio, kind: str) -> None:
    prompt, negative = "a red circle, " * 30, "dark photo"
    results = [
        made(studio, prompt, kind, negative_prompt=negative, dialect=dialect, steps=2) for dialect in (None, "plain")
    ]
    assert results[0].recipes[0].resolved.dialect is GESSO
    assert results[0].recipes[0].run.trace == results[1].recipes[0].run.trace


@pytest.mark.parametrize("kind", ENCODE)
def test_a_schedule_changes_what_the_denoiser_reads_at_its_step(studio: Studio, kind: str) -> None:
    before, after, both = (
        denoised(made(studio, prompt, kind, exact=True)) for prompt in ("a red cat", "a blue cat", "a [red:blue:2] cat")
    )
    assert both[:2] == before[:2]
    assert both[2:] != before[2:]
    assert len(set(both) | set(after)) == 8
    fields = {"exact": True, "negative_prompt": "[dark:blue:2]"}
    assert denoised(made(studio, "a red cat", kind, **fields))[2] not in before


@pytest.mark.parametrize("kind", ENCODE)
def test_parts_are_added_by_their_weights(studio: Studio, kind: str) -> None:
    whole = made(studio, "a red cat", kind)
    assert far(made(studio, "a red cat :0.5 AND a red cat :0.5", kind), whole) < ROUNDING
    assert far(made(studio, "a red cat AND a blue dog :0", kind), whole) < ROUNDING
    twice = made(studio, "a red cat AND a red cat", kind, guidance=2.0)  # u + 2 ((c - u) + (c - u))
    assert far(twice, whole) < ROUNDING
    assert far(made(studio, "a red cat AND a blue dog", kind), whole) > 1e-2


def test_pictures_with_schedules_and_parts_share_forwards_and_are_replayed(studio: Studio, tmp_path: Path) -> None:
    common: dict[str, Any] = {"model": str(zoo.saved("sd1")), "width": 64, "height": 64, "seed": 1, "steps": 4}
    prompts = ["a [red|blue] cat", "a (red:1.2) cat AND a dog :0.7", "a [cat:dog:0.5]", "a plain tree"]
    alone = [studio.submit(ImageRequest(prompt=prompt, **common)).result(100) for prompt in prompts]
    with studios.gathered(studio, "unet", 4):  # the texts were read before
        together = studios.run_together(studio, [ImageRequest(prompt=prompt, **common) for prompt in prompts])
    assert all(studios.foreign_rows(result.recipes[0]) > 0 for result in together)
    assert max(far(one, other) for one, other in zip(alone, together, strict=True)) < 1e-2
    (path,) = together[1].save(tmp_path / "parts.png")
    assert replay(studio, path).verdict is Verdict.IDENTICAL
    again = together[1].recipes[0].again()
    assert (again.dialect, again.weighting) == (GESSO, Weighting.ORIGINAL)
    assert far(studio.submit(again).result(100), alone[1]) < 1e-3


def test_a_journal_keeps_the_calls_that_were_really_made(studio: Studio, tmp_path: Path) -> None:
    prompt = "a [red:blue:0.5] cat AND a dog"
    first, again = (made(studio, prompt, exact=True, journal=tmp_path / "journal") for _ in range(2))
    assert denoised(first) == denoised(again) == denoised(made(studio, prompt, exact=True))
    assert again.recipes[0].run.metering.forwards == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": "a AND b", "guidance": 1.0}, "need guidance"),
        ({"prompt": "(a:101)"}, "a weight of 101"),
        ({"prompt": "a", "weighting": "no-norm", "dialect": "plain"}, "no effect"),
        ({"prompt": "a <zz:1>"}, "`<zz:1>` in the prompt is no network"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(studio: Studio, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(studio, **fields)


def test_models_without_weights_read_plain_text_and_say_so_of_tags(studio: Studio) -> None:
    result = made(studio, "a (red:1.2) cat <lora:x:1>", "pixart", sampler="default", steps=1)
    assert result.recipes[0].resolved.dialect is PromptDialect.PLAIN
    assert any("use `--lora`" in warning for warning in result.warnings)


def test_explaining_shows_steps_chunks_and_weights(studio: Studio) -> None:
    request = ImageRequest(prompt="a (red:1.2) [cat|dog] BREAK photo", model=str(zoo.saved("sdxl")), steps=3)
    found = studio.explain(request)
    assert [(text.first_step, text.last_step) for text in found.texts] == [(1, 1), (2, 2), (3, 3)]
    first, second = found.texts[1].chunks
    assert [(piece.text, piece.weight, piece.tokens) for piece in first] == [
        ("a", 1.0, 1),
        ("red", 1.2, 1),
        ("dog", 1.0, 1),
    ]
    assert [piece.text for piece in second] == ["photo"]
    assert found.chunk_size == 75
