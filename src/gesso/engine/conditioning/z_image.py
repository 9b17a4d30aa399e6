"""Conditioning by Qwen 3, penultimate layer: Z-Image (Z-Image Team 2025, arXiv 2511.22699)."""

import torch

from gesso.core.requests import Weighting
from gesso.engine.conditioning.base import PROMPT_EMBEDS, Encoded, TextModel, reader, refuse_clip_skip
from gesso.engine.conditioning.chat import Conversation, Turn, hidden_states, tokens, turns
from gesso.engine.conditioning.texts import Texts

LONGEST = 512
PENULTIMATE = -2


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """A list of one [L, C] for each text; L is the text's own length.

    Raises:
        InputError: a text of more than 512 tokens; a clip skip.
    """
    refuse_clip_skip(clip_skip)
    return Encoded(texts=[{PROMPT_EMBEDS: [_embeds(model, turn, texts.weighting)]} for turn in turns(texts)])


def _embeds(model: TextModel, turn: Turn, weighting: Weighting) -> torch.Tensor:
    tokenizer, encoder = reader(model)

    def template(text: str) -> str:
        # Qwen 3's leaves the model free to think, which it is not asked to: so the family was trained.
        said = [{"role": "user", "content": text}]
        return tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True, enable_thinking=True)

    said = Conversation.around(turn, template)
    words = tokens(tokenizer, said, longest=LONGEST, padded=True, weighting=weighting)
    states = words.weigh(hidden_states(model, encoder, words)[PENULTIMATE], weighting)  # [1, 512, C]
    return states[0][words.mask[0].bool().to(states.device)].to(device=model.device, dtype=model.dtype)
