"""A closed loop of clients: each asks for a picture, waits for it, and asks for the next."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gesso.engine.bench.figures import percentile

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Served(Generic[T]):
    """One request as its client saw it; times in seconds of one clock."""

    index: int
    start: float
    end: float
    value: T

    @property
    def latency_seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Load(Generic[T]):
    """What came of a closed loop, in the order of the requests."""

    served: tuple[Served[T], ...]

    @property
    def seconds(self) -> float:
        """From the first request to the last answer: the end, when some clients have nothing left to ask, counts."""
        return max(each.end for each in self.served) - min(each.start for each in self.served)

    @property
    def per_second(self) -> float:
        return len(self.served) / self.seconds

    @property
    def latencies(self) -> list[float]:
        """Seconds."""
        return [each.latency_seconds for each in self.served]

    def latency(self, share: float) -> float:
        """Seconds within which `share` of the answers came."""
        return percentile(self.latencies, share)


def closed_loop(make: Callable[[int], T], *, count: int, clients: int) -> Load[T]:
    """Let `clients` threads make requests 0 to `count - 1`, each taking the next that nobody has taken.

    Args:
        make: answers one request; called on the client's thread. What it raises ends the loop and is raised here.
    """
    lock = threading.Lock()
    waiting = iter(range(count))
    served: list[Served[T]] = []
    errors: list[BaseException] = []
    together = threading.Barrier(min(clients, count))

    def client() -> None:
        together.wait()
        while True:
            with lock:
                index = None if errors else next(waiting, None)
            if index is None:
                return
            start = time.perf_counter()
            try:
                value = make(index)
            except BaseException as error:  # the boundary: it is raised again where the loop was asked for
                with lock:
                    errors.append(error)
                return
            end = time.perf_counter()
            with lock:
                served.append(Served(index=index, start=start, end=end, value=value))

    threads = [threading.Thread(target=client, daemon=True) for _ in range(min(clients, count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return Load(served=tuple(sorted(served, key=lambda each: each.index)))
