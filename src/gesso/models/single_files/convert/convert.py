"""From a folder to a single file, back, and from one kind of file to another."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gesso.core.errors import InputError, ModelError, StorageError
from gesso.core.files import reporting_storage, write_atomically, writing_atomically
from gesso.core.units import gib
from gesso.models.folder import INDEX_FILE, ModelDescription
from gesso.models.headers.base import TensorShape
from gesso.models.headers.places import places_of
from gesso.models.headers.read import read_weights_header
from gesso.models.identity import file_digest
from gesso.models.single_files.assemble import small_files
from gesso.models.single_files.convert.archive import check_archivable, write_archive
from gesso.models.single_files.convert.check import check_model
from gesso.models.single_files.convert.metadata import metadata_of
from gesso.models.single_files.convert.plan import Plan, Targets, plan_copy, plan_file, plan_folder
from gesso.models.single_files.convert.reading import Reader, byte_count
from gesso.models.single_files.convert.safetensors import in_order, write_safetensors
from gesso.models.single_files.convert.values import values_of
from gesso.models.views import Piece
from gesso.models.weights import WEIGHT_SUFFIXES

DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""Formats that weights are converted to, by name."""
_SPARE_BYTES = 64 * 2**20

Progress = Callable[[int], None]
"""Called with the number of bytes that were just written or compared."""


class OutputForm(StrEnum):
    """What a model is converted to."""

    SAFETENSORS = "safetensors"
    CKPT = "ckpt"
    FOLDER = "folder"


