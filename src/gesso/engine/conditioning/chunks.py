"""Prompts of any length for encoders of 77 positions: tokens are chunked, never cut.

A text encoder of the CLIP kind reads begin, 75 tokens, end. A longer prompt becomes several such rows, each encoded by
itself; their outputs are joined along the token axis, which cross attention takes at any length. All texts of a request
get the same number of chunks, because pipelines want prompt and negative prompt of one shape: shorter ones are filled
with empty chunks. The method is that of the field since AUTOMATIC1111's `FrozenCLIPEmbedderWithCustomWords`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gesso.core.errors import ModelError
from gesso.engine.conditioning.base import TextEncoder, Tokenizer


def token_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of all of `text`, without begin and end."""
    # verbose=False: transformers would warn of a sequence longer than the encoder, which is what chunks are for.
    found = tokenizer(text, add_special_tokens=False, truncation=False, padding=False, verbose=False)
    return list(found["input_ids"])


def split(ids: Sequence[int], size: int) -> list[list[int]]:
    """Chunks of at most `size` ids that joined are `ids`; one empty chunk for no ids.

    The one place that decides where a chunk ends. The vectors of an embedding stay together, if a chunk can hold them.
    """
    chunks: list[list[int]] = [[]]
    for run in _runs(ids):
        if len(chunks[-1]) + len(run) > size >= len(run):
            chunks.append([])
        for token in run:
            if len(chunks[-1]) == size:
                chunks.append([])
            chunks[-1].append(token)
    return chunks


def _runs(ids: Sequence[int]) -> list[list[int]]:
    """Each token by itself, and the vectors of an embedding as one: ids below zero that go down by one."""
    runs: list[list[int]] = []
    for token in ids:
        if token < 0 and runs and runs[-1][-1] == token + 1 and runs[-1][-1] < 0:
            runs[-1].append(token)
        else:
            runs.append([token])
    return runs


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

    def row(self, chunk: Sequence[int]) -> list[int]:
        """begin, the chunk, end, padding: as many ids as the encoder has positions."""
        return [self.begin_id, *chunk, self.end_id, *[self.pad_id] * (self.size - len(chunk))]


@dataclass(frozen=True, kw_only=True)
class ChunkRows:
    """Texts as rows for one encoder: the chunks of the first text, then those of the second."""

    ids: torch.Tensor  # [B * K, P] int64
    mask: torch.Tensor  # [B * K, P] int64; 0 where padded
    chunks: int
    """Chunks of each text, K."""

    def join(self, states: torch.Tensor) -> torch.Tensor:
        """[B * K, P, C] -> [B, K * P, C]: the chunks of a text side by side."""
        return states.reshape(-1, self.chunks * states.shape[1], states.shape[2])

    def first(self, pooled: torch.Tensor) -> torch.Tensor:
        """[B * K, C] -> [B, C]: the first chunk stands for its text, as in every studio that chunks."""
        return pooled.reshape(-1, self.chunks, pooled.shape[1])[:, 0]


def chunk_rows(readers: Sequence[tuple[Tokenizer, TextEncoder]], texts: Sequence[str]) -> list[ChunkRows]:
    """The rows of `texts` for each encoder, all with the same number of chunks."""
    formats = [ChunkFormat.of(tokenizer, encoder) for tokenizer, encoder in readers]
    written = [
        [split(token_ids(tokenizer, text), form.size) for text in texts]
        for (tokenizer, _), form in zip(readers, formats, strict=True)
    ]
    count = max(len(chunks) for texts_of_one in written for chunks in texts_of_one)
    return [_rows(texts_of_one, form, count) for texts_of_one, form in zip(written, formats, strict=True)]


def _rows(texts: Sequence[list[list[int]]], form: ChunkFormat, count: int) -> ChunkRows:
    chunks: list[list[int]] = []
    for own in texts:
        chunks += own + [[]] * (count - len(own))
    mask = [[1] * (len(chunk) + 2) + [0] * (form.size - len(chunk)) for chunk in chunks]
    ids = torch.tensor([form.row(chunk) for chunk in chunks])
    return ChunkRows(ids=ids, mask=torch.tensor(mask), chunks=count)
