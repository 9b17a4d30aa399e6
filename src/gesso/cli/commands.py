"""Groups of commands whose endings reach the boundary."""

import signal
from typing import Any

from typer.core import TyperGroup

from gesso.core.errors import CancelledError


class ReaderGoneError(Exception):
    """Whoever read our output has closed it, as `head` does."""


class StopSignal(KeyboardInterrupt):
    """The system, or the terminal that went away, asks the process to end: `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StoppedError(CancelledError):
    """A command was interrupted. Its exit code is what a shell makes of the signal: 128 and its number."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def stopped_by(interrupt: KeyboardInterrupt) -> CancelledError:
    """What to report of an interrupt."""
    if isinstance(interrupt, StopSignal):
        name = signal.Signals(interrupt.number).name
        return StoppedError(f"Interrupted by {name}", exit_code=128 + interrupt.number)
    return CancelledError("Interrupted")


class Commands(TyperGroup):
    """A group of commands that lets two endings through to `run`, which Typer would otherwise decide itself."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise stopped_by(error) from error
        except BrokenPipeError as error:
            raise ReaderGoneError from error
