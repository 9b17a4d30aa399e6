"""Reading values a few megabytes at a time, cast and checked on the way."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from gesso.core.errors import ModelError
from gesso.models.single_files.convert.numbers import WIDTHS, all_finite, bits, cast
from gesso.models.single_files.convert.values import Span, Values
from gesso.models.weights import BITS, DTYPE_NAMES

CHUNK_BYTES = 8 * 2**20
"""As stored. With its copies in other formats, some forty megabytes are in memory at once."""


class Reader:
    """Reads from several files, which stay open; a context manager."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._files: dict[Path, BinaryIO] = {}

    def chunks(self, name: str, values: Values, dtype: str) -> Iterator[bytes]:
        """The bytes of a tensor in `dtype`, from the first to the last.

        Args:
            name: of the tensor, for errors.

        Raises:
            ModelError: a value is infinite or not a number, or would be in `dtype`.
        """
        if values.transposed or any(span.place.strides is not None for span in values.spans):
            yield self._whole(name, values, dtype)
            return
        for span in values.spans:
            width = span.width
            step = CHUNK_BYTES // width
            for begin in range(span.begin, span.end, step):
                count = min(step, span.end - begin)
                data = self._read(span.place.path, span.place.begin + begin * width, count * width)
                yield _checked(name, span, data, dtype)

    def _whole(self, name: str, values: Values, dtype: str) -> bytes:
        """A tensor out of order: small ones in practice."""
        flat = b"".join(_checked(name, span, self._in_order(span), dtype) for span in values.spans)
        if not values.transposed:
            return flat
        matrix = np.frombuffer(flat, dtype=np.dtype((np.void, BITS[dtype] // 8)))
        return matrix.reshape(values.shape[::-1]).T.tobytes()

    def _in_order(self, span: Span) -> bytes:
        place, width = span.place, span.width
        if place.strides is None:
            return self._read(place.path, place.begin + span.begin * width, (span.end - span.begin) * width)
        last = sum((size - 1) * stride for size, stride in zip(place.tensor.shape, place.strides, strict=True))
        stored = np.frombuffer(
            self._read(place.path, place.begin, (last + 1) * width), dtype=np.dtype((np.void, width))
        )
        strides = [stride * width for stride in place.strides]
        tensor = np.lib.stride_tricks.as_strided(stored, place.tensor.shape, strides, writeable=False)
        return tensor.tobytes()[span.begin * width : span.end * width]

    def _read(self, path: Path, begin: int, count: int) -> bytes:
        file = self._files.get(path)
        try:
            if file is None:
                file = self._files[path] = self._open.enter_context(path.open("rb", buffering=0))
            file.seek(begin)
            data = bytearray()
            while len(data) < count and (more := file.read(count - len(data))):
                data += more
        except OSError as error:
            raise ModelError(f"`{path}` could not be read: {error.strerror or error}") from error
        if len(data) < count:
            raise ModelError(f"`{path}` became shorter while it was being read", hint="convert it again")
        return bytes(data)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def byte_count(values: Values, dtype: str) -> int:
    """Bytes of the tensor in `dtype`."""
    return math.prod(values.shape) * BITS[dtype] // 8


def _checked(name: str, span: Span, data: bytes, target: str) -> bytes:
    source = span.place.tensor.dtype
    if source not in WIDTHS:
        return data
    values = bits(data, source)
    if not all_finite(values, source):
        raise ModelError(
            f"`{span.key}` in `{span.place.path}` holds values that are infinite or not a number",
            hint="the file is damaged, or its training failed: get another",
        )
    if source == target:
        return data
    changed = cast(values, source, target)
    if not all_finite(changed, target):
        raise ModelError(
            f"`{name}` holds values that are too large for {DTYPE_NAMES[target]}", hint="use `--dtype bfloat16`"
        )
    return changed.tobytes()
