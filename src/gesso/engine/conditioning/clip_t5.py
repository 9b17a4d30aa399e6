"""Conditioning by T5, with CLIP for the summary: Flux.1."""

import torch

from gesso.core.errors import InputError
from gesso.engine.conditioning.base import TextModel, arguments, reader
from gesso.engine.conditioning.chunks import chunk_rows
from gesso.engine.conditioning.t5 import encode_t5

T5_LENGTH = 512


def encode(
    model: TextModel, *, prompt: str, negative_prompt: str, guided: bool, clip_skip: int
) -> dict[str, torch.Tensor]:
    """Embeddings [1, L, C] of T5 and pooled [1, C] of CLIP's first chunk, of prompt and, if guided, negative prompt.

    `guided` means true classifier-free guidance, with a second pass; the guidance that Flux dev takes as an input of
    its network needs no negative prompt.

    Raises:
        InputError: a clip skip; no hidden state of CLIP is read here.
    """
    if clip_skip != 1:
        raise InputError(
            f"Clip skip {clip_skip} was asked of a model that reads no hidden states of CLIP", hint="use 1"
        )
    texts = [prompt, negative_prompt] if guided else [prompt]
    tokenizer, encoder = reader(model)
    (rows,) = chunk_rows([(tokenizer, encoder)], texts)
    first = rows.ids[:: rows.chunks]  # [B, P]
    pooled = encoder(first.to(model.device)).pooler_output
    embeds = encode_t5(model, *reader(model, "_2"), texts, usual_length=T5_LENGTH)
    return arguments(model, embeds, pooled, guided=guided)
