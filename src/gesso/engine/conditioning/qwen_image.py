"""Conditioning by Qwen 2.5 VL, last layer: Qwen-Image (Wu et al. 2025, arXiv 2508.02324)."""

from typing import Any

import torch

from gesso.engine.conditioning.base import TextModel, reader
from gesso.engine.conditioning.chat import NEGATIVE, PROMPT, hidden_states, refuse_clip_skip, tokens

LONGEST = 1024
"""Tokens of a text after the instruction. Diffusers' pipeline cuts at 512 unless told, and takes 1024 at most."""
INSTRUCTION = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
INSTRUCTION_TOKENS = 34
"""The instruction's own, which the denoiser does not read."""
END = "<|im_end|>\n<|im_start|>assistant\n"
NOTHING = " "
"""What the published examples give for no negative prompt."""


def encode(model: TextModel, *, prompt: str, negative_prompt: str, guided: bool, clip_skip: int) -> dict[str, Any]:
    """Embeddings [1, L, C] and mask [1, L] of prompt and, if guided, negative prompt; L is the text's own length.

    Raises:
        InputError: a text of more than 1024 tokens; a clip skip.
    """
    refuse_clip_skip(clip_skip)
    given: dict[str, Any] = {"max_sequence_length": LONGEST}
    texts = [("", prompt, PROMPT)]
    if guided:
        texts.append(("negative_", negative_prompt or NOTHING, NEGATIVE))
    for prefix, text, what in texts:
        embeds = _embeds(model, text, what)
        given[f"{prefix}prompt_embeds"] = embeds
        given[f"{prefix}prompt_embeds_mask"] = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
    return given


def _embeds(model: TextModel, text: str, what: str) -> torch.Tensor:
    """[1, L, C], by a call of its own: texts side by side would be padded, and padding changes the sums."""
    tokenizer, encoder = reader(model)
    longest = LONGEST + INSTRUCTION_TOKENS
    ids, mask = tokens(tokenizer, f"{INSTRUCTION}{text}{END}", what=what, longest=longest, padded=False)
    states = hidden_states(model, encoder, ids, mask)[-1]
    return states[:, INSTRUCTION_TOKENS:].to(device=model.device, dtype=model.dtype).clone()
