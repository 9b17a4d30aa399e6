"""Prompts of any length for encoders of 77 positions: tokens are chunked, never cut.

A text encoder of the CLIP kind reads begin, 75 tokens, end. A longer prompt becomes several such rows, each encoded by
itself; their outputs are joined along the token axis, which cross attention takes at any length. All texts of a request
get the same number of chunks, because pipelines want prompt and negative prompt of one shape: shorter ones are filled
with empty chunks. The method is that of the field since AUTOMATIC1111's `FrozenCLIPEmbedderWithCustomWords`.

Where a chunk ends is a matter of the dialect: when it is full; in AUTOMATIC1111's rather at a comma that is near; in
ComfyUI's before a piece of few tokens rather than inside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import torch

from gesso.core.errors import ModelError
from gesso.core.requests import PromptDialect
from gesso.engine.conditioning.base import TextEncoder, Tokenizer
from gesso.engine.conditioning.texts import plain
from gesso.engine.prompt.steps import Sections

Token = tuple[int, float]
"""Id and weight."""
T = TypeVar("T", int, Token)

COMMA_BACKTRACK = 20
"""Tokens back from the end of a full chunk, where AUTOMATIC1111 looks for a comma."""
WHOLE_BELOW = 8
"""Pieces of fewer tokens are not divided by ComfyUI."""


def token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of all of `text`, without begin and end."""
    # verbose=False: transformers would warn of a sequence longer than the encoder, which is what chunks are for.
    found = tokenizer(text, add_special_tokens=False, truncation=False, padding=False, verbose=False)
    return list(found["input_ids"])


def chunked(tokenizer: Tokenizer, sections: Sections, size: int, dialect: PromptDialect) -> list[list[Token]]:
    """The chunks of a text, each of at most `size` tokens; a section begins a new one.

    The one place that decides where a chunk ends.
    """
    chunks: list[list[Token]] = []
    for section in sections:
        pieces = [[(token, piece.weight) for token in token_ids(tokenizer, piece.text)] for piece in section]
        match dialect:
            case PromptDialect.A1111:
                commas = set(token_ids(tokenizer, ","))
                chunks += _split_at_commas(list(chain.from_iterable(pieces)), size, commas)
            case PromptDialect.COMFYUI:
                chunks += _split_between(pieces, size)
            case _:
                chunks += split(list(chain.from_iterable(pieces)), size)
    return chunks


def _split_at_commas(tokens: Sequence[Token], size: int, commas: set[int]) -> list[list[Token]]:
    """What follows the last comma moves to the next chunk, if the chunk is full and the comma is near its end."""
    chunks: list[list[Token]] = [[]]
    comma = None
    for run in _runs(tokens):
        chunk, count = chunks[-1], len(chunks)
        if _id(run[0]) in commas:
            comma = len(chunk)
        elif _id(run[0]) >= 0 and len(chunk) == size and comma is not None and size - comma <= COMMA_BACKTRACK:
            chunks.append(chunk[comma + 1 :])
            del chunk[comma + 1 :]
        _put(chunks, run, size)
        if len(chunks) != count:
            comma = None
    return chunks


def _split_between(pieces: Sequence[Sequence[Token]], size: int) -> list[list[Token]]:
    chunks: list[list[Token]] = [[]]
    for piece in pieces:
        for run in [piece] if len(piece) < WHOLE_BELOW else _runs(piece):
            _put(chunks, run, size)
    return chunks


def split(ids: Sequence[T], size: int) -> list[list[T]]:
    """Chunks of at most `size` ids that joined are `ids`; one empty chunk for no ids.

    The vectors of an embedding stay together, if a chunk can hold them.
    """
    chunks: list[list[T]] = [[]]
    for run in _runs(ids):
        _put(chunks, run, size)
    return chunks


def _put(chunks: list[list[T]], run: Sequence[T], size: int) -> None:
    """Add a run to the last chunk, or to a new one where only that can hold it whole."""
    if len(chunks[-1]) + len(run) > size >= len(run):
        chunks.append([])
    for token in run:
        if len(chunks[-1]) == size:
            chunks.append([])
        chunks[-1].append(token)


