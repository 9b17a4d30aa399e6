"""Pictures as a Python program has them, said in text: requests hold what JSON can."""

import base64
import io
import os
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from PIL import Image

DATA = "data:"
"""How the text of a picture begins that is given as such, and all that is kept of it in a recipe."""

_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""Of Pillow, that PNG can hold."""
_TRANSPARENT = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
"""The same in a mode of these."""


def as_text(given: Any) -> Any:
    """The path of an `os.PathLike`, and a picture of Pillow as a `data:` URL, which is read as its file would be.

    All else as it is.

    Raises:
        ValueError: the picture is damaged, or of a mode that says no colours.
    """
    if isinstance(given, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", given))
    pillow = sys.modules.get("PIL.Image")  # who has such a picture has imported it
    return _as_png(given) if pillow is not None and isinstance(given, pillow.Image) else given


def _as_png(image: "Image.Image") -> str:
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"the picture is damaged: {error}") from error
    written = io.BytesIO()
    # Its EXIF data say which way the camera was held.
    _writable(image).save(written, "PNG", compress_level=1, exif=image.getexif())
    return f"{DATA}image/png;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def _writable(image: "Image.Image") -> "Image.Image":
    """The picture in a mode of `_MODES`, its colours as its profile means them where that is of other channels."""
    if image.mode in _MODES:
        return image
    if image.mode in _TRANSPARENT:
        return image.convert(_TRANSPARENT[image.mode])
    if image.mode in {"I", "F"}:
        raise ValueError(f"a picture of mode {image.mode} has no range of its own: convert it to L or RGB")
    from gesso.core.profiles import in_srgb

    colours, _ = in_srgb(image)
    plain = colours.convert("RGB")
    plain.info.pop("icc_profile", None)
    return plain
