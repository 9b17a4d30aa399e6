"""Colours of a picture as its ICC profile means them."""

import io
from typing import Any, cast

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
    data = image.info.get("icc_profile")
    if not data:
        return image, True
    try:
        profile: Any = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space: str = profile.profile.xcolor_space
        opaque = _in_channels(image, space.strip())
        if opaque is None:
            return image, False
        converted = ImageCms.profileToProfile(
            opaque, profile, _SRGB, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image, False
    assert converted is not None
    if image.mode != "CMYK" and _apart(converted, opaque.convert("RGB")) <= _SAME:
        return image, True
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted, True


def _in_channels(image: Image.Image, space: str) -> Image.Image | None:
    """The picture without transparency in the channels that a profile is of; `None` where it has others."""
    if space == "CMYK" or image.mode == "CMYK":
        return image if space == image.mode else None
    colours = image.convert("RGB")
    if space == "RGB":
        return colours
    red, green, blue = colours.split()
    return red if space == "GRAY" and red.tobytes() == green.tobytes() == blue.tobytes() else None


def _apart(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())
