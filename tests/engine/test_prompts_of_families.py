"""The prompt language on encoders without chunks: T5 and language models, on thin random models.

What a weight does is compared with its formula; schedules and parts are seen in the bytes that the denoiser gives.
"""

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
from gesso.core.registry import load_dotted
from gesso.core.requests import ImageRequest, PromptDialect, Weighting
from gesso.engine.conditioning import clip_t5, triple
from gesso.engine.conditioning.texts import Texts
from gesso.engine.handle import Result
from gesso.engine.prompt.reading import read_prompts
from gesso.engine.prompt.steps import Sections
from gesso.engine.replay import Verdict, replay
from gesso.engine.studio import Studio
from gesso.models.folder import describe

T5 = ("sd3", "flux-dev")
SPEAKING = ("z-image", "flux2", "flux2-klein-base", "qwen-image")
KINDS = (*T5, *SPEAKING)
GUIDED: Mapping[str, dict[str, Any]] = {
    "sd3": {"guidance": 4.0},
    "flux-dev": {"arguments": {"true_cfg_scale": 4.0}, "negative_prompt": "dark"},
    "z-image": {"guidance": 3.0},
    "flux2-klein-base": {"guidance": 4.0},
    "qwen-image": {"guidance": 4.0},
}
UNGUIDED: Mapping[str, dict[str, Any]] = {"flux-dev": {}, "flux2": {}, "z-image": {"guidance": 0.0}}
ROUNDING = 1.5 / 255
"""Of a pixel's value."""


def guided_kinds() -> list[Any]:
    """The pipeline of Flux.2 klein asks like that of Qwen-Image, and is slow."""
    slow = {"flux2-klein-base": pytest.mark.slow}
    return [pytest.param(kind, fields, marks=slow.get(kind, ()), id=kind) for kind, fields in GUIDED.items()]


def sections(prompt: str) -> Sections:
    return read_prompts(prompt, "", dialect=PromptDialect.GESSO, steps=1).parts[0].entries[0].sections


def encoded(kind: str, prompt: str, weighting: Weighting = Weighting.ORIGINAL) -> Tensor:
    """[L, C] of one text, without CLIP's chunk before it."""
    family = describe(zoo.saved(kind)).family
    assert family is not None
    texts = Texts(prompts=((sections(prompt),),), negatives=(), weighting=weighting)
    with torch.no_grad():
        (text,) = load_dotted(family.conditioning)(studios.PlainModel(zoo.built(kind)), texts, clip_skip=1).texts
    found: Tensor = text["prompt_embeds"][0]
    return found[77:] if kind == "sd3" else found


def moved(kind: str, weighted: str, plain: str, weighting: Weighting) -> list[int]:
    """Places at which a weight changes what is read."""
    difference = (encoded(kind, weighted, weighting) - encoded(kind, plain)).abs().amax(-1)
    return difference.nonzero().flatten().tolist()


