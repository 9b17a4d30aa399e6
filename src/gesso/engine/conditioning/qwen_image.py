"""Conditioning by Qwen 2.5 VL, last layer: Qwen-Image (Wu et al. 2025, arXiv 2508.02324)."""

from collections.abc import Callable

import torch

from gesso.core.requests import Weighting
from gesso.engine.conditioning.base import (
    MASK,
    PROMPT_EMBEDS,
    Encoded,
    TextModel,
    Value,
    reader,
    ready,
    refuse_clip_skip,
)
from gesso.engine.conditioning.chat import (
    NEGATIVE,
    Conversation,
    Turn,
    hidden_states,
    tokens,
    turns,
)
from gesso.engine.conditioning.texts import Texts
from gesso.engine.prompt.steps import Piece

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


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """Embeddings [1, L, C] and mask [1, L] of each text; L is the text's own length.

    Raises:
        InputError: a text of more than 1024 tokens; a clip skip.
    """
    return encoded(texts, lambda turn: _embeds(model, turn, texts.weighting), clip_skip=clip_skip)


def encoded(texts: Texts, embeds_of: Callable[[Turn], torch.Tensor], *, clip_skip: int) -> Encoded:
    """All texts of a request as the pipelines take them.

    Args:
        embeds_of: reads one text: [1, L, C].
    """
    refuse_clip_skip(clip_skip)
    found: list[dict[str, Value]] = []
    for turn in turns(texts):
        if turn.what == NEGATIVE and not turn.text:
            turn = Turn(pieces=(Piece(NOTHING, 1.0),), what=NEGATIVE)
        embeds = embeds_of(turn)
        mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        found.append({PROMPT_EMBEDS: embeds, MASK: mask})
    return Encoded(texts=found, others={"max_sequence_length": LONGEST})


def _embeds(model: TextModel, turn: Turn, weighting: Weighting) -> torch.Tensor:
    """[1, L, C], by a call of its own: texts side by side would be padded, and padding changes the sums."""
    tokenizer, encoder = reader(model)
    said = Conversation.around(turn, lambda text: f"{INSTRUCTION}{text}{END}")
    words = tokens(tokenizer, said, longest=LONGEST + INSTRUCTION_TOKENS, padded=False, weighting=weighting)
    states = words.weigh(hidden_states(model, encoder, words)[-1], weighting)
    return ready(model, states[:, INSTRUCTION_TOKENS:])
