"""Where the command line meets the shell: every ending becomes an exit code and at most two lines on stderr."""

import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

import typer
from typer.main import get_command

from gesso.cli.commands import ReaderGoneError, StopSignal, stopped_by
from gesso.cli.output import one_line
from gesso.core.errors import ExitCode, GessoError

# Typer exports only one of its usage errors by name; the others are its siblings.
_TYPER_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
_DEBUG = "--debug"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_OFFLINE = "HF_HUB_OFFLINE"
_LIBRARY_DEFAULTS = {
    _OFFLINE: "1",  # nothing is fetched that was not asked for
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # there is one bar, and it is ours
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
}


_chosen_here: set[str] = set()
"""Which of them nobody had chosen otherwise before."""


def is_offline_by_choice() -> bool:
    """Whether the person, and not this module, has told the hub's library to ask nobody."""
    return os.environ.get(_OFFLINE, "").upper() in {"1", "ON", "YES", "TRUE"} and _OFFLINE not in _chosen_here


def prepare_process() -> None:
    """Set what belongs to the whole process: its streams, the signals that end it, and what the libraries below may say
    and do by themselves.

    What the libraries do can be set otherwise in the environment.
    """
    _open_closed_streams()
    _listen_to_signals()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    for name, value in _LIBRARY_DEFAULTS.items():
        if name not in os.environ:
            os.environ[name] = value
            _chosen_here.add(name)
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    if not sys.warnoptions:
        # Libraries warn programmers of what will change one day; a person who makes pictures cannot act on it.
        warnings.simplefilter("ignore")


def _open_closed_streams() -> None:
    """Let streams that were closed by the caller lead nowhere: the first file to be opened would get their number, and
    a picture would hold what a library prints."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _listen_to_signals() -> None:
    """What asks a process to end interrupts its command as Ctrl-C does, so that it keeps what is done. Once: whoever
    asks again does not want to wait."""

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise StopSignal(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # `nohup` has others ignored
            signal.signal(number, stop)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Nothing is raised.

    `--debug` is understood anywhere before a lone `--`, because it is added to a command that has just failed.
    """
    arguments, debug = _lift_debug(arguments)
    try:
        from gesso.cli.app import app

        code = get_command(app).main(args=arguments, prog_name="gesso", standalone_mode=False)
        sys.stdout.flush()
    except (ReaderGoneError, BrokenPipeError):
        _silence(sys.stdout)
        return ExitCode.OK
    except KeyboardInterrupt as interrupt:
        return _report(stopped_by(interrupt), debug=debug)
    except Exception as error:  # the boundary: whatever ends a command is told in one line
        if isinstance(error, OSError):
            _silence(sys.stdout)  # it may be what could not be written to
        return _report(error, debug=debug)
    return code if isinstance(code, int) else ExitCode.OK


def _lift_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    ours, rest = list(arguments[:end]), list(arguments[end:])
    debug = _DEBUG in ours
    return [argument for argument in ours if argument != _DEBUG] + rest, debug


def _report(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    message, hint, code = _told(error)
    lines = [f"error: {one_line(message)}", *([f"hint: {one_line(hint)}"] if hint else [])]
    try:
        print("\n".join(lines), file=sys.stderr, flush=True)
    except OSError:  # nobody can be told, but the code still tells
        _silence(sys.stderr)
    return code


def _told(error: Exception) -> tuple[str, str | None, int]:
    """(message, hint, exit code)"""
    if isinstance(error, GessoError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, _TYPER_USAGE_ERROR):
        return *_usage(error), ExitCode.USAGE
    if isinstance(error, typer.Abort):
        return "Interrupted", None, ExitCode.INTERRUPTED
    if isinstance(error, MemoryError):
        return "Out of memory", "use a smaller picture or a smaller model", ExitCode.RESOURCES
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"Could not write: {error.strerror}", "free some space", ExitCode.RESOURCES
    if isinstance(error, OSError) and error.filename is not None:
        return f"`{error.filename}`: {error.strerror}", "check the path and the rights", ExitCode.RESOURCES
    hint = f"run it again with `{_DEBUG}` for the traceback"
    return f"internal error: {type(error).__name__}: {error}", hint, ExitCode.INTERNAL


def _usage(error: Any) -> tuple[str, str]:
    """Typer's message in our punctuation, and where to look."""
    context = error.ctx
    path = context.command_path if context else "gesso"
    option = getattr(error, "option_name", None)
    if option and type(error).__name__ == "NoSuchOption":
        if context and option in _global_options(context):
            command = path.removeprefix("gesso").strip()
            return f"`{option}` is not an option of `{command}`", f"it goes before the command: `gesso {option} …`"
        nearest = ", ".join(error.possibilities or ())
        return f"Unknown option: `{option}`", f"nearest: {nearest}" if nearest else f"`{path} --help` lists the options"
    message = error.format_message().replace("'", "`").rstrip(".") + _found(error)
    return message, f"`{path} --help` tells how it is used"


def _found(error: Any) -> str:
    """The value that was refused: Typer leaves it out, but the error below has it."""
    cause = error.__cause__
    return f" (found `{cause.errors()[0]['input']}`)" if hasattr(cause, "errors") else ""


def _global_options(context: Any) -> set[str]:
    root = context.find_root()
    return {name for parameter in root.command.params for name in parameter.opts} if root is not context else set()


def _silence(stream: TextIO) -> None:
    """Give what is still buffered somewhere to go, or Python complains about the closed pipe at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
