"""The picture that a request begins with: read once for its facts, and again, the same bytes, when it is made."""

import base64
import binascii
import hashlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gesso.core.errors import InputError
from gesso.core.given_pictures import DATA
from gesso.core.profiles import in_srgb
from gesso.core.requests import PictureUse, ResolvedPicture
from gesso.engine.embedding import UNREADABLE
from gesso.engine.picture_files import GIVE, first_line, open_picture

MOST_BYTES = 2**30
"""Of a file: pixels of the most that are read, uncompressed, need less."""

_OPAQUE = 255
_MOST_TOLD = 200
"""Characters of a path that is none."""


@dataclass(frozen=True, kw_only=True)
class SourcePicture:
    """A picture as it was given, upright."""

    resolved: ResolvedPicture
    image: Image.Image = field(repr=False)
    """RGB, in sRGB; what was transparent lies on white."""
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width, height in pixels."""
        return self.image.size


def read_source(use: str | PictureUse, *, words: str = "picture", ground: str = "white") -> SourcePicture:
    """Read a picture, check it and decode it.

    Args:
        words: what it is for, in errors.
        ground: what is transparent lies on.

    Raises:
        InputError: it is missing, no picture, damaged, too large, or not the one whose digest was given.
    """
    use = PictureUse(source=use) if isinstance(use, str) else use
    if use.source.startswith(DATA):
        source, data, told = DATA, _decoded(use.source, words), f"The {words}"
    else:
        path = Path(os.path.abspath(os.path.expanduser(use.source)))
        source, data, told = str(path), _read(path, words), f"`{path}`"
    sha256 = hashlib.sha256(data).hexdigest()
    if use.sha256 is not None and use.sha256 != sha256:
        raise InputError(
            f"{told} is not the {words} that was meant: its sha256 begins with {sha256[:10]}, not {use.sha256[:10]}",
            hint=f"give the file as it was, or the one to use now with `{_option(words)}`",
        )
    warnings: list[str] = []
    named = told[:1].lower() + told[1:]
    with open_picture(io.BytesIO(data), named=told) as image:
        try:
            frames = getattr(image, "n_frames", 1)
            upright = _upright(image)
            colours, known = (upright, True) if words == "mask" else in_srgb(upright)  # a mask has no colours
            decoded = _opaque(colours, ground)
        except UNREADABLE as error:
            raise InputError(f"{told} is a damaged picture: {first_line(error)}", hint=GIVE) from error
    if frames > 1:
        warnings.append(f"The first of the {frames} pictures of {named} was taken")
    if not known:
        warnings.append(f"The colour profile of {named} cannot be used: its colours were taken for sRGB")
    if words != "mask" and upright.mode == "RGBA" and upright.getchannel("A").getextrema()[0] != _OPAQUE:
        warnings.append(f"What is transparent of {named} lies on white")
    return SourcePicture(
        resolved=ResolvedPicture(source=source, sha256=sha256), image=decoded, warnings=tuple(warnings)
    )


def read_mask(use: str | PictureUse) -> SourcePicture:
    """The same of a mask. What is transparent is black: it stays. Raises like `read_source`."""
    return read_source(use, words="mask", ground="black")


def picture_given(asked: str | PictureUse | None, resolved: ResolvedPicture) -> PictureUse:
    """What has the picture of a resolved request: what was asked where it came with that, else its file."""
    if resolved.source != DATA or asked is None:
        return resolved.use()
    return PictureUse(source=asked if isinstance(asked, str) else asked.source, sha256=resolved.sha256)


def _option(words: str) -> str:
    return "--mask" if words == "mask" else "--image"


def _read(path: Path, words: str) -> bytes:
    if not os.path.isfile(path):  # a pipe would be waited for, and `/dev/zero` read for ever
        found = "a folder" if os.path.isdir(path) else "not there" if not os.path.lexists(path) else "no file"
        told = str(path) if len(str(path)) <= _MOST_TOLD else f"{str(path)[:_MOST_TOLD]}…"
        raise InputError(f"The {words} `{told}` is {found}", hint="give the path of a PNG, JPEG or WebP file")
    open_picture(path).close()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"`{path}` is larger than any picture that is read", hint=GIVE)
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"`{path}` could not be read: {error.strerror}", hint=GIVE) from error


def _decoded(url: str, words: str) -> bytes:
    if url == DATA:
        raise InputError(
            f"The {words} came with the request, and recipes keep none",
            hint=f"`gesso generate --from` takes it again, with `{_option(words)}`",
        )
    head, comma, body = url.partition(",")
    try:
        if not comma or not head.endswith(";base64"):
            raise ValueError
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InputError(
            f"The {words} is a `data:` URL without base64", hint="write `data:image/png;base64,…`"
        ) from error


def _upright(image: Image.Image) -> Image.Image:
    """The picture, decoded and turned as its camera says; RGBA if anything of it may be transparent."""
    image.load()
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I;16"):  # `convert` would cut what is above 255 off
        turned = _in_eight_bits(turned)
    return turned.convert("RGBA") if "A" in turned.getbands() or "transparency" in turned.info else turned


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """L of 16 bits a pixel, or LA where one value is transparent."""
    values = np.asarray(image)
    eight = Image.fromarray((values >> 8).astype(np.uint8))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        eight.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    eight.info = {name: value for name, value in image.info.items() if name == "icc_profile"}
    return eight


def _opaque(image: Image.Image, ground: str) -> Image.Image:
    if "A" not in image.getbands():
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")
