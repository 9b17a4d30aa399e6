"""The header of a safetensors file, checked against itself and against the length of the file."""

from pathlib import Path

from gesso.models.headers.base import FileFormat, TensorShape, WeightsHeader
from gesso.models.weights import verify_safetensors


def read_safetensors(path: Path) -> WeightsHeader:
    """Read the header of `path`.

    Raises:
        ModelError: it is cut off; or a tensor has an unknown format, another size than its shape says, lies outside
            the file, over another one or behind a gap; or a name is there twice.
    """
    header = verify_safetensors(path)
    return WeightsHeader(
        format=FileFormat.SAFETENSORS,
        tensors={name: TensorShape(dtype=entry.dtype, shape=entry.shape) for name, entry in header.tensors.items()},
        metadata=header.metadata,
        file_bytes=header.header_bytes + header.data_bytes,
    )
