"""Colours of a result brought to those of its source."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_SRGB, _LAB = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
_TO_LAB = ImageCms.buildTransformFromOpenProfiles(_SRGB, _LAB, "RGB", "LAB")
_FROM_LAB = ImageCms.buildTransformFromOpenProfiles(_LAB, _SRGB, "LAB", "RGB")


def with_colours_of(source: Image.Image, painted: Image.Image) -> Image.Image:
    """`painted` with the distribution of colours that `source` has, and its own lightness.

    In CIELAB, each of a and b is moved so that its histogram becomes that of the source.
    """
    lab = [np.asarray(ImageCms.applyTransform(image.convert("RGB"), _TO_LAB)) for image in (source, painted)]
    matched = [lab[1][..., 0], *(_matched(lab[1][..., axis], lab[0][..., axis]) for axis in (1, 2))]
    merged = Image.frombytes("LAB", painted.size, np.stack(matched, -1).tobytes())
    result = ImageCms.applyTransform(merged, _FROM_LAB)
    assert result is not None
    return result


def _matched(values: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`values`, each replaced by the one of equal rank in `wanted`. a and b are stored as signed bytes."""
    own, other = (array.view(np.int8).astype(np.int16) + 128 for array in (values, wanted))
    shares = [np.cumsum(np.bincount(array.ravel(), minlength=256)) / array.size for array in (own, other)]
    there = np.unique(other)  # shares do not grow at values that are not, and could not be turned round
    levels = np.interp(shares[0], shares[1][there], there)
    return (np.round(levels[own]) - 128).astype(np.int8).view(np.uint8)
