"""Tiny autoencoders in single files: a decoder, an encoder, or both under the names of diffusers.

Original: madebyollin/taesd, `taesd.py`, two `nn.Sequential` in a file each, of which the decoder begins with a clamp.
Diffusers: `AutoencoderTiny`, whose decoder counts from the layer after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gesso.core.errors import ModelError
from gesso.models.headers.base import TensorShape
from gesso.models.views import FileView, Piece

CLASS_NAME = "AutoencoderTiny"
DECODER, ENCODER = "decoder", "encoder"
_LEVELS = 4
_ORIGINAL_DECODER = "1.weight"
"""Its first layer; an encoder has no weights there."""
_LAST_OF_ENCODER = "encoder.layers.14.weight"


@dataclass(frozen=True, kw_only=True)
class TinyVae:
    """A tiny autoencoder in a file."""

    config: Mapping[str, Any] = field(repr=False)
    view: FileView
    halves: frozenset[str]
    """Which of `DECODER` and `ENCODER` are there."""


def tiny_vae(path: Path, tensors: Mapping[str, TensorShape]) -> TinyVae:
    """The tiny autoencoder in the file at `path`, which was recognised as one.

    Raises:
        ModelError: its first or last layer is missing.
    """
    names = {_name(key, original_decoder=_ORIGINAL_DECODER in tensors): key for key in tensors}
    halves = frozenset(half for half in (DECODER, ENCODER) if f"{half}.layers.0.weight" in names)
    pieces = {name: Piece(key=key, stored=tensors[key]) for name, key in names.items()}
    try:
        widths = {half: [pieces[f"{half}.layers.0.weight"].shape[0]] * _LEVELS for half in halves}
        inner = pieces["decoder.layers.0.weight"].shape[1] if DECODER in halves else pieces[_LAST_OF_ENCODER].shape[0]
    except (KeyError, IndexError) as error:
        raise ModelError(f"`{path}` is an incomplete tiny VAE: {error}", hint="download the file again") from error
    width = next(iter(widths.values()))
    return TinyVae(
        config={
            "_class_name": CLASS_NAME,
            "latent_channels": inner,
            "encoder_block_out_channels": widths.get(ENCODER, width),
            "decoder_block_out_channels": widths.get(DECODER, width),
        },
        view=FileView(path=path, pieces=pieces),
        halves=halves,
    )


def _name(key: str, *, original_decoder: bool) -> str:
    number, _, rest = key.partition(".")
    if not number.isdecimal():
        return key
    return f"decoder.layers.{int(number) - 1}.{rest}" if original_decoder else f"encoder.layers.{key}"
