"""Whose Python runs: pictures take turns between two network calls.

Only one thread at a time runs Python (the GIL), and a thread gives it up at every operation of torch. Eight pictures
that come back from one shared forward would hand it round hundreds of times before the first of them makes its next
call, and each handing over wakes a thread: their Python then takes three times as long as one after another. So a
picture waits until the one before it is back in a network.

It is a courtesy and no lock: who has waited for `PATIENCE_SECONDS` goes on beside the other, who may be writing to a
disk or waiting for something that this thread holds.
"""

import threading
from types import TracebackType

PATIENCE_SECONDS = 0.05


class Turns:
    """Shared by the pictures of a process."""

    def __init__(self) -> None:
        self._free = threading.Lock()

    def take(self) -> bool:
        """Wait for the turn; false if patience ended first."""
        return self._free.acquire(timeout=PATIENCE_SECONDS)

    def give(self) -> None:
        """The turn is over. Only after a `take` that was true."""
        self._free.release()


class Turn:
    """One picture's claim to a turn. Used by the picture's own thread.

    A context manager for as long as the picture runs; `pause` and `resume` stand around whatever it waits for.
    """

    def __init__(self, turns: Turns | None = None) -> None:
        self._turns = turns
        self._mine = False

    def resume(self) -> None:
        if self._turns is not None and not self._mine:
            self._mine = self._turns.take()

    def pause(self) -> None:
        if self._turns is not None and self._mine:
            self._mine = False
            self._turns.give()

    def __enter__(self) -> None:
        self.resume()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
