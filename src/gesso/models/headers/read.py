"""Any weights file: which format it has, told by its first bytes and never by its name, and its header."""

import json
from collections.abc import Callable
from pathlib import Path

from gesso.core.errors import ModelError
from gesso.models.headers.base import DamagedFileError, FileFormat, NotWeightsError, WeightsHeader
from gesso.models.headers.gguf import MAGIC, read_gguf
from gesso.models.headers.safetensors import read_safetensors
from gesso.models.headers.torch_files import read_torch_pickle, read_torch_zip
from gesso.models.weights import MAX_HEADER_BYTES

_BEGINNING_BYTES = 4096
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_LFS_POINTER = b"version https://git-lfs"
_PICKLE_PROTOCOLS = (2, 3, 4, 5)
_PICTURES = {b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"RIFF": "a WebP picture or a sound"}
_ARCHIVES = {b"7z\xbc\xaf": "a 7z archive", b"Rar!": "a RAR archive", b"\x1f\x8b": "a gzip archive"}
_DOWNLOAD = "what was saved is the page of a site and not its file: download it again with the link of the file"


def read_weights_header(path: Path) -> WeightsHeader:
    """Read the header of the weights file at `path`: milliseconds, whatever its size; no code of it is run.

    Raises:
        ModelError: it cannot be read, is no weights file, is cut off, contradicts itself, or is not to be trusted.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise NotWeightsError(path, "a folder" if path.is_dir() else "no plain file", hint="name a file")
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING_BYTES)
        return _reader(path, beginning, size)(path)
    except OSError as error:
        raise ModelError(
            f"`{path}` could not be read: {error.strerror or error}", hint="check the path and the rights of the file"
        ) from error


def format_of(path: Path) -> FileFormat:
    """The format of the weights file at `path`, by its first bytes.

    Raises:
        ModelError: it cannot be read, or is no weights file.
    """
    try:
        with path.open("rb") as file:
            reader = _reader(path, file.read(_BEGINNING_BYTES), path.stat().st_size)
    except OSError as error:
        raise ModelError(
            f"`{path}` could not be read: {error.strerror or error}", hint="check the path and the rights of the file"
        ) from error
    return _FORMATS[reader]


def _reader(path: Path, beginning: bytes, size: int) -> Callable[[Path], WeightsHeader]:
    if size == 0:
        raise DamagedFileError(path, "is empty")
    if _is_safetensors(beginning, size):
        return read_safetensors
    if beginning.startswith(MAGIC):
        return read_gguf
    if beginning.startswith(_ZIP):
        return read_torch_zip
    if beginning[:1] == b"\x80" and beginning[1:2] and beginning[1] in _PICKLE_PROTOCOLS:
        return read_torch_pickle
    raise _something_else(path, beginning)


_FORMATS: dict[Callable[[Path], WeightsHeader], FileFormat] = {
    read_safetensors: FileFormat.SAFETENSORS,
    read_gguf: FileFormat.GGUF,
    read_torch_zip: FileFormat.TORCH_ZIP,
    read_torch_pickle: FileFormat.TORCH_PICKLE,
}


def _is_safetensors(beginning: bytes, size: int) -> bool:
    """The length of the header, then the header: a JSON object."""
    length = int.from_bytes(beginning[:8], "little")
    if len(beginning) > 8:
        return length <= MAX_HEADER_BYTES and beginning[8:9] == b"{"
    return len(beginning) == 8 and 0 < length <= MAX_HEADER_BYTES and size == 8  # cut off behind the length


def _something_else(path: Path, beginning: bytes) -> ModelError:
    if beginning.startswith(_LFS_POINTER):
        return NotWeightsError(path, "a Git LFS pointer to them", hint="run `git lfs pull` in its folder")
    text = beginning.decode("utf-8", "replace").removeprefix("\ufeff").lstrip().lower()
    if text.startswith(("<!doctype", "<html", "<head", "<?xml", "<!--")):
        return NotWeightsError(path, "a web page", hint=_DOWNLOAD)
    if text.startswith(("{", "[")):
        message = _message_in(beginning)
        hint = _DOWNLOAD if message else "name a file of weights, or the folder of the model"
        return NotWeightsError(path, f"JSON text{message}", hint=hint)
    if beginning.startswith(_EMPTY_ZIP):
        return NotWeightsError(path, "an empty zip")
    for known, what in {**_PICTURES, **_ARCHIVES}.items():
        if beginning.startswith(known):
            return NotWeightsError(path, what, hint="unpack it first" if known in _ARCHIVES else "name a weights file")
    return NotWeightsError(
        path,
        f"it begins with `{beginning[:8].hex(' ')}`",
        hint="safetensors, files by torch.save and GGUF can be read; if it should be one, download it again",
    )


def _message_in(beginning: bytes) -> str:
    """What a site that refused a download said of it."""
    try:
        answer = json.loads(beginning)
    except (ValueError, RecursionError):
        return ""
    said = answer.get("error") or answer.get("message") if isinstance(answer, dict) else None
    return f" that says `{said[:200]}`" if isinstance(said, str) else ""
