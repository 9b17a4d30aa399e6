"""Conditioning by Qwen 3, penultimate layer: Z-Image (Z-Image Team 2025, arXiv 2511.22699)."""

import torch

from gesso.engine.conditioning.base import TextModel, reader
from gesso.engine.conditioning.chat import NEGATIVE, PROMPT, hidden_states, refuse_clip_skip, tokens

LONGEST = 512
PENULTIMATE = -2


def encode(
    model: TextModel, *, prompt: str, negative_prompt: str, guided: bool, clip_skip: int
) -> dict[str, list[torch.Tensor]]:
    """A list of one [L, C] for the prompt and, if guided, one for the negative prompt; L is the text's own length.

    Raises:
        InputError: a text of more than 512 tokens; a clip skip.
    """
    refuse_clip_skip(clip_skip)
    embeds = {"prompt_embeds": [_embeds(model, prompt, PROMPT)]}
    if guided:
        embeds["negative_prompt_embeds"] = [_embeds(model, negative_prompt, NEGATIVE)]
    return embeds


def _embeds(model: TextModel, text: str, what: str) -> torch.Tensor:
    tokenizer, encoder = reader(model)
    messages = [{"role": "user", "content": text}]
    # Qwen 3's template leaves the model free to think, which it is not asked to: so the family was trained.
    written = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=True)
    ids, mask = tokens(tokenizer, written, what=what, longest=LONGEST, padded=True)
    states = hidden_states(model, encoder, ids, mask)[PENULTIMATE]  # [1, 512, C]
    return states[0][mask[0].bool().to(states.device)].to(device=model.device, dtype=model.dtype)
