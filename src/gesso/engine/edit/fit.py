"""Bringing a picture to a size."""

import numpy as np
from PIL import Image

from gesso.core.requests import Resize


def fitted(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    """`image` at `size` (width, height): as it is where it has it.

    Colours and masks alike are filtered with Lanczos.
    """
    if image.size == size:
        return image
    match resize:
        case Resize.STRETCH:
            return image.resize(size, Image.Resampling.LANCZOS)
        case Resize.CROP:
            return image.resize(size, Image.Resampling.LANCZOS, box=_middle(image.size, size))
        case Resize.FILL:
            return _filled(image, size)


def _middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box in the middle of `size` with the proportions of `wanted`."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    width, height = wanted[0] * scale, wanted[1] * scale
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def _filled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    small = image.resize(inner, Image.Resampling.LANCZOS)
    return extended(small, left=left, top=top, right=size[0] - inner[0] - left, bottom=size[1] - inner[1] - top)


def extended(image: Image.Image, *, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """`image` with so many pixels more on each side, which go on as its edges are."""
    values = np.asarray(image)
    edges = ((top, bottom), (left, right), (0, 0))[: values.ndim]
    return Image.fromarray(np.pad(values, edges, mode="edge"))
