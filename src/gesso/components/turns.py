"""Whose Python runs: pictures take turns between two network calls.

Only one thread at a time runs Python (the GIL), and a thread gives it up at every operation of torch. Eight pictures
that come back from one shared forward would hand it round hundreds of times before the first of them makes its next
call, and each handing over wakes a thread: their Python then takes three times as long as one after another. So a
picture waits until the one before it is back in a network.

It is a courtesy and no lock: who has waited for `PATIENCE_SECONDS` goes on beside the other, who may be writing to a
disk or waiting for something that this thread holds.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

PATIENCE_SECONDS = 0.05


class Turns:
    """Shared by all pictures of a studio."""

    def __init__(self) -> None:
        self._free = threading.Lock()

    def take(self) -> bool:
        """Wait for the turn; false if patience ended first."""
        return self._free.acquire(timeout=PATIENCE_SECONDS)

    def give(self) -> None:
        """The turn is over. Only after a `take` that was true."""
        self._free.release()


class Turn:
    """One picture's claim to a turn: a context manager for as long as it runs. Used by the picture's own thread.

    Args:
        turns: of the studio; without, there is nobody to take turns with.
    """

    def __init__(self, turns: Turns | None = None) -> None:
        self._turns = turns
        self._running = False
        self._mine = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let others have the turn during the block, in which this picture waits for something."""
        self._give()
        try:
            yield
        finally:
            self._take()

    def __enter__(self) -> None:
        self._running = True
        self._take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running = False
        self._give()

    def _take(self) -> None:
        if self._turns is not None and self._running and not self._mine:
            self._mine = self._turns.take()

    def _give(self) -> None:
        if self._turns is not None and self._mine:
            self._mine = False
            self._turns.give()