def tokens_of(kind: str, word: str, prompt: str) -> list[int]:
    """Places of the tokens that another word there would change, if nothing were read before or behind it."""
    pipe: Any = zoo.built(kind)
    tokenizer = {"sd3": "tokenizer_3", "flux-dev": "tokenizer_2"}.get(kind, "tokenizer")
    read = getattr(pipe, tokenizer)
    ids = read(prompt, add_special_tokens=False)["input_ids"]
    spelt = [read.decode([token]).strip() for token in ids]
    return [place for place, text in enumerate(spelt) if text == word]


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_one_is_the_very_bytes_of_plain_text(kind: str) -> None:
    plain = encoded(kind, "a red circle, bright")
    for prompt in ("a (red:1) circle, bright", "a ((red:0.5):2) circle, bright"):
        for weighting in Weighting:
            assert torch.equal(encoded(kind, prompt, weighting), plain)
    assert torch.equal(encoded(kind, "a (red:1.7) circle, bright", Weighting.IGNORE), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_moves_the_embeddings_of_its_tokens_and_no_others(kind: str) -> None:
    words = tokens_of(kind, "red", "a red circle on the red tree")
    assert len(words) == 2
    for weighting in (Weighting.ORIGINAL, Weighting.NO_NORM, Weighting.COMFYUI):
        places = moved(kind, "a (red:1.6) circle on the red tree", "a red circle on the red tree", weighting)
        both = moved(kind, "a (red:1.6) circle on the (red:0.4) tree", "a red circle on the red tree", weighting)
        assert len(places) == 1
        assert places[0] == both[0]
        assert [place - both[0] for place in both] == [place - words[0] for place in words]


def error_of_rules(kind: str) -> float:
    """How far the embedding of a weighted word is from the formula of its rule, in deviations of embeddings."""
    prompt = "a red circle"
    plain, nothing = encoded(kind, prompt), encoded(kind, "")
    (place,) = moved(kind, "a (red:1.5) circle", prompt, Weighting.NO_NORM)
    # A language model has a token for each of the three words; red is the second.
    middle = nothing[place] if kind in T5 else plain[place - 1 : place + 2].mean(0)
    wanted = {
        Weighting.ORIGINAL: middle + 1.5 * (plain[place] - middle),
        Weighting.NO_NORM: 1.5 * plain[place],
    }
    found = {rule: encoded(kind, "a (red:1.5) circle", rule)[place] for rule in wanted}
    return max(float((found[rule] - value).abs().max() / plain[place].std()) for rule, value in wanted.items())


def test_the_embedding_of_a_weighted_word_is_that_of_its_rule(effect: Effect) -> None:
    effect(
        "Weights on T5 (SD 3, Flux.1) and on language models (Z-Image, Flux.2, Qwen-Image), each by its rule: largest "
        "error of an embedding, in deviations",
        max(error_of_rules(kind) for kind in KINDS),
        most=1e-4,
        on="thin random weights",
    )


@pytest.mark.parametrize(("kind", "length"), [("sd3", triple.T5_LENGTH), ("flux-dev", clip_t5.T5_LENGTH)])
def test_break_makes_t5_read_apart(kind: str, length: int) -> None:
    found = encoded(kind, "a red circle BREAK a (blue:1.3) dog")
    if kind == "sd3":
        found = found[77:]  # CLIP's second chunk
    assert len(found) == 2 * length
    for half, prompt in zip(found.split(length), ("a red circle", "a (blue:1.3) dog"), strict=True):
        torch.testing.assert_close(half, encoded(kind, prompt), rtol=1e-4, atol=1e-5)


# --- pictures


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def request(kind: str, prompt: str, **fields: Any) -> ImageRequest:
    given: dict[str, Any] = {"seed": 3, "steps": 3, "width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    return ImageRequest(prompt=prompt, model=str(zoo.saved(kind)), **given | fields)


def made(studio: Studio, kind: str, prompt: str, journal: Path | None = None, **fields: Any) -> Result:
    return studio.submit(request(kind, prompt, **fields), journal=journal).result(100)


def denoised(result: Result) -> dict[int | None, list[str]]:
    """Of each step what the denoiser gave."""
    found: dict[int | None, list[str]] = {}
    for entry in result.recipes[0].run.trace:
        if entry.component == "transformer":
            found.setdefault(entry.step, []).append(entry.digest)
    return found


@pytest.mark.parametrize(
    ("kind", "fields"),
    [*guided_kinds(), *(pytest.param(kind, fields, id=f"{kind}-alone") for kind, fields in UNGUIDED.items())],
)
def test_a_schedule_changes_what_the_denoiser_reads_at_its_step(
    studio: Studio, kind: str, fields: dict[str, Any]
) -> None:
    before, both, after = (
        denoised(made(studio, kind, prompt, exact=True, **fields))
        for prompt in ("a red cat", "a [red:large blue:2] cat", "a large blue cat")
    )
    assert (both[0], both[1]) == (before[0], before[1])
    assert len(both[2]) == len(before[2])
    assert both[2][0] != before[2][0]
    assert both[0][0] != after[0][0]


@pytest.mark.parametrize(("kind", "fields"), guided_kinds())
def test_a_negative_prompt_may_change_too(studio: Studio, kind: str, fields: dict[str, Any]) -> None:
    given: dict[str, Any] = fields | {"exact": True}
    before, both = (
        denoised(made(studio, kind, "a red cat", **{**given, "negative_prompt": negative}))
        for negative in ("dark", "[dark:a large blue dog:1]")
    )
    assert both[0] == before[0]
    assert both[1][-1] != before[1][-1]
    assert both[1][0] == before[1][0] or len(both[1]) == 1  # the prompt's own call is as it was


@pytest.mark.parametrize(("kind", "fields"), guided_kinds())
def test_parts_are_added_by_their_weights(studio: Studio, kind: str, fields: dict[str, Any]) -> None:
    def picture(prompt: str) -> Any:
        return made(studio, kind, prompt, **fields).images[0]

    whole = picture("a red cat")
    assert studios.distance(picture("a red cat :0.5 AND a red cat :0.5"), whole) < ROUNDING
    assert studios.distance(picture("a red cat AND a large blue dog :0"), whole) < ROUNDING
    assert studios.distance(picture("a red cat AND a large blue dog"), whole) > 2e-3
    shared = picture("a [red:blue:2] cat :0.6 AND a large dog :0.4")
    assert studios.distance(shared, whole) > 2e-3


@pytest.mark.parametrize("kind", ["qwen-image", "z-image", "sd3"])
def test_pictures_of_changing_texts_are_replayed_and_go_on_from_a_journal(
    studio: Studio, kind: str, tmp_path: Path
) -> None:
    prompt = "a (red:1.4) [cat:large blue dog:0.5] AND a tree :0.5"
    fields = {"exact": True, **GUIDED[kind]}
    first, again = (made(studio, kind, prompt, journal=tmp_path / "journal", **fields) for _ in range(2))
    assert again.recipes[0].run.metering.forwards == 0
    assert again.images[0].tobytes() == first.images[0].tobytes()
    (path,) = first.save(tmp_path / "one.png")
    assert replay(studio, path).verdict is Verdict.IDENTICAL


@pytest.mark.parametrize(
    ("kind", "fields", "said", "cure"),
    [
        ("flux2", {"prompt": "a AND b"}, "need guidance", "leave them out"),
        ("flux-dev", {"prompt": "a AND b"}, "need guidance", "true_cfg_scale"),
        ("z-image", {"prompt": "a AND b", "guidance": 0.0}, "need guidance", "above 0"),
        *((kind, {"prompt": "a BREAK b"}, "which BREAK cannot divide", "leave BREAK out") for kind in SPEAKING),
        ("qwen-image", {"prompt": "a", "negative_prompt": "[a:b BREAK c:2]"}, "cannot divide", "leave BREAK out"),
        ("pixart", {"prompt": "a (b:1.2)", "dialect": "gesso"}, "reads prompts as plain text", "use `plain`"),
    ],
)
def test_what_an_encoder_cannot_do_is_refused_before_anything_runs(
    studio: Studio, kind: str, fields: dict[str, Any], said: str, cure: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        studio.resolve(request(kind, **fields))
    assert cure in (refused.value.hint or "")


def test_a_weight_with_nothing_beside_it_is_refused(studio: Studio) -> None:
    with pytest.raises(InputError, match="a single token"):
        made(studio, "z-image", "(red:1.5)")


def test_a_prompt_in_json_is_plain_text(studio: Studio) -> None:
    prompt = '{"scene": "a [red] cat (large)", "colours": ["red|blue", "white"]}'
    assert studio.resolve(request("flux2", prompt)).dialect is PromptDialect.PLAIN
    assert studio.resolve(request("flux2", "{" + prompt)).dialect is PromptDialect.GESSO


@pytest.mark.parametrize("kind", ["flux-dev", "z-image"])
def test_explaining_shows_a_text_whole_where_there_are_no_chunks(studio: Studio, kind: str) -> None:
    found = studio.explain(request(kind, "a (red:1.2) cat " + "dog " * 90))
    ((chunk,),) = (text.chunks for text in found.texts)
    assert found.chunk_size is None
    assert [piece.weight for piece in chunk] == [1.0, 1.2, 1.0]
    assert sum(piece.tokens for piece in chunk) > 90
