"""Colours of a picture as its ICC profile means them."""

import io
from typing import cast

import numpy as np
from PIL import Image, ImageCms

_SRGB = cast(ImageCms.ImageCmsProfile, ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
_SAME = 1
"""Values apart that are rounding: a picture whose profile is sRGB under whatever name keeps its bytes."""


def in_srgb(image: Image.Image) -> tuple[Image.Image, bool]:
    """`image` in sRGB, and whether its profile could be used; where not, its values are taken for sRGB.

    Args:
        image: decoded; what may be transparent is RGBA.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image, True
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    opaque = image.convert("RGB") if image.mode in {"RGBA", "P"} else image
    try:
        converted = ImageCms.profileToProfile(
            opaque,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            _SRGB,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, False
    assert converted is not None
    if image.mode != "CMYK" and _apart(converted, opaque.convert("RGB")) <= _SAME:
        return image, True
    if alpha is not None:
        converted.putalpha(alpha)
    return converted, True


def _apart(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())
