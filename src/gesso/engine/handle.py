"""What a caller holds while a request runs, and what it gets."""

import asyncio
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from gesso.components.scope import CancelToken
from gesso.core.errors import GessoError
from gesso.core.events import Event
from gesso.core.recipe import AdapterReport, EmbeddingReport, Recipe
from gesso.core.requests import ImageRequest, ResolvedImageRequest
from gesso.core.settings import Settings
from gesso.engine import pictures
from gesso.engine.streams import Dispatcher, EventStream, News


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture and how it came to be."""

    image: Image.Image
    recipe: Recipe

    @property
    def index(self) -> int:
        """Number within its request, from 0."""
        return self.recipe.run.index


@dataclass(frozen=True, kw_only=True)
class Result:
    """All pictures of a request, in order."""

    pictures: tuple[Picture, ...]
    settings: Settings = field(repr=False)
    warnings: tuple[str, ...] = ()
    adapters: tuple[AdapterReport, ...] = ()
    """What became of the keys of each adapter."""
    embeddings: tuple[EmbeddingReport, ...] = ()
    """Where each embedding was read."""

    @property
    def images(self) -> list[Image.Image]:
        return [picture.image for picture in self.pictures]

    @property
    def recipes(self) -> list[Recipe]:
        return [picture.recipe for picture in self.pictures]

    def save(self, out: str | Path | None = None) -> list[Path]:
        """Write every picture with its recipe.

        Args:
            out: a file, if it ends in the suffix of a picture and there is one picture; otherwise a folder. By default
                the output folder of the settings.

        Raises:
            InputError: several pictures and one file name, or a suffix that does not fit the format asked for.
            StorageError: it could not be written; nothing half-written is left.
        """
        return pictures.save(
            self.images, self.recipes, out=Path(out) if out is not None else None, settings=self.settings
        )


class Handle:
    """A request that was accepted. Its methods may be called from any thread.

    Awaiting a handle waits for its result without blocking the event loop.
    """

    def __init__(
        self,
        request_id: str,
        asked: ImageRequest,
        resolved: ResolvedImageRequest,
        *,
        dispatcher: Dispatcher,
        listener: Callable[[Event], None] | None = None,
    ) -> None:
        self.id = request_id
        self.asked = asked
        self.resolved = resolved
        self.cancel_token = CancelToken()
        self._future: Future[Result] = Future()
        self._future.set_running_or_notify_cancel()  # who gives up waiting does not end the request
        self._dispatcher = dispatcher
        self._listener = listener
        self._for_listener = EventStream(request_id)
        self._streams: list[EventStream] = []
        self._history: list[News] = []
        self._lock = threading.Lock()
        self._done: dict[int, Picture] = {}

    def result(self, timeout: float | None = None) -> Result:
        """Wait for all pictures.

        Raises:
            TimeoutError: not done within `timeout` seconds; the request goes on.
            GessoError: what ended the request.
        """
        try:
            return self._future.result(timeout)
        except GessoError as error:
            raise error.fresh() from error  # several threads may wait: each gets an error of its own

    def done(self) -> bool:
        """Whether the request has ended, well or badly."""
        return self._future.done()

    def cancel(self) -> None:
        """End the request at its next component call; pictures that are done stay in `pictures`."""
        self.cancel_token.cancel()

    @property
    def pictures(self) -> list[Picture]:
        """The pictures that are done so far, in order; also after an error."""
        with self._lock:
            return [self._done[index] for index in sorted(self._done)]

    def events(self) -> Iterator[Event]:
        """Everything that happened and happens, until the end of the request. Each call starts from the beginning."""
        stream = EventStream(self.id)
        with self._lock:
            for item in self._history:
                stream.publish(item)
            self._streams.append(stream)
        return iter(stream)

    def __await__(self) -> Generator[Any, None, Result]:
        return self._awaited().__await__()

    async def _awaited(self) -> Result:
        try:
            return await asyncio.wrap_future(self._future)
        except GessoError as error:
            raise error.fresh() from error

    def publish(self, item: News) -> None:
        """Engine's side: something happened. Never blocks."""
        with self._lock:
            if item[0].__name__ not in {"StepCompleted", "PreviewReady"}:  # history is for those who come late
                self._history.append(item)
            for stream in self._streams:
                stream.publish(item)
        if self._listener is not None:
            self._dispatcher.publish(self._for_listener, self._listener, item)

    def add_picture(self, picture: Picture) -> None:
        """Engine's side: a picture is done."""
        with self._lock:
            self._done[picture.index] = picture

    def finish(self, result: Result | None, error: BaseException | None = None) -> None:
        """Engine's side: the request has ended."""
        if error is not None:
            self._future.set_exception(error)
        else:
            assert result is not None
            self._future.set_result(result)
