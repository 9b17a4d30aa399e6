"""Conditioning by two CLIP encoders and T5: Stable Diffusion 3 and 3.5 (Esser et al. 2024, section 4)."""

import torch
from torch.nn import functional

from gesso.engine.conditioning.base import Encoded, TextModel, reader
from gesso.engine.conditioning.clip_pair import encode_side_by_side
from gesso.engine.conditioning.t5 import encode_t5
from gesso.engine.conditioning.texts import Texts

T5_LENGTH = 256


def encode_texts(model: TextModel, texts: Texts, *, clip_skip: int) -> Encoded:
    """Embeddings [1, 77 K + L, C] and pooled [1, C1 + C2] of each text.

    The channels of both CLIPs side by side are filled with zeros to the width C of T5, then T5's tokens follow. A
    folder without T5, saved so to spare memory, gets zeros in its place. Clip skip concerns the CLIPs. Each encoder
    weighs words by its own rule.

    Raises:
        InputError: a clip skip beyond the layers of an encoder.
    """
    readers = [reader(model), reader(model, "_2")]
    clip, pooled = encode_side_by_side(model, readers, texts, clip_skip=clip_skip)
    if model.network("text_encoder_3") is None:
        transformer = model.network("transformer")
        assert transformer is not None
        t5 = torch.zeros(len(clip), T5_LENGTH, transformer.config.joint_attention_dim, dtype=clip.dtype)
    else:
        t5 = encode_t5(model, *reader(model, "_3"), texts, usual_length=T5_LENGTH)
    clip = functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
    return Encoded.of_rows(model, torch.cat([clip, t5.to(clip)], dim=1), torch.cat(pooled, dim=-1))
