"""A T5 encoder reads texts of any length, for the conditionings that have one beside CLIP.

There are no chunks. What `BREAK` divides is read apart, each part at the usual length, and joined, as chunks are. A
weight w makes e + w (z - e) of the embedding z of a token, where e is that of no text at the same place: the mean of
T5's embeddings is nearly nothing, so a factor that keeps it, as CLIP's usual rule has one, would be chance.
"""

from collections.abc import Sequence

import torch

from gesso.core.errors import ModelError
from gesso.core.requests import Weighting
from gesso.engine.conditioning.base import TextEncoder, TextModel, Tokenizer
from gesso.engine.conditioning.pieces import weighted_ids
from gesso.engine.conditioning.texts import NOTHING, Texts, joined
from gesso.engine.prompt.steps import Sections


def encode_t5(
    model: TextModel, tokenizer: Tokenizer, encoder: TextEncoder, texts: Texts, *, usual_length: int
) -> torch.Tensor:
    """The last hidden state of B `texts`: [B, K L, C].

    K is the most sections that a text has; L is `usual_length`, with which the family was trained, padding attended to
    as there; a longer text is neither cut nor chunked, since T5's positions are relative: then L is what it needs.
    """
    end_id, pad_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    if end_id is None or pad_id is None:
        raise ModelError("The tokenizer has no end of text or padding", hint="its `tokenizer_config.json` is damaged")
    weighted = texts.weighted()
    beside = [NOTHING] if weighted and texts.weighting is not Weighting.NO_NORM else []
    read: Sequence[Sections] = [*joined(texts.groups), *beside]
    count = max(map(len, read))
    sections = [weighted_ids(tokenizer, section) for text in read for section in (*text, *[()] * (count - len(text)))]
    length = max(usual_length, *(len(ids) + 1 for ids in sections))
    rows = [[*(token for token, _ in ids), end_id, *[pad_id] * (length - len(ids) - 1)] for ids in sections]
    states = encoder(torch.tensor(rows).to(model.device)).last_hidden_state
    states = states.reshape(len(read), count * length, states.shape[-1])
    if not weighted:
        return states
    weights = torch.tensor([[*(weight for _, weight in ids), *[1.0] * (length - len(ids))] for ids in sections])
    weights = weights.reshape(len(read), -1, 1).to(states)
    if not beside:
        return states * weights
    nothing, states, weights = states[-1:], states[:-1], weights[:-1]
    return torch.where(weights == 1, states, nothing + weights * (states - nothing))
