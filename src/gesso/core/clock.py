"""Time as a value that can be injected."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Seconds that only go forward. Not wall time: clocks on walls jump."""

    def now(self) -> float: ...


class MonotonicClock:
    """The machine's steady clock."""

    def now(self) -> float:
        return time.perf_counter()


def utc_now() -> str:
    """Wall time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
