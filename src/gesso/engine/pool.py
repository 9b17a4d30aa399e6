"""Threads for pictures: how many run at once, and whose turn is next.

A picture is the unit of work, so a request for 1000 can be overtaken between two of them. Pictures of lower priority do
not count against the limit: an urgent request never waits for a whole picture of somebody patient.
"""

import threading
from collections.abc import Callable
from typing import Protocol


class ImageSource(Protocol):
    """A request as the pool sees it."""

    @property
    def priority(self) -> int: ...

    def remaining(self) -> int:
        """Pictures that were not started yet; 0 lets the pool forget the request."""
        ...

    def ready(self) -> bool:
        """Whether a picture could be started now."""
        ...

    def started(self) -> int:
        """Pictures started so far: requests of equal priority take turns."""
        ...

    def start(self) -> Callable[[], None]:
        """Claim the next picture; the function makes it and raises nothing."""
        ...


class ImagePool:
    """Runs pictures of many requests on threads, at most `max_images` of the same or a higher priority at a time."""

    def __init__(self, *, max_images: int) -> None:
        self.max_images = max_images
        self._changed = threading.Condition()
        self._sources: list[ImageSource] = []
        self._running: list[int] = []
        self._closed = False

    def add(self, source: ImageSource) -> None:
        """Take a request on."""
        with self._changed:
            self._sources.append(source)
        self.wake()

    def wake(self) -> None:
        """Start whatever can be started now."""
        while (claimed := self._claim()) is not None:
            try:
                threading.Thread(target=self._work, args=claimed, name="gesso-image", daemon=True).start()
            except RuntimeError:  # the system gives no more threads: slower on this one, but made
                self._work(*claimed)

    def _claim(self) -> tuple[int, Callable[[], None]] | None:
        with self._changed:
            if self._closed:
                return None
            self._sources = [source for source in self._sources if source.remaining()]
            candidates = [source for source in self._sources if source.ready() and self._has_room(source.priority)]
            if not candidates:
                return None
            # min() takes the first of equals, and requests stand in the order they came.
            source = min(candidates, key=lambda source: (-source.priority, source.started()))
            self._running.append(source.priority)
            return source.priority, source.start()

    def _has_room(self, priority: int) -> bool:
        return sum(running >= priority for running in self._running) < self.max_images

    def _work(self, priority: int, make: Callable[[], None]) -> None:
        try:
            make()
        finally:
            with self._changed:
                self._running.remove(priority)
                self._changed.notify_all()
            self.wake()

    def close(self) -> list[ImageSource]:
        """Start nothing more; the requests whose pictures were not all started."""
        with self._changed:
            self._closed = True
            return [source for source in self._sources if source.remaining()]

    def wait(self, timeout: float) -> None:
        """Until no picture runs any more, or `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, timeout=timeout)
