"""Conditioning by Qwen 3, layers 9, 18 and 27 side by side: Flux.2 klein, distilled and base."""

import torch

from gesso.core.requests import Weighting
from gesso.engine.conditioning.base import Encoded, TextModel, reader, refuse_clip_skip
from gesso.engine.conditioning.chat import (
    Conversation,
    Turn,
    hidden_states,
    side_by_side,
    tokens,
    turns,
)
from gesso.engine.conditioning.texts import Texts

LONGEST = 512
LAYERS = (9, 18, 27)


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """Embeddings [1, 512, 3 C] of each text, padding attended to as in training.

    Raises:
        InputError: a text of more than 512 tokens; a clip skip.
    """
    refuse_clip_skip(clip_skip)
    return Encoded.of_rows(model, torch.cat([_embeds(model, turn, texts.weighting) for turn in turns(texts)]))


def _embeds(model: TextModel, turn: Turn, weighting: Weighting) -> torch.Tensor:
    tokenizer, encoder = reader(model)

    def template(text: str) -> str:
        said = [{"role": "user", "content": text}]
        return tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True, enable_thinking=False)

    said = Conversation.around(turn, template)
    words = tokens(tokenizer, said, longest=LONGEST, padded=True, weighting=weighting)
    return words.weigh(side_by_side(hidden_states(model, encoder, words), LAYERS), weighting)
