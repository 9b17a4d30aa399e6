"""Files of pictures, opened with care: anybody may have made them."""

import io
import re
from pathlib import Path

from PIL import Image

from gesso.core.errors import InputError
from gesso.engine import embedding

GIVE = "give a whole picture, as a studio wrote it"


def open_picture(file: Path | io.BytesIO, *, named: str | None = None) -> Image.Image:
    """The picture, not yet decoded. Only three decoders are let near it.

    Args:
        named: what it is called in errors, if it is no file.

    Raises:
        InputError: the file is missing, is no PNG, JPEG or WebP picture, is damaged, or claims more pixels than are
            read (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    told = named if named is not None else f"`{file}`"
    try:
        image = Image.open(file, formats=("PNG", "JPEG", "WEBP"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        counted = re.search(r"(\d+) pixels", str(error))
        raise _too_large(told, f"{int(counted[1]):,}" if counted else "more") from error
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{told} is not a PNG, JPEG or WebP picture", hint=GIVE) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError, NotADirectoryError) as error:
        raise InputError(f"{told} could not be opened: {error.strerror}", hint=GIVE) from error
    except embedding.UNREADABLE as error:
        raise InputError(f"{told} is a damaged picture: {first_line(error)}", hint=GIVE) from error
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        image.close()
        raise _too_large(told, f"{image.width}x{image.height}")
    return image


def first_line(error: BaseException) -> str:
    """What an error says, without what it says further down."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _too_large(told: str, found: str) -> InputError:
    return InputError(
        f"{told} claims {found} pixels, and at most {Image.MAX_IMAGE_PIXELS:,} are read",
        hint="it was not opened: such files are made to exhaust memory",
    )
