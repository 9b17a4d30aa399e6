"""Groups of commands whose endings reach the boundary."""

from typing import Any

from typer.core import TyperGroup

from gesso.core.errors import CancelledError


class ReaderGoneError(Exception):
    """Whoever read our output has closed it, as `head` does."""


class Commands(TyperGroup):
    """A group of commands that lets two endings through to `run`, which Typer would otherwise decide itself."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise CancelledError("Interrupted") from error
        except BrokenPipeError as error:
            raise ReaderGoneError from error
