"""Conditioning by Mistral Small 3, layers 10, 20 and 30 side by side: Flux.2 dev.

Source: Black Forest Labs, `flux2/text_encoder.py`; the instruction is theirs too, as diffusers has it.
"""

import torch
from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE

from gesso.engine.conditioning.base import TextModel, arguments, reader
from gesso.engine.conditioning.chat import PROMPT, hidden_states, refuse_clip_skip, side_by_side, tokens

LONGEST = 512
LAYERS = (10, 20, 30)
PICTURE = "[IMG]"
"""What stands for a picture in a conversation; in a prompt it would mean one that is not there."""


def encode(
    model: TextModel, *, prompt: str, negative_prompt: str, guided: bool, clip_skip: int
) -> dict[str, torch.Tensor]:
    """Embeddings [1, 512, 3 C] of the prompt, padding attended to by the denoiser as in training.

    Guidance is an input of the denoiser, so there is never a negative prompt.

    Raises:
        InputError: a prompt of more than 512 tokens, the instruction included; a clip skip.
    """
    refuse_clip_skip(clip_skip)
    assert not guided
    tokenizer, encoder = reader(model)
    spoken = (("system", SYSTEM_MESSAGE), ("user", prompt.replace(PICTURE, "")))
    messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in spoken]
    written = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    # The template writes the begin of text itself.
    ids, mask = tokens(tokenizer, written, what=PROMPT, longest=LONGEST, padded=True, add_special_tokens=False)
    embeds = side_by_side(hidden_states(model, encoder, ids, mask), LAYERS)
    return arguments(model, embeds, guided=False)
