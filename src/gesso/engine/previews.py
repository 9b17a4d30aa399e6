"""Small pictures of what is becoming, made from latents by a linear map, or by a tiny VAE where there is one."""

import io
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from gesso.components.component import Component
from gesso.components.execute import ComponentError
from gesso.components.layouts import DECODE
from gesso.components.scope import ImageScope, entered
from gesso.components.trace import TraceRecorder
from gesso.core.errors import NonFiniteError, ResourceError
from gesso.core.requests import ResolvedImageRequest
from gesso.models.folder import ModelDescription

Preview = Callable[[Tensor, ImageScope], bytes | None]
"""Latents as the scheduler has them, and whose they are → a PNG; `None` if nothing can be shown of them."""
MAX_SIDE_PX = 512
"""Of a preview: it goes through queues, many times for each picture."""


def linear_preview(model: ModelDescription, resolved: ResolvedImageRequest) -> Preview | None:
    """Previews of a model by its map from latents to RGB, in no time; `None` if it has none."""
    factors, bias = model.latent_rgb, model.latent_rgb_bias
    if factors is None:
        return None
    return lambda latents, _: png_of(latents, factors, bias, width_px=resolved.width, height_px=resolved.height)


def tiny_preview(decoder: Component, channels: int, resolved: ResolvedImageRequest) -> Preview:
    """Previews by a tiny VAE, which takes latents as the denoiser sees them.

    Its calls are on the picture's bill, and neither in its trace nor in its journal: they do not make the picture.

    Args:
        channels: of the latents.
    """

    def preview(latents: Tensor, scope: ImageScope) -> bytes | None:
        cells = _unpacked(latents.detach(), channels, resolved.width, resolved.height)
        if cells is None:
            return None
        apart = replace(
            scope,
            call_states={},
            stand_ins={},
            placements=None,
            journal=None,
            trace=TraceRecorder(),
            redone=[],
            _unread=deque(),
        )
        try:
            with entered(apart):
                decoded = decoder.call(DECODE, (cells[None],), {"return_dict": False})[0]  # [1, 3, H, W]
                apart.settle()
        except (NonFiniteError, ComponentError, ResourceError):  # the picture may do without
            return None
        finally:
            decoder.worker.leave(apart)
        return _png(decoded[0].to("cpu", torch.float32).permute(1, 2, 0))

    return preview


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
    return _png(rgb)


def _png(rgb: Tensor) -> bytes:
    """[H, W, 3] in -1..1."""
    pixels = ((rgb + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    image, png = Image.fromarray(pixels.numpy()), io.BytesIO()
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    image.save(png, "PNG", compress_level=1)
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
