"""Trying again, after waiting as long as one was asked to, and not for ever."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gesso.core.errors import NetworkError

T = TypeVar("T")


class TransientError(Exception):
    """Something failed that may work in a moment."""

    def __init__(self, message: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.wait_seconds = wait_seconds
        """As the server asked; `None` if it did not say."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often, and how long. `wait` is given seconds."""

    wait: Callable[[float], None] = time.sleep
    attempts: int = 5
    """Failures in a row, without a byte between them."""
    most_seconds: float = 300
    """A server that asks for more is not waited for."""

    def persist(self, action: Callable[[], T], *, progress: Callable[[], int] = lambda: 0) -> T:
        """Do `action`, again while it fails for a moment.

        Args:
            progress: bytes so far: after some have come, counting failures begins anew.

        Raises:
            NetworkError: it failed too often, or the server asks for too long a wait.
        """
        failures = 0
        while True:
            before = progress()
            try:
                return action()
            except TransientError as error:
                failures = 1 if progress() > before else failures + 1
                seconds = 2.0 ** (failures - 1) if error.wait_seconds is None else error.wait_seconds
                if failures >= self.attempts or seconds > self.most_seconds:
                    raise self._given_up(error, failures) from error
                self.wait(seconds)

    def _given_up(self, error: TransientError, failures: int) -> NetworkError:
        if error.wait_seconds is not None and error.wait_seconds > self.most_seconds:
            return NetworkError(
                error.message, hint=f"it asks to be left alone for {error.wait_seconds:.0f} s; try then"
            )
        return NetworkError(
            f"{error.message}, {failures} times in a row",
            hint="what has come is kept: the same command goes on from there",
        )
