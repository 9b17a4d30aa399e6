"""One line for each thing that is done, with the time since the start."""

import sys
import time

_BEGUN = time.monotonic()


def tell(what: str) -> None:
    """Say what is going on, on stderr."""
    minutes, seconds = divmod(int(elapsed_seconds()), 60)
    print(f"[{minutes:02d}:{seconds:02d}] {what}", file=sys.stderr, flush=True)


def elapsed_seconds() -> float:
    """Since this process began to measure."""
    return time.monotonic() - _BEGUN
