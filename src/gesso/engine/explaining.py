"""How a prompt is read, before anything is made of it: chunks, weights and steps."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from PIL import Image

from gesso.core.errors import ModelError
from gesso.core.given_pictures import as_text
from gesso.core.requests import ImageRequest, Inpaint, ResolvedAdapter, ResolvedImageRequest
from gesso.engine.conditioning.base import Tokenizer
from gesso.engine.conditioning.chunks import chunked
from gesso.engine.conditioning.words import WordTokenizer
from gesso.engine.edit.strength import as_counted
from gesso.engine.facts import ModelFacts, facts_of
from gesso.engine.prompt.reading import read_prompts
from gesso.engine.prompt.steps import Entry
from gesso.engine.prompt_words import PromptWords
from gesso.models.families import Reads
from gesso.models.folder import ModelDescription
from gesso.models.load import load_tokenizer
from gesso.models.tasks import Task

_BLANK_PX = 64
_SPECIAL_TOKENS = 2
"""Begin and end of a chunk."""


@dataclass(frozen=True, kw_only=True)
class ExplainedPiece:
    """Tokens of one weight within a chunk, as the encoder reads them."""

    text: str
    weight: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class ExplainedText:
    """What is read during some steps.

    Attributes:
        part: of the prompt, from 0; `None` for the negative prompt.
        share: of the part in the guidance.
        first_step, last_step: from 1, both included.
    """

    part: int | None
    share: float
    first_step: int
    last_step: int
    chunks: tuple[tuple[ExplainedPiece, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """How the prompts of a request are read: those of its first picture.

    Attributes:
        chunk_size: tokens of a chunk at most; `None` where texts are not divided.
        adapters: named in the prompt.
    """

    resolved: ResolvedImageRequest
    texts: tuple[ExplainedText, ...]
    chunk_size: int | None
    adapters: tuple[ResolvedAdapter, ...]


def with_blank_pictures(request: ImageRequest, facts: ModelFacts) -> ImageRequest:
    """A request to be explained, with what a model begins with that makes no pictures of text alone.

    What is on the pictures does not change how the words are read.
    """
    if facts.only is None or request.image is not None:
        return request
    blank = as_text(Image.new("L", (_BLANK_PX, _BLANK_PX), 255))
    mask = Inpaint(mask=blank) if facts.only is Task.INPAINT else None
    return request.model_copy(update={"image": blank, "inpaint": mask})


def explain(resolved: ResolvedImageRequest, description: ModelDescription, words: PromptWords) -> Explanation:
    """Explain the prompts of a resolved request for its model, of which only a tokenizer is read.

    Args:
        words: those that stand for the vectors of embeddings.

    Raises:
        ModelError: the model has no tokenizer, or a broken one.
    """
    family = description.family
    suffix, own = _tokenizer(description, "_2" if family is not None and family.reads is Reads.SECTIONS else "")
    tokenizer = cast(Tokenizer, WordTokenizer(own, words))  # it answers for whatever it lacks
    size = None
    if family is not None and family.reads is Reads.CHUNKS:
        positions = description.components[f"text_encoder{suffix}"].config.get("max_position_embeddings", sys.maxsize)
        size = min(tokenizer.model_max_length, positions) - _SPECIAL_TOKENS
    steps = as_counted(resolved, flow=facts_of(description).flow).steps
    reading = read_prompts(resolved.prompt, resolved.negative_prompt, dialect=resolved.dialect, steps=steps)
    texts = [
        text
        for index, part in enumerate(reading.parts)
        for text in _texts(part.entries, tokenizer, resolved, size, part=index, share=part.weight)
    ]
    if resolved.negative_prompt:
        texts += _texts(reading.negative, tokenizer, resolved, size, part=None, share=1.0)
    return Explanation(
        resolved=resolved,
        texts=tuple(texts),
        chunk_size=size,
        adapters=tuple(adapter for adapter in resolved.adapters if adapter.from_prompt),
    )


def _tokenizer(description: ModelDescription, first: str) -> tuple[str, Tokenizer]:
    for suffix in (first, "", "_2"):
        tokenizer = load_tokenizer(description, f"tokenizer{suffix}")
        if tokenizer is not None:
            return suffix, tokenizer
    raise ModelError(f"`{description.name}` has no tokenizer", hint="choose another model with `--model`")


def _texts(
    entries: Sequence[Entry],
    tokenizer: Tokenizer,
    resolved: ResolvedImageRequest,
    size: int | None,
    *,
    part: int | None,
    share: float,
) -> Iterator[ExplainedText]:
    first = 1
    for entry in entries:
        chunks = chunked(tokenizer, entry.sections, size or sys.maxsize, resolved.dialect)
        yield ExplainedText(
            part=part,
            share=share,
            first_step=first,
            last_step=entry.last_step,
            chunks=tuple(tuple(_pieces(tokenizer, chunk)) for chunk in chunks),
        )
        first = entry.last_step + 1


def _pieces(tokenizer: Tokenizer, chunk: Sequence[tuple[int, float]]) -> Iterator[ExplainedPiece]:
    for weight, tokens in groupby(chunk, key=lambda token: token[1]):
        ids = [token for token, _ in tokens]
        yield ExplainedPiece(text=tokenizer.decode(ids).strip(), weight=weight, tokens=len(ids))
