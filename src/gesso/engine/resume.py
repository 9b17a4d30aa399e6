"""The journal of a request: a folder from which a killed job goes on where it was."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from gesso.components.journal import Journal
from gesso.core.errors import InputError
from gesso.core.files import remove_leftovers, write_atomically
from gesso.core.requests import DELIVERY_FIELDS, ImageRequest, ResolvedImageRequest

_REQUEST = "request.json"
_SAVED = "saved.json"


class RequestJournal:
    """What is kept of one request: what was asked and decided, finished component calls, and where pictures went."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resume(self, asked: ImageRequest, resolve: Callable[[], ResolvedImageRequest]) -> ResolvedImageRequest:
        """What was decided when the journal was begun, the drawn seed above all; begins it if it is new.

        Raises:
            InputError: the journal belongs to another request, or its file is damaged.
        """
        path = self.folder / _REQUEST
        if not path.is_file():
            resolved = resolve()
            kept = {"asked": asked.model_dump(mode="json"), "resolved": resolved.model_dump(mode="json")}
            write_atomically(path, json.dumps(kept).encode())
            return resolved
        try:
            kept = json.loads(path.read_bytes())
            began = ImageRequest.model_validate(kept["asked"])
            resolved = ResolvedImageRequest.model_validate(kept["resolved"])
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise _damaged(path) from error
        if _determining(began) != _determining(asked):
            raise InputError(
                f"The journal `{self.folder}` was begun by another request", hint="give each request its own folder"
            )
        return resolved

    def calls(self, name: str, *, run: str = "") -> Journal:
        """The calls of one picture (`00000`, …), or of the conditioning that all share, made by `run`."""
        return Journal(self.folder / name, run=run)

    def saved(self) -> dict[int, Path]:
        """Pictures that were written already, by index. One that somebody removed is made again."""
        path = self.folder / _SAVED
        if not path.is_file():
            return {}
        try:
            places = {int(index): Path(where) for index, where in json.loads(path.read_bytes()).items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise _damaged(path) from error
        return {index: where for index, where in places.items() if where.is_file()}

    def mark_saved(self, index: int, where: Path) -> None:
        """A picture is safe: it is not made again, and its calls are not needed any more."""
        saved = {str(key): str(value) for key, value in self.saved().items()} | {str(index): str(where.resolve())}
        write_atomically(self.folder / _SAVED, json.dumps(saved).encode())
        self.calls(f"{index:05d}").discard()

    def discard(self) -> None:
        """Everything is done."""
        for part in sorted(path for path in self.folder.glob("*") if path.is_dir()):
            Journal(part).discard()
        for name in (_REQUEST, _SAVED):
            (self.folder / name).unlink(missing_ok=True)
        remove_leftovers(self.folder)
        with suppress(OSError):  # not there, or somebody else keeps something in it
            self.folder.rmdir()


def _damaged(path: Path) -> InputError:
    return InputError(f"`{path}` is damaged", hint="remove the folder to begin anew")


def _determining(request: ImageRequest) -> ImageRequest:
    return request.model_copy(update={name: ImageRequest.model_fields[name].default for name in DELIVERY_FIELDS})
