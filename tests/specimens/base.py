"""Writing weights files whose data is a hole: as large as it has to be, and nothing on the disk."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from gesso.models.weights import BITS

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """One file, and what is to be said of it."""

    shapes: Callable[[], Shapes]
    expected: Mapping[str, Any]
    """Fields of `gesso models show --json`."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    form: Literal["safetensors", "ckpt", "gguf"] = "safetensors"
    dtype: str = "F16"
    wrapped: Callable[[Any], Any] = lambda tensors: {"state_dict": tensors, "epoch": 3, "global_step": 875000}
    """What a `.ckpt` holds, of its tensors."""

    def write(self, folder: Path) -> Path:
        """Write the file into `folder` under a name that tells nothing."""
        path = folder / "some.bin"
        if self.form == "safetensors":
            return write_safetensors(path, self.shapes(), self.metadata, dtype=self.dtype)
        if self.form == "gguf":
            return write_gguf(path, self.shapes(), self.metadata)
        one = torch.zeros((), dtype=torch.float16)
        torch.save(self.wrapped({name: one.expand(shape) for name, shape in self.shapes().items()}), path)
        return path


def specimen(shapes: Callable[[], Shapes] | Shapes, kind: str, family: str | None = None, **expected: Any) -> Specimen:
    """A safetensors file of `shapes`."""
    return Specimen(
        shapes=shapes if callable(shapes) else lambda: shapes, expected={"kind": kind, "family": family, **expected}
    )


def write_safetensors(
    path: Path, shapes: Shapes, metadata: Mapping[str, str] | None = None, *, dtype: str = "F16"
) -> Path:
    """A sparse safetensors file."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name, shape in shapes.items():
        end = begin + math.prod(shape) * BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + begin)
    return path


def write_gguf(path: Path, shapes: Shapes, metadata: Mapping[str, str]) -> Path:
    """A sparse GGUF file of version 3: formats F32 for vectors, Q8_0 for the rest."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(metadata))
    head += b"".join(text(key) + struct.pack("<I", 8) + text(value) for key, value in metadata.items())
    begin = 0
    for name, shape in shapes.items():
        kind, size = (0, math.prod(shape) * 4) if len(shape) == 1 else (8, math.prod(shape) // 32 * 34)
        sizes = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        head += text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, begin)
        begin += -(-size // 32) * 32
    with path.open("wb") as file:
        file.write(head)
        file.truncate(-(-len(head) // 32) * 32 + begin)
    return path
