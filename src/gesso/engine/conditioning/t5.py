"""A T5 encoder reads texts of any length, for the conditionings that have one beside CLIP."""

from collections.abc import Sequence

import torch

from gesso.core.errors import ModelError
from gesso.engine.conditioning.base import TextEncoder, TextModel, Tokenizer
from gesso.engine.conditioning.chunks import token_ids


def encode_t5(
    model: TextModel, tokenizer: Tokenizer, encoder: TextEncoder, texts: Sequence[str], *, usual_length: int
) -> torch.Tensor:
    """The last hidden state of `texts`: [B, L, C].

    L is `usual_length`, with which the family was trained, padding attended to as there; a longer text is neither cut
    nor chunked, since T5's positions are relative: then L is what it needs.
    """
    end_id, pad_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    if end_id is None or pad_id is None:
        raise ModelError("The tokenizer has no end of text or padding", hint="its `tokenizer_config.json` is damaged")
    written = [[*token_ids(tokenizer, text), end_id] for text in texts]
    length = max(usual_length, *(len(ids) for ids in written))
    rows = [ids + [pad_id] * (length - len(ids)) for ids in written]
    return encoder(torch.tensor(rows).to(model.device)).last_hidden_state
