"""Conditioning by Qwen 2.5 VL, which reads the picture beside the instruction: Qwen-Image-Edit (arXiv 2508.02324, 5.3).

Where in the picture a token is belongs to what the encoder reads, and it is told which tokens are the picture's. The
pipelines of diffusers 0.42 leave that out, so that with transformers 5 the picture is read as a line of words
(https://github.com/huggingface/diffusers/issues/14194).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions
from PIL import Image

from gesso.core.errors import InputError, ModelError
from gesso.core.requests import Weighting
from gesso.engine.conditioning.base import Encoded, TextModel, reader, ready
from gesso.engine.conditioning.chat import Conversation, Turn, hidden_states, tokens
from gesso.engine.conditioning.qwen_image import END, LONGEST, encoded
from gesso.engine.conditioning.texts import Texts

INSTRUCTION = (
    "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. Generate a new image "
    "that meets the user's requirements while maintaining consistency with the original input where "
    "appropriate.<|im_end|>\n<|im_start|>user\n"
)
INSTRUCTION_TOKENS = 64
"""The instruction's own, which the denoiser does not read; it does read those of the picture."""
PICTURE = "<|vision_start|>{}<|vision_end|>"
PICTURE_TOKEN = "<|image_pad|>"
NUMBERED = f"Picture 1: {PICTURE}"

_AREA_PX, _NUMBERED_AREA_PX = 1024 * 1024, 384 * 384
"""To which the pipelines bring a picture before it is read."""


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """Embeddings [1, L, C] and mask [1, L] of each text with the picture; L is their own length.

    Raises:
        InputError: a text of more than 1024 tokens; a clip skip; no picture.
    """
    return _encode(model, texts, clip_skip=clip_skip, area_px=_AREA_PX, picture=PICTURE)


def encode_numbered_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """The same as models from September 2025 on read it: smaller, and called by its number."""
    return _encode(model, texts, clip_skip=clip_skip, area_px=_NUMBERED_AREA_PX, picture=NUMBERED)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A picture as the encoder takes it.

    Attributes:
        arguments: `pixel_values` [patches, values] and `image_grid_thw` [1, 3].
        tokens: that it becomes.
    """

    arguments: Mapping[str, torch.Tensor]
    tokens: int


def _encode(model: TextModel, texts: Texts, *, clip_skip: int, area_px: int, picture: str) -> Encoded:
    if texts.image is None:
        raise InputError("This model reads a picture with its prompt, and there is none", hint="add `image`")
    seen = _seen(model, texts.image, area_px)
    before = INSTRUCTION + picture.format(PICTURE_TOKEN * seen.tokens)
    return encoded(texts, lambda turn: _embeds(model, turn, texts.weighting, before, seen), clip_skip=clip_skip)


def _seen(model: TextModel, image: Image.Image, area_px: int) -> _Seen:
    processor = model.processor("processor")
    if processor is None:
        raise ModelError("The model has no `processor`", hint="download the whole model folder again")
    width, height, *_ = calculate_dimensions(area_px, image.width / image.height)
    resized = VaeImageProcessor().resize(image, height, width)
    read = processor(images=resized, return_tensors="pt")
    grid = read["image_grid_thw"]
    arguments = {"pixel_values": read["pixel_values"].to(model.device), "image_grid_thw": grid.to(model.device)}
    return _Seen(arguments=arguments, tokens=int(grid.prod()) // processor.merge_size**2)


def _embeds(model: TextModel, turn: Turn, weighting: Weighting, before: str, seen: _Seen) -> torch.Tensor:
    """[1, L, C] of the picture and the text."""
    if PICTURE_TOKEN in turn.text:
        raise InputError(f"The {turn.what} holds `{PICTURE_TOKEN}`, which stands for a picture", hint="leave it out")
    tokenizer, encoder = reader(model)
    said = Conversation.around(turn, lambda text: f"{before}{text}{END}")
    longest = LONGEST + INSTRUCTION_TOKENS + seen.tokens
    words = tokens(tokenizer, said, longest=longest, padded=False, weighting=weighting)
    kinds = (words.ids == encoder.config.image_token_id).long().to(model.device)
    states = hidden_states(model, encoder, words, mm_token_type_ids=kinds, **seen.arguments)[-1]
    return ready(model, words.weigh(states, weighting)[:, INSTRUCTION_TOKENS:])