def _runs(tokens: Sequence[T]) -> list[list[T]]:
    """Each token by itself, and the vectors of an embedding as one: ids below zero that go down by one."""
    runs: list[list[T]] = []
    for token in tokens:
        if _id(token) < 0 and runs and _id(runs[-1][-1]) == _id(token) + 1 and _id(runs[-1][-1]) < 0:
            runs[-1].append(token)
        else:
            runs.append([token])
    return runs


def _id(token: int | Token) -> int:
    return token if isinstance(token, int) else token[0]


@dataclass(frozen=True, kw_only=True)
class ChunkFormat:
    """How an encoder wants a chunk written."""

    size: int
    """Tokens of text in a chunk: the positions less begin and end."""
    begin_id: int
    end_id: int
    pad_id: int
    """OpenAI's CLIP was trained with the end of text as padding, OpenCLIP with 0; the tokenizer says which."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, encoder: TextEncoder) -> "ChunkFormat":
        """Read it off a tokenizer and its encoder.

        Raises:
            ModelError: the tokenizer has no begin or end of text.
        """
        begin_id, end_id, pad_id = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        if begin_id is None or end_id is None:
            raise ModelError(
                "The tokenizer has no begin or end of text", hint="its `tokenizer_config.json` is damaged or not CLIP's"
            )
        # A tokenizer saved without `model_max_length` says 10^30.
        positions = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        return cls(size=positions - 2, begin_id=begin_id, end_id=end_id, pad_id=end_id if pad_id is None else pad_id)

    def weights(self, chunk: Sequence[Token]) -> list[float]:
        """The weight at each position: 1 where there is no text."""
        return [1.0, *(weight for _, weight in chunk), *[1.0] * (self.size - len(chunk) + 1)]

    def row(self, chunk: Sequence[int]) -> list[int]:
        """begin, the chunk, end, padding: as many ids as the encoder has positions."""
        return [self.begin_id, *chunk, self.end_id, *[self.pad_id] * (self.size - len(chunk))]


@dataclass(frozen=True, kw_only=True)
class ChunkRows:
    """Texts as rows for one encoder: the chunks of the first text, then those of the second."""

    ids: torch.Tensor  # [B * K, P] int64
    mask: torch.Tensor  # [B * K, P] int64; 0 where padded
    weights: torch.Tensor  # [B * K, P] float32
    chunks: int
    """Chunks of each text, K."""

    def join(self, states: torch.Tensor) -> torch.Tensor:
        """[B * K, P, C] -> [B, K * P, C]: the chunks of a text side by side."""
        return states.reshape(-1, self.chunks * states.shape[1], states.shape[2])

    def first(self, pooled: torch.Tensor) -> torch.Tensor:
        """[B * K, C] -> [B, C]: the first chunk stands for its text, as in every studio that chunks."""
        return pooled.reshape(-1, self.chunks, pooled.shape[1])[:, 0]


def chunk_rows(readers: Sequence[tuple[Tokenizer, TextEncoder]], texts: Sequence[str]) -> list[ChunkRows]:
    """The rows of plain `texts` for each encoder, all with the same number of chunks."""
    return weighted_rows(readers, [plain(text) for text in texts], PromptDialect.PLAIN)


def weighted_rows(
    readers: Sequence[tuple[Tokenizer, TextEncoder]], texts: Sequence[Sections], dialect: PromptDialect
) -> list[ChunkRows]:
    """The rows of `texts` in pieces for each encoder, all with the same number of chunks."""
    formats = [ChunkFormat.of(tokenizer, encoder) for tokenizer, encoder in readers]
    written = [
        [chunked(tokenizer, text, form.size, dialect) for text in texts]
        for (tokenizer, _), form in zip(readers, formats, strict=True)
    ]
    count = max(len(chunks) for texts_of_one in written for chunks in texts_of_one)
    return [_rows(texts_of_one, form, count) for texts_of_one, form in zip(written, formats, strict=True)]


def _rows(texts: Sequence[list[list[Token]]], form: ChunkFormat, count: int) -> ChunkRows:
    chunks: list[list[Token]] = []
    for own in texts:
        chunks += own + [[]] * (count - len(own))
    mask = [[1] * (len(chunk) + 2) + [0] * (form.size - len(chunk)) for chunk in chunks]
    ids = torch.tensor([form.row([token for token, _ in chunk]) for chunk in chunks])
    weights = torch.tensor([form.weights(chunk) for chunk in chunks])
    return ChunkRows(ids=ids, mask=torch.tensor(mask), weights=weights, chunks=count)
