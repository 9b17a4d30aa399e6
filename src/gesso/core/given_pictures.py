"""Pictures as a Python program has them, said in text: requests hold what JSON can."""

import base64
import io
import os
import sys
from typing import Any, cast

DATA = "data:"
"""How the text of a picture begins that is given as such, and all that is kept of it in a recipe."""

_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"})
"""Of Pillow, that PNG can hold."""


def as_text(given: Any) -> Any:
    """The path of an `os.PathLike`, and a picture of Pillow as a `data:` URL without loss; all else as it is."""
    if isinstance(given, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", given))
    pillow = sys.modules.get("PIL.Image")  # who has such a picture has imported it
    if pillow is None or not isinstance(given, pillow.Image):
        return given
    exif = given.getexif()  # which way the camera was held
    if given.mode not in _MODES:
        given = given.convert("RGB")
        given.info.pop("icc_profile", None)  # of other channels
    written = io.BytesIO()
    given.save(written, "PNG", compress_level=1, exif=exif)
    return f"{DATA}image/png;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
