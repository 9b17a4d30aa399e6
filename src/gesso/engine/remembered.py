"""What was made lately and may be wanted again, in bounded memory: the least recently used leaves first."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values by key. Safe to use from many threads.

    Args:
        max_bytes: of all values; 0 remembers none.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._bytes = 0

    def find(self, key: Hashable) -> T | None:
        """The value of `key`, if it is remembered."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, value: T, *, size_bytes: int) -> None:
        """Remember a value, and forget others until all fit; one that is larger than all may be is not kept."""
        with self._lock:
            if size_bytes > self._max_bytes or key in self._values:
                return
            self._values[key] = value, size_bytes
            self._bytes += size_bytes
            while self._bytes > self._max_bytes:
                _, (_, left) = self._values.popitem(last=False)
                self._bytes -= left

    def __len__(self) -> int:
        with self._lock:
            return len(self._values)