_FORMS = {".safetensors": OutputForm.SAFETENSORS, ".ckpt": OutputForm.CKPT}
_OTHER_SUFFIXES = frozenset({*WEIGHT_SUFFIXES, ".zip", ".onnx", ".json"}) - _FORMS.keys()


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """One file of weights."""

    path: Path
    bytes: int
    sha256: str
    tensors: int


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a conversion made."""

    path: Path
    form: OutputForm
    files: tuple[WrittenFile, ...]
    left_out: tuple[str, ...]
    """Parts that the result has no place for."""


def form_of(destination: Path) -> OutputForm:
    """What the name of the result asks for.

    Raises:
        InputError: a file of another kind.
    """
    suffix = destination.suffix.lower()
    if suffix in _OTHER_SUFFIXES:
        raise InputError(
            f"`{destination}` ends with `{suffix}`, which models are not converted to",
            hint="end it with `.safetensors` or `.ckpt`; any other name is a folder",
        )
    return _FORMS.get(suffix, OutputForm.FOLDER)


def convert_model(
    description: ModelDescription,
    destination: Path,
    *,
    dtype: str | None = None,
    cache_folder: Path,
    progress: Progress = lambda _: None,
) -> Converted:
    """Write a described model as a folder or as a single file, and check it before it gets its name.

    Args:
        dtype: `float32`, `float16` or `bfloat16`; `None` keeps the format of each tensor.

    Raises:
        InputError: the destination is there already, or of no kind that is written.
        ModelError: a tensor is missing, left over, or no number.
        StorageError: no room on the disk.
    """
    form, wanted = form_of(destination), None if dtype is None else DTYPES[dtype]
    _refuse_existing(destination)
    if form is OutputForm.FOLDER:
        plan = plan_folder(description, wanted)
        files = _write_folder(description, plan, destination, cache_folder, progress)
    else:
        plan = plan_file(description, wanted)
        targets = {name: target for network in plan.networks.values() for name, target in network.items()}
        metadata = metadata_of(description, plan.left_out)
        _check_room(destination, targets)
        with writing_atomically(destination) as temporary:
            _write_file(temporary, form, targets, metadata, progress)
            check_model(temporary, cache_folder=cache_folder)
            files = (_written(temporary, destination, targets),)
    return Converted(path=destination, form=form, files=files, left_out=plan.left_out)


def convert_file(
    source: Path, destination: Path, *, dtype: str | None = None, progress: Progress = lambda _: None
) -> Converted:
    """Write a file of weights of any kind as one of another kind; every tensor keeps its name.

    Raises:
        InputError, ModelError, StorageError: as `convert_model`.
    """
    form = form_of(destination)
    _refuse_existing(destination)
    targets = plan_copy(places_of(source), None if dtype is None else DTYPES[dtype])
    metadata = read_weights_header(source).metadata
    _check_room(destination, targets)
    with writing_atomically(destination) as temporary:
        _write_file(temporary, form, targets, metadata, progress)
        files = (_written(temporary, destination, targets),)
    return Converted(path=destination, form=form, files=files, left_out=())


def work_bytes(targets: Targets) -> int:
    """Bytes that are written."""
    return sum(byte_count(target.values, target.dtype) for target in targets.values())


def _refuse_existing(destination: Path) -> None:
    if os.path.lexists(destination):
        raise InputError(f"`{destination}` is there already", hint="choose another name, or remove it first")


def _check_room(destination: Path, targets: Targets) -> None:
    needed = work_bytes(targets) + _SPARE_BYTES
    folder = destination.absolute().parent
    while not folder.is_dir():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"`{destination}` needs {gib(needed)}, free on that disk: {gib(free)}",
            hint="free some space, choose another disk, or use `--dtype float16`",
        )


def _write_file(
    path: Path, form: OutputForm, targets: Targets, metadata: Mapping[str, str], progress: Progress
) -> None:
    """Write a file, then read it and the source again and compare them."""
    tensors = {name: targets[name].tensor for name in in_order(_tensors(targets))}
    if form is OutputForm.CKPT:
        check_archivable(tensors)
    write = write_archive if form is OutputForm.CKPT else write_safetensors
    with Reader() as reader, reporting_storage(path), path.open("wb") as file:
        contents = (
            (name, _told(reader.chunks(name, targets[name].values, targets[name].dtype), progress)) for name in tensors
        )
        write(file, tensors, contents, metadata)
        file.flush()
        os.fsync(file.fileno())
    _compare(path, targets, progress)


def _tensors(targets: Targets) -> dict[str, TensorShape]:
    return {name: target.tensor for name, target in targets.items()}


def _told(chunks: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        progress(len(chunk))


def _compare(path: Path, targets: Targets, progress: Progress) -> None:
    """Every tensor that is there is the one that was meant, to the last bit."""
    places = places_of(path)
    if {name: place.tensor for name, place in places.items()} != _tensors(targets):
        raise ModelError(f"`{path}` does not hold the tensors that were written to it")
    with Reader() as reader:
        for name, target in targets.items():
            written = values_of(Piece(key=name, stored=places[name].tensor), places[name])
            ours = reader.chunks(name, target.values, target.dtype)
            if not _same(ours, reader.chunks(name, written, target.dtype), progress):
                raise ModelError(
                    f"`{name}` reads otherwise than it was written", hint="the disk or the memory of this machine fails"
                )


def _same(ours: Iterator[bytes], theirs: Iterator[bytes], progress: Progress) -> bool:
    """Whether two streams are equal, however they are cut."""
    mine, other = b"", b""
    while True:
        mine, other = mine or next(ours, b""), other or next(theirs, b"")
        length = min(len(mine), len(other))
        if not length:
            return not mine and not other
        if mine[:length] != other[:length]:
            return False
        progress(length)
        mine, other = mine[length:], other[length:]


def _written(temporary: Path, final: Path, targets: Targets) -> WrittenFile:
    return WrittenFile(path=final, bytes=temporary.stat().st_size, sha256=file_digest(temporary), tensors=len(targets))


def _write_folder(
    description: ModelDescription, plan: Plan, destination: Path, cache_folder: Path, progress: Progress
) -> tuple[WrittenFile, ...]:
    _check_room(
        destination,
        {f"{part}.{name}": target for part, targets in plan.networks.items() for name, target in targets.items()},
    )
    with _new_folder(destination) as temporary:
        for name, content in _configs(description, plan.left_out).items():
            write_atomically(temporary / name, content)
        files: list[WrittenFile] = []
        for part, targets in plan.networks.items():
            library = description.components[part].library
            name = f"{part}/{'model' if library == 'transformers' else 'diffusion_pytorch_model'}.safetensors"
            (temporary / part).mkdir(exist_ok=True)
            _write_file(temporary / name, OutputForm.SAFETENSORS, targets, {"format": "pt"}, progress)
            files.append(_written(temporary / name, destination / name, targets))
        check_model(temporary, cache_folder=cache_folder)
    return tuple(files)


def _configs(description: ModelDescription, left_out: tuple[str, ...]) -> dict[str, bytes]:
    files = {name: content for name, content in small_files(description).items() if name.split("/")[0] not in left_out}
    index = {name: [None, None] if name in left_out else value for name, value in description.index.items()}
    return {**files, INDEX_FILE: json.dumps(index, indent=2).encode()}


@contextmanager
def _new_folder(destination: Path) -> Iterator[Path]:
    """A folder under a temporary name, which gets its own when the block ends well, and is removed otherwise."""
    temporary = destination.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with reporting_storage(destination):
            temporary.mkdir(parents=True)
        yield temporary
        with reporting_storage(destination):
            os.rename(temporary, destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
