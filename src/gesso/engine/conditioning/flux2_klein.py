"""Conditioning by Qwen 3, layers 9, 18 and 27 side by side: Flux.2 klein, distilled and base."""

import torch

from gesso.engine.conditioning.base import TextModel, arguments, reader
from gesso.engine.conditioning.chat import NEGATIVE, PROMPT, hidden_states, refuse_clip_skip, side_by_side, tokens

LONGEST = 512
LAYERS = (9, 18, 27)


def encode(
    model: TextModel, *, prompt: str, negative_prompt: str, guided: bool, clip_skip: int
) -> dict[str, torch.Tensor]:
    """Embeddings [1, 512, 3 C] of prompt and, if guided, negative prompt, padding attended to as in training.

    Raises:
        InputError: a text of more than 512 tokens; a clip skip.
    """
    refuse_clip_skip(clip_skip)
    embeds = [_embeds(model, prompt, PROMPT)]
    if guided:
        embeds.append(_embeds(model, negative_prompt, NEGATIVE))
    return arguments(model, torch.cat(embeds), guided=guided)


def _embeds(model: TextModel, text: str, what: str) -> torch.Tensor:
    tokenizer, encoder = reader(model)
    messages = [{"role": "user", "content": text}]
    written = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    ids, mask = tokens(tokenizer, written, what=what, longest=LONGEST, padded=True)
    return side_by_side(hidden_states(model, encoder, ids, mask), LAYERS)
