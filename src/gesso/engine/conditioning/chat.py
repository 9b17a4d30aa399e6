"""What conditionings by language models share: the prompt is a turn of a conversation, and hidden states are read.

These encoders were trained, together with their denoisers, on texts of a stated length. A longer one is refused: there
is no way to chunk a conversation, and positions beyond that length mean nothing to the denoiser.
"""

from typing import Any

import torch

from gesso.core.errors import InputError
from gesso.engine.conditioning.base import TextEncoder, TextModel, Tokenizer

PROMPT, NEGATIVE = "prompt", "negative prompt"
"""What a text is called in messages."""


def refuse_clip_skip(clip_skip: int) -> None:
    """Raises `InputError` for any clip skip but 1: there is no CLIP."""
    if clip_skip != 1:
        raise InputError(
            f"Clip skip {clip_skip} was asked of a model that reads no hidden states of CLIP", hint="use 1"
        )


def tokens(
    tokenizer: Tokenizer, text: str, *, what: str, longest: int, padded: bool, **options: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of a whole conversation: [1, L] each; L is `longest` if padded.

    Args:
        text: the conversation, written out.
        what: what the text in it is called.
        longest: tokens that the family reads at most.
        options: for the tokenizer.

    Raises:
        InputError: it has more tokens.
    """
    padding = {"padding": "max_length", "max_length": longest} if padded else {}
    found = tokenizer(text, truncation=False, return_tensors="pt", verbose=False, **padding, **options)
    ids, mask = found["input_ids"], found["attention_mask"]
    if ids.shape[1] > longest:
        raise InputError(
            f"The {what} has {ids.shape[1]} tokens with the words around it, this model reads at most {longest}",
            hint="shorten it; nothing of a prompt is ever cut off silently",
        )
    return ids, mask


def hidden_states(
    model: TextModel, encoder: TextEncoder, ids: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The embeddings, then the output of each layer: [1, L, C] each.

    Without a cache of keys, which nobody would use, and which cannot be split into rows.
    """
    # The scores of the next word are as wide as the vocabulary: for one place instead of all.
    options = {"logits_to_keep": 1} if hasattr(encoder, "lm_head") else {}
    ids, mask = ids.to(model.device), mask.to(model.device)
    found = encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False, **options)
    return found.hidden_states


def side_by_side(states: tuple[torch.Tensor, ...], layers: tuple[int, ...]) -> torch.Tensor:
    """Layers of hidden states joined along the channels: [1, L, C] each -> [1, L, len(layers) C]."""
    return torch.cat([states[layer] for layer in layers], dim=-1)
