"""Conditioning by two CLIP encoders and T5: Stable Diffusion 3 and 3.5 (Esser et al. 2024, section 4)."""

import torch
from torch.nn import functional

from gesso.engine.conditioning.base import TextModel, arguments, reader
from gesso.engine.conditioning.clip_pair import encode_side_by_side
from gesso.engine.conditioning.t5 import encode_t5
from gesso.engine.conditioning.texts import Texts

T5_LENGTH = 256


def encode(
    model: TextModel, *, prompt: str, negative_prompt: str, guided: bool, clip_skip: int
) -> dict[str, torch.Tensor]:
    """Embeddings [1, 77 K + L, C] and pooled [1, C1 + C2] of prompt and, if guided, negative prompt.

    The channels of both CLIPs side by side are filled with zeros to the width C of T5, then T5's tokens follow. A
    folder without T5, saved so to spare memory, gets zeros in its place. Clip skip concerns the CLIPs.

    Raises:
        InputError: a clip skip beyond the layers of an encoder.
    """
    texts = [prompt, negative_prompt] if guided else [prompt]
    clip, pooled = encode_side_by_side(
        model,
        [reader(model), reader(model, "_2")],
        Texts.plain(prompt, negative_prompt if guided else None),
        clip_skip=clip_skip,
    )
    if model.network("text_encoder_3") is None:
        transformer = model.network("transformer")
        assert transformer is not None
        t5 = torch.zeros(len(texts), T5_LENGTH, transformer.config.joint_attention_dim, dtype=clip.dtype)
    else:
        t5 = encode_t5(model, *reader(model, "_3"), texts, usual_length=T5_LENGTH)
    clip = functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
    embeds = torch.cat([clip, t5.to(clip)], dim=1)
    return arguments(model, embeds, torch.cat(pooled, dim=-1), guided=guided)
