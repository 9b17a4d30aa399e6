"""Models that a request names and that are not here: fetched one after the other, then it is made."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gesso.core.errors import NotHereError

if TYPE_CHECKING:
    from gesso.core.requests import ImageRequest

T = TypeVar("T")
Fetch = Callable[[NotHereError], Path]
"""Fetches what is missing: where it is now."""


def with_models_here(request: "ImageRequest", attempt: Callable[["ImageRequest"], T], fetch: Fetch) -> T:
    """What `attempt` gives for a request whose models are all here.

    Raises:
        NotHereError: a model is not, and is not fetched; or still is not after that.
    """
    fetched: set[str] = set()
    while True:
        try:
            return attempt(request)
        except NotHereError as missing:
            if missing.what in fetched:
                raise
            fetched.add(missing.what)
            request = _naming(request, missing, fetch(missing))


def _naming(request: "ImageRequest", missing: NotHereError, path: Path) -> "ImageRequest":
    """The same request of a model that now is here. A link is not kept in recipes; where it led to is."""
    if path.is_dir():
        return request
    refiner = request.refiner
    refines = refiner is not None and refiner.model == missing.what
    if refiner is not None and refines:
        request = request.model_copy(update={"refiner": refiner.model_copy(update={"model": str(path)})})
    return request if refines and request.model != missing.what else request.model_copy(update={"model": str(path)})
