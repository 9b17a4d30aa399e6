"""Conditioning by two CLIP text encoders side by side: Stable Diffusion XL (Podell et al. 2023, section 2.1)."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from gesso.engine.conditioning.base import Encoded, TextEncoder, TextModel, Tokenizer, hidden_layer, reader
from gesso.engine.conditioning.texts import NOTHING, Texts
from gesso.engine.conditioning.weighting import text_rows, weigh

PENULTIMATE = 2
"""The layer that this family reads, counted from the end; no final norm follows."""


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """Embeddings [B, 77 K, C1 + C2] and pooled [B, C2] of B texts.

    An empty negative prompt is all zeros if the model was trained so (`force_zeros_for_empty_prompt`). A folder
    without the first encoder, as the refiner's, uses the second alone. Clip skip applies to all texts.

    Raises:
        InputError: a clip skip beyond the layers of an encoder.
    """
    zeros = texts.negatives == (NOTHING,) and bool(model.init_options.get("force_zeros_for_empty_prompt", True))
    readers = [reader(model)] if model.network("text_encoder") is not None else []
    readers.append(reader(model, "_2"))
    read = replace(texts, negatives=()) if zeros else texts
    embeds, pooled = encode_side_by_side(model, readers, read, clip_skip=clip_skip)
    last_pooled = pooled[-1]
    if zeros:
        embeds = torch.cat([embeds, torch.zeros_like(embeds[:1])])
        last_pooled = torch.cat([last_pooled, torch.zeros_like(last_pooled[:1])])
    return Encoded.of_rows(model, embeds, last_pooled)


def encode_side_by_side(
    model: TextModel, readers: Sequence[tuple[Tokenizer, TextEncoder]], texts: Texts, *, clip_skip: int
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The penultimate states of CLIP encoders joined along the channels, and what each pooled, which has no weights.

    Returns:
        [B, 77 K, sum of C], and for each encoder [B, C]: its projected text embedding, of a plain `CLIPTextModel` its
        pooler output.
    """
    states: list[torch.Tensor] = []
    pooled: list[torch.Tensor] = []
    for (_, encoder), rows in zip(readers, text_rows(readers, texts), strict=True):
        found = encoder(rows.ids.to(model.device), output_hidden_states=True)
        layer = hidden_layer(found.hidden_states, clip_skip=clip_skip, usual=PENULTIMATE)
        states.append(weigh(layer, rows, texts))
        projected = found.text_embeds if "text_embeds" in found else found.pooler_output
        pooled.append(rows.first(projected)[: len(states[-1])])
    return torch.cat(states, dim=-1), pooled
