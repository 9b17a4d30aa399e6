"""Small pictures of what is becoming, made from latents by a linear map: no network runs for them."""

import io
import math
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor


def png_of(
    latents: Tensor,
    factors: Sequence[Sequence[float]],
    bias: Sequence[float] = (0.0, 0.0, 0.0),
    *,
    width_px: int,
    height_px: int,
) -> bytes | None:
    """A PNG, one pixel for each latent cell.

    Args:
        latents: [1, C, h, w] or [C, h, w] as the denoiser sees them, or [1, N, 4 C] packed two by two (Flux).
        factors: [C, 3], from a latent cell to RGB in -1..1.
        bias: added to the RGB.
        width_px, height_px: of the picture that will be; they give packed latents their shape.

    Returns:
        `None` if the latents are not finite or have another number of channels: a preview is dropped, never wrong.
    """
    cells = _unpacked(latents.detach(), len(factors), width_px, height_px)
    if cells is None:
        return None
    cells = cells.to("cpu", torch.float32)  # [C, h, w]
    rgb = torch.einsum("chw,cr->hwr", cells, torch.tensor(factors)) + torch.tensor(bias)  # [h, w, 3]
    if not bool(torch.isfinite(rgb).all()):
        return None
    pixels = ((rgb + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(png, "PNG", compress_level=1)
    return png.getvalue()


def _unpacked(latents: Tensor, channels: int, width_px: int, height_px: int) -> Tensor | None:
    """[C, h, w] of the first picture, whatever layout the pipeline keeps; `None` if it is no layout known here."""
    if latents.ndim == 4:
        latents = latents[0]
    if latents.ndim == 3 and latents.shape[0] == channels:
        return latents
    if latents.ndim == 3:
        latents = latents[0]
    if latents.ndim != 2 or latents.shape[1] != 4 * channels:
        return None
    tokens = latents.shape[0]
    rows = round(math.sqrt(tokens * height_px / width_px))
    if rows < 1 or tokens % rows:
        return None
    columns = tokens // rows
    blocks = latents.reshape(rows, columns, channels, 2, 2)  # token, then channel, then the row and column within
    return blocks.permute(2, 0, 3, 1, 4).reshape(channels, 2 * rows, 2 * columns)
