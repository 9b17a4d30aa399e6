"""Errors that say what was asked, what was found and what to do.

The message is one line; the hint is what the reader can do next. Facts are kept as keyword attributes by the
subclasses that have them, so that a log, an HTTP API and a page can each show them in their own way.
"""

import traceback
from enum import IntEnum

from gesso.core.units import gib


class ExitCode(IntEnum):
    """What the `gesso` command returns to the shell."""

    OK = 0
    USAGE = 2
    INPUT = 3
    RESOURCES = 4
    INTERNAL = 5
    INTERRUPTED = 130


class GessoError(Exception):
    """Base of every error that Gesso raises on purpose.

    Args:
        message: what was asked and what was found, one line, no final stop.
        hint: what to do about it.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def fresh(self) -> "GessoError":
        """An equal error without traceback or context: one exception object must not be raised in two threads."""
        twin = self.__class__.__new__(self.__class__)
        twin.args = self.args
        twin.__dict__.update({name: value for name, value in self.__dict__.items() if name != "__notes__"})
        return twin


class InputError(GessoError):
    """Something in the request cannot be done as asked."""

    exit_code = ExitCode.INPUT


class UsageError(GessoError):
    """The command line or a setting is malformed."""

    exit_code = ExitCode.USAGE


class SettingsError(UsageError):
    """A settings file or environment variable holds an unknown key or a bad value."""


class UnknownNameError(InputError):
    """A name was asked for that does not exist; the nearest ones are in the hint."""

    def __init__(self, kind: str, name: str, known: list[str] | tuple[str, ...], *, hint: str | None = None) -> None:
        from difflib import get_close_matches

        self.kind = kind
        self.name = name
        folded = {candidate.casefold(): candidate for candidate in known}
        self.nearest = [folded[match] for match in get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]
        if hint is None:
            hint = f"nearest: {', '.join(self.nearest)}" if self.nearest else f"known: {', '.join(known)}"
        super().__init__(f"Unknown {kind}: `{name}`", hint=hint)


class NotHereError(UnknownNameError):
    """A model was asked for that is not on this machine, and could be fetched."""

    def __init__(self, what: str, told: str, known: list[str] | tuple[str, ...], *, hint: str) -> None:
        self.what = what
        """As it was asked for; `told` is how it may be shown."""
        super().__init__("model", told, known, hint=hint)


class SourceError(InputError):
    """What should be fetched does not exist there, is not given to us, or is not what it should be."""


class ModelError(InputError):
    """A model folder or file is missing a part, broken, or of a kind that cannot be used here."""


class ResourceError(GessoError):
    """The machine lacks room or a device."""

    exit_code = ExitCode.RESOURCES


class DoesNotFitError(ResourceError):
    """Weights and workspace need more memory than the device has."""

    def __init__(self, *, needed_bytes: int, free_bytes: int, device: str, hint: str | None = None) -> None:
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes
        self.device = device
        super().__init__(
            f"Needs {gib(needed_bytes)}, free on `{device}`: {gib(free_bytes)}",
            hint=hint or "use a smaller picture, a smaller model, or another `--device`",
        )


class DeviceError(ResourceError):
    """The device asked for is not here or cannot do what was asked."""


class NetworkError(ResourceError):
    """A server could not be reached, broke off, or asks to be left alone; what came so far is kept."""


class StorageError(ResourceError):
    """A file could not be written: disk full, no permission."""


class NonFiniteError(GessoError):
    """A network produced NaN or infinity; no picture is made of it.

    Args:
        also_in_float32: it was tried in half precision and then in float32.
    """

    exit_code = ExitCode.INPUT

    def __init__(self, *, component: str, step: int | None, call: int, also_in_float32: bool = False) -> None:
        self.component = component
        self.step = step
        self.call = call
        where = f"at step {step}" if step is not None else f"in call {call}"
        cause = "the weights are damaged or the guidance is far too high"
        super().__init__(
            f"`{component}` produced NaN or infinite values {where}{', also in float32' if also_in_float32 else ''}",
            hint=f"{cause}; `--vae` chooses another"
            if also_in_float32
            else f"try `--precision float32`; if it stays, {cause}",
        )


class CancelledError(GessoError):
    """The request was cancelled before it was done."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str = "Cancelled") -> None:
        super().__init__(message)


class DeadlineError(GessoError):
    """The request ran past the time it was given."""

    exit_code = ExitCode.RESOURCES

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"Not done within {seconds:g} s", hint="give it a longer deadline or fewer steps")


class ClosedError(GessoError):
    """The studio, or the worker of a device, is gone."""


class FrozenComponentError(GessoError):
    """Somebody tried to change a hosted network from outside its worker."""

    def __init__(self, component: str, method: str) -> None:
        super().__init__(
            f"`{component}` is hosted and frozen: `{method}` was called outside its worker",
            hint="pass adapters, processors and tiling as call state; they are entered and left around each call",
        )


class ReplayError(InputError):
    """A picture holds no trace that could be replayed."""


def drop_frames(error: BaseException) -> None:
    """Let go of what the frames of `error`, and of the errors that led to it, hold: tensors, whole networks.

    A frame holds its variables, and those of its callers after they have returned: whoever keeps an error would keep
    them all. Where it happened stays as a note.
    """
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        found = pending.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            if found.__traceback__ is not None:
                found.add_note("".join(traceback.format_tb(found.__traceback__)).rstrip())
                traceback.clear_frames(found.__traceback__)
                found.__traceback__ = None
            pending += [found.__cause__, found.__context__]
