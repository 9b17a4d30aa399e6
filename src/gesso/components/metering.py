"""What a picture costs: device seconds, rows and padded rows."""

import threading
from collections.abc import Callable

from gesso.core.recipe import Metering


class Meter:
    """Sums the shares of one picture in the forwards that held its rows. Added to by workers, read at the end.

    Device time on an accelerator is known only when the device has got there, so durations are taken as functions and
    asked for at the end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._durations: list[tuple[Callable[[], float], float]] = []
        self._seconds = 0.0
        self._rows = 0
        self._padded_rows = 0.0
        self._forwards = 0

    def add(self, seconds: Callable[[], float], *, rows: int, live_rows: int, batch_rows: int) -> None:
        """Count one forward.

        Args:
            seconds: duration of the forward, asked for later.
            rows: rows of this picture in it.
            live_rows: rows of all pictures in it; duration and padding are shared by them.
            batch_rows: all rows computed.
        """
        share = rows / live_rows
        with self._lock:
            self._durations.append((seconds, share))
            self._rows += rows
            self._padded_rows += (batch_rows - live_rows) * share
            self._forwards += 1
            if len(self._durations) > 64:
                self._settle(keep=8)

    def _settle(self, *, keep: int) -> None:
        settled, self._durations = (
            self._durations[: len(self._durations) - keep],
            self._durations[-keep:] if keep else [],
        )
        self._seconds += sum(seconds() * share for seconds, share in settled)

    def total(self) -> Metering:
        """All of it so far. Waits for the device to finish what was counted."""
        with self._lock:
            self._settle(keep=0)
            return Metering(
                device_seconds=self._seconds,
                rows=self._rows,
                padded_rows=round(self._padded_rows),
                forwards=self._forwards,
            )
