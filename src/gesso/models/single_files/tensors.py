"""The tensors of a view, mapped from their file: they take no memory of their own until they are changed or copied.

A pickle is read by torch's weights-only unpickler alone, after the check of its header.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from gesso.core.errors import ModelError
from gesso.models.headers.base import DamagedFileError, FileFormat, WeightsHeader
from gesso.models.headers.globals import STAND_INS
from gesso.models.headers.read import read_weights_header
from gesso.models.headers.torch_files import named_tensors
from gesso.models.views import FileView, Form, Piece


def tensors_of(view: FileView) -> dict[str, torch.Tensor]:
    """Every tensor of the network, by its name there.

    Raises:
        ModelError: the file changed since it was described, or cannot be read.
    """
    stored = mapped_file(view.path, read_weights_header(view.path))
    try:
        return {name: _made(piece, stored[piece.key]) for name, piece in view.pieces.items()}
    except KeyError as error:
        raise ModelError(f"`{view.path}` was changed while it was being read: {error} is gone") from error


def mapped_file(path: Path, header: WeightsHeader) -> Mapping[str, torch.Tensor]:
    """Every tensor of a file by its key.

    Args:
        header: of this file; that it could be read says that the file may be trusted.

    Raises:
        ModelError: it is damaged.
    """
    try:
        if header.format is FileFormat.SAFETENSORS:
            with safe_open(path, framework="pt", device="cpu") as file:
                return {key: file.get_tensor(key) for key in header.tensors}
        return _unpickled(path, mapped=header.format is FileFormat.TORCH_ZIP)
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, ValueError, EOFError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DamagedFileError(path, f"could not be read: {lines[0]}") from error


def _unpickled(path: Path, *, mapped: bool) -> dict[str, torch.Tensor]:
    with torch.serialization.safe_globals([(_StandIn, name) for name in STAND_INS]):
        root = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return dict(named_tensors(root, torch.Tensor))  # the names that the header has for them


class _StandIn:
    """In place of what trainers leave in a checkpoint beside the weights: takes anything, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _made(piece: Piece, stored: torch.Tensor) -> torch.Tensor:
    if piece.rows is not None:
        stored = stored[piece.rows[0] : piece.rows[1]]
    match piece.form:
        case Form.SAME:
            return stored
        case Form.CONVOLUTION:
            return stored.reshape(stored.shape[:2])
        case Form.TRANSPOSED:
            return stored.T.contiguous()
        case Form.SWAPPED:
            return torch.cat(stored.chunk(2)[::-1])
