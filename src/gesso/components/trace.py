"""Which rows ran in which slots of which shapes, and what came out.

Run again with the same placements on the same machine, the calls give the same bytes; where they do not, the first
digest that differs names the call.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from gesso.components.tree import tensors
from gesso.core.recipe import Segment, TraceEntry

Placements = Mapping[tuple[str, str, int], tuple[Segment, ...]]
"""(component, method, call) to where its rows ran."""


def digest(tree: Any) -> "Digest":
    """8 bytes over every tensor of `tree`: shape, dtype and bits.

    On the CPU a BLAKE2b hash; on an accelerator a weighted sum of the bits, computed there and read at the end, so that
    taking a digest never makes anybody wait for the device.
    """
    return Digest(tensors(tree))


class Digest:
    """A digest that may still be on its way from the device."""

    def __init__(self, leaves: Sequence[torch.Tensor]) -> None:
        self.hash = hashlib.blake2b(digest_size=8)
        self.late: list[torch.Tensor] = []
        for leaf in leaves:
            self.hash.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            if leaf.device.type == "cpu":
                self.hash.update(_bytes(leaf))
            else:
                self.late.append(checksum(leaf))

    def hex(self) -> str:
        """Read it. Safe from many threads: pictures of one request share the digests of their conditioning."""
        return read([self])[0]


def read(digests: "Sequence[Digest]") -> list[str]:
    """Hexadecimal digests. All at once: each look at a device waits for the work that it was given meanwhile."""
    sums = [late for each in digests for late in each.late]
    places = {late.device for late in sums}
    on_host = {place: iter(torch.stack([late for late in sums if late.device == place]).cpu()) for place in places}
    found: list[str] = []
    for each in digests:
        complete = each.hash.copy()
        for late in each.late:
            complete.update(_bytes(next(on_host[late.device])))
        found.append(complete.hexdigest())
    return found


def _bytes(leaf: torch.Tensor) -> Any:
    """The bits of `leaf` as a buffer, uncopied if it is on the CPU."""
    data = leaf.detach().cpu().contiguous()
    # numpy knows few types of torch; those that it knows need no detour by way of bytes.
    return (data if data.dtype in _KNOWN_TO_NUMPY else data.reshape(-1).view(torch.uint8)).numpy()


_KNOWN_TO_NUMPY = frozenset({torch.float32, torch.int64, torch.float16, torch.float64, torch.int32, torch.uint8})


def checksum(leaf: torch.Tensor) -> torch.Tensor:
    """[] int64 on the device of `leaf`: bytes weighted by an odd number that depends on their place, modulo 2^64."""
    data = leaf.detach().contiguous().reshape(-1).view(torch.uint8)
    total = torch.zeros((), dtype=torch.int64, device=data.device)
    for start in range(0, data.numel(), _CHECKSUM_CHUNK):  # bounded workspace: int64 is eight times the data
        part = data[start : start + _CHECKSUM_CHUNK].to(torch.int64)
        place = torch.arange(start, start + part.numel(), device=data.device, dtype=torch.int64)
        total += ((part + 1) * ((place * -7046029254386353131) | 1)).sum()
    return total


_CHECKSUM_CHUNK = 2**22


class TraceRecorder:
    """The calls of one picture in order. Numbers calls within component and method."""

    def __init__(self, before: "TraceRecorder | None" = None) -> None:
        """`before`: calls made on behalf of several pictures (shared conditioning) that come first in each trace."""
        self._lock = threading.Lock()
        self._entries: list[tuple[TraceEntry, Digest | None]] = [] if before is None else list(before._entries)
        self._counts: Counter[tuple[str, str]] = Counter() if before is None else Counter(before._counts)

    def number(self, component: str, method: str) -> int:
        """The number of the call that is about to be made."""
        with self._lock:
            number = self._counts[component, method]
            self._counts[component, method] += 1
            return number

    def add(self, entry: TraceEntry, digest: Digest | None = None) -> None:
        """Record a call; `digest`, if given, is read at the end into `entry.digest`."""
        with self._lock:
            self._entries.append((entry, digest))

    def alone(self) -> bool:
        """Whether no rows but the picture's own ran in any of its calls."""
        with self._lock:
            return all(part.rows == part.batch_rows for entry, _ in self._entries for part in entry.segments)

    def entries(self) -> tuple[TraceEntry, ...]:
        """All calls so far, digests read."""
        with self._lock:
            found = list(self._entries)
        digests = iter(read([late for _, late in found if late is not None]))
        return tuple(
            entry if late is None else entry.model_copy(update={"digest": next(digests)}) for entry, late in found
        )


def placements(entries: Sequence[TraceEntry]) -> Placements:
    """Where each call ran, for running it there again."""
    return {(entry.component, entry.method, entry.call): entry.segments for entry in entries}


def trace_checksum(entries: Sequence[TraceEntry]) -> str:
    """Over a whole trace, so that a recipe that was changed afterwards is noticed."""
    joined = "\n".join(entry.model_dump_json() for entry in entries)
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()


def first_difference(recorded: Sequence[TraceEntry], replayed: Sequence[TraceEntry]) -> str | None:
    """The first call whose bytes differ, in words; `None` if all are the same."""
    for was, now in _paired(recorded, replayed):
        if was is None or now is None:
            entry = was or now
            assert entry is not None
            verb = "was not made again" if now is None else "was not made before"
            return f"{_name(entry)} {verb}"
        if (was.component, was.method, was.call) != (now.component, now.method, now.call):
            return f"{_name(was)} was followed in another order: now {_name(now)}"
        if was.digest != now.digest:
            return f"{_name(was)} gave other bytes: {was.digest} then, {now.digest} now"
    return None


def _paired(
    recorded: Sequence[TraceEntry], replayed: Sequence[TraceEntry]
) -> Iterator[tuple[TraceEntry | None, TraceEntry | None]]:
    for index in range(max(len(recorded), len(replayed))):
        yield (
            recorded[index] if index < len(recorded) else None,
            replayed[index] if index < len(replayed) else None,
        )


def _name(entry: TraceEntry) -> str:
    where = f"step {entry.step}, " if entry.step is not None else ""
    method = "" if entry.method == "forward" else f".{entry.method}"
    return f"`{entry.component}{method}` ({where}call {entry.call})"
