"""A finished picture made larger without a model."""

import math
import os
from collections.abc import Callable

from PIL import Image

from gesso.core.errors import InputError
from gesso.core.given_pictures import as_text
from gesso.core.requests import MAX_SIDE_PX, PictureUse
from gesso.engine.edit.source import read_source
from gesso.engine.hires.checks import MAX_SCALE, USUAL_SCALE
from gesso.engine.hires.upscalers import LANCZOS, UPSCALERS, larger_picture, upscaler_named


def enlarged(
    picture: "str | os.PathLike[str] | Image.Image | PictureUse",
    *,
    scale: float | None = None,
    size_px: tuple[int, int] | None = None,
    multiple_px: int = 1,
    upscaler: str = LANCZOS,
    warn: Callable[[str], None] | None = None,
) -> Image.Image:
    """The picture at a larger size; one of other proportions is covered, and what juts out is cut off on both sides.

    Args:
        picture: a path, a `data:` URL, or a picture of Pillow.
        scale: of both sides, 2 if nothing is said.
        size_px: width and height instead.
        multiple_px: sides by scale are made multiples of it.
        warn: told of what could not be read of the picture.

    Raises:
        InputError: it is no picture, cannot be read, or would be too large or smaller.
        UnknownNameError: there is no such upscaler.
    """
    chosen = upscaler_named(upscaler, of_pixels=True)
    if UPSCALERS[chosen].latent_mode is not None:
        raise InputError(f"The upscaler `{chosen}` enlarges latents, not pictures", hint=f"use `{LANCZOS}`")
    if scale is not None and size_px is not None:
        raise InputError("Both a scale and a size are asked for", hint="leave one of them out")
    scale = USUAL_SCALE if scale is None else scale
    if not 1 <= scale <= MAX_SCALE:
        raise InputError(f"Asked for scale {scale:g}", hint=f"it is 1 to {MAX_SCALE}")
    read = read_source(as_text(picture))
    if warn is not None:
        for line in read.warnings:
            warn(line)
    image = read.image
    if size_px is None:
        width, height = (_multiple(side, scale, multiple_px) for side in image.size)
        size_px = width, height
    words = f"{size_px[0]}x{size_px[1]} px of a picture of {image.width}x{image.height}"
    if max(size_px) > MAX_SIDE_PX:
        raise InputError(f"Asked for {words}", hint=f"sides are at most {MAX_SIDE_PX} px")
    if size_px[0] < image.width or size_px[1] < image.height:
        raise InputError(f"Asked for {words}", hint="it is for larger pictures")
    return larger_picture(image, size_px, UPSCALERS[chosen])


def _multiple(side: int, scale: float, multiple_px: int) -> int:
    """`side` times `scale` as the nearest multiple that is no less than `side`."""
    return max(round(side * scale / multiple_px), math.ceil(side / multiple_px)) * multiple_px
