"""Conditioning by Mistral Small 3, layers 10, 20 and 30 side by side: Flux.2 dev.

Source: Black Forest Labs, `flux2/text_encoder.py`; the instruction is theirs too, as diffusers has it.
"""

import torch
from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE

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
from gesso.engine.prompt.steps import Piece

LONGEST = 512
LAYERS = (10, 20, 30)
PICTURE = "[IMG]"
"""What stands for a picture in a conversation; in a prompt it would mean one that is not there."""


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """Embeddings [1, 512, 3 C] of each text, padding attended to by the denoiser as in training.

    Guidance is an input of the denoiser, so there is never a negative prompt.

    Raises:
        InputError: a prompt of more than 512 tokens, the instruction included; a clip skip.
    """
    refuse_clip_skip(clip_skip)
    assert not texts.negatives
    return Encoded.of_rows(model, torch.cat([_embeds(model, turn, texts.weighting) for turn in turns(texts)]))


def _embeds(model: TextModel, turn: Turn, weighting: Weighting) -> torch.Tensor:
    tokenizer, encoder = reader(model)

    def template(text: str) -> str:
        spoken = (("system", SYSTEM_MESSAGE), ("user", text))
        messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in spoken]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)

    without = tuple(Piece(piece.text.replace(PICTURE, ""), piece.weight) for piece in turn.pieces)
    said = Conversation.around(Turn(pieces=without, what=turn.what), template)
    # The template writes the begin of text itself.
    words = tokens(tokenizer, said, longest=LONGEST, padded=True, weighting=weighting, add_special_tokens=False)
    return words.weigh(side_by_side(hidden_states(model, encoder, words), LAYERS), weighting)
