"""Where a picture file keeps how it was made, for each container, and how that is found again.

Two things are kept: the `parameters` text that other tools read, and Gesso's recipe as JSON.

| | parameters | recipe |
|---|---|---|
| PNG | text chunk `parameters` | compressed text chunk `gesso`; packed (below) above 1 MiB, which readers refuse |
| JPEG, WebP | EXIF `UserComment`: `UNICODE`, a zero byte, UTF-16 big-endian | EXIF `MakerNote`, packed |

Packed is the mark `GESSO`, a zero byte and zlib; in a PNG, base64 of it. `MakerNote` is the field that EXIF gives to
the maker of a picture for its own bytes; viewers do not show it. EXIF in a JPEG holds less than 64 kB: a recipe that
does not fit stands in a file beside the picture, and the picture says so.
"""

import base64
import binascii
import json
import struct
import zlib
from dataclasses import dataclass

from PIL import ExifTags, Image, PngImagePlugin

PNG_PARAMETERS, PNG_RECIPE = "parameters", "gesso"
GRAPH, WORKFLOW = "prompt", "workflow"
"""What ComfyUI calls its two texts: chunks of a PNG; elsewhere EXIF tags whose texts begin so."""
JPEG_EXIF_BYTES = 65_533
"""What an APP1 segment holds at most, its header included."""
_PNG_TEXT_BYTES = 2**20 - 2**10
"""Above this, Pillow refuses to inflate a text chunk, and so do the tools built on it."""
_MOST_BYTES = 2**26
"""A recipe is never inflated beyond this."""
_MARK = b"GESSO\0"
_PACKED_IN_TEXT = base64.b64encode(_MARK).decode()
_UNICODE, _ASCII = b"UNICODE\0", b"ASCII\0\0\0"
_BESIDE = "The recipe of this picture is in the file beside it whose name goes on with .gesso.json"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file holds. `beside` is the digest of a recipe that stands in a file next to it."""

    parameters: str | None = None
    recipe_json: str | None = None
    beside: str | None = None
    graph: str | None = None
    workflow: str | None = None


def png_info(parameters: str, recipe_json: str) -> PngImagePlugin.PngInfo:
    """The text chunks of a PNG."""
    info = PngImagePlugin.PngInfo()
    info.add_text(PNG_PARAMETERS, parameters)
    document = recipe_json.encode()
    if len(document) <= _PNG_TEXT_BYTES:
        info.add_itxt(PNG_RECIPE, document, zip=True)
    else:
        info.add_text(PNG_RECIPE, base64.b64encode(_packed(document)))
    return info


def exif(parameters: str, recipe_json: str) -> bytes:
    """The EXIF of a picture, however long."""
    return _exif(parameters, _packed(recipe_json.encode()))


def exif_beside(parameters: str, digest: str) -> bytes:
    """The EXIF of a JPEG whose recipe stands beside it; of the parameters too, if they are too long themselves."""
    note = _packed(json.dumps({"beside": digest}).encode())
    whole = _exif(parameters, note)
    return whole if len(whole) <= JPEG_EXIF_BYTES else _exif(_BESIDE, note)


def found_in(image: Image.Image) -> Found:
    """Read what `image`, opened from a file and loaded, carries. Raises what `UNREADABLE` lists if it is damaged."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        texts = image.text
        document = texts.get(PNG_RECIPE)
        if document is not None and document.startswith(_PACKED_IN_TEXT):
            document = _unpacked(base64.b64decode(document, validate=True))
        if document is not None or texts.keys() & {PNG_PARAMETERS, GRAPH, WORKFLOW}:
            drawn = {"graph": texts.get(GRAPH), "workflow": texts.get(WORKFLOW)}
            return Found(parameters=texts.get(PNG_PARAMETERS), recipe_json=document, **drawn)
    whole = image.getexif()
    tags = whole.get_ifd(ExifTags.IFD.Exif)
    comment = _comment(tags.get(ExifTags.Base.UserComment))
    note = tags.get(ExifTags.Base.MakerNote)
    if not isinstance(note, bytes) or not note.startswith(_MARK):
        return Found(parameters=comment, graph=_after(whole, GRAPH), workflow=_after(whole, WORKFLOW))
    document = _unpacked(note)
    beside = _beside(document)
    if beside is None:
        return Found(parameters=comment, recipe_json=document)
    return Found(parameters=None if comment == _BESIDE else comment, beside=beside)


def _exif(parameters: str, note: bytes) -> bytes:
    tags = Image.Exif()
    tags.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.UserComment: _UNICODE + parameters.encode("utf-16-be", "surrogatepass"),
            ExifTags.Base.MakerNote: note,
        }
    )
    return tags.tobytes()


def _packed(document: bytes) -> bytes:
    return _MARK + zlib.compress(document, 9)


def _unpacked(packed: bytes) -> str:
    inflating = zlib.decompressobj()
    try:
        document = inflating.decompress(packed[len(_MARK) :], _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not inflating.eof:
        raise ValueError("cut short, or larger than any recipe")
    return document.decode()


def _beside(document: str) -> str | None:
    if len(document) > 200:
        return None
    value = json.loads(document)
    digest = value.get("beside") if isinstance(value, dict) else None
    return digest if isinstance(digest, str) else None


def _after(tags: Image.Exif, name: str) -> str | None:
    """The text of the tag that begins with `name` and a colon, as ComfyUI writes them into WebP."""
    for value in tags.values():
        if isinstance(value, str) and value[: len(name) + 1].lower() == f"{name}:":
            return value[len(name) + 1 :].rstrip("\0")
    return None


def _comment(value: object) -> str | None:
    """Text of a `UserComment`. Its byte order should be that of the EXIF, and is not: both are tried."""
    if isinstance(value, str):
        value = value.encode("latin-1", "replace")
    if not isinstance(value, bytes):
        return None
    if value.startswith(_UNICODE):
        body = value.removeprefix(_UNICODE)
        readings = [body.decode(order, "replace") for order in ("utf-16-be", "utf-16-le")]
        text = max(readings, key=lambda reading: ("Steps: " in reading, sum(map(str.isascii, reading))))
    else:
        text = value.removeprefix(_ASCII).decode("utf-8", "replace")
    return text.removeprefix("\ufeff").rstrip("\0 ") or None


UNREADABLE = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    binascii.Error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    UserWarning,  # "corrupt EXIF data", where warnings are errors
)
"""What Pillow and this module raise for files that are broken in one way or another."""
