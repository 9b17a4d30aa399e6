"""Events on their way to whoever wants them, without ever making a worker wait."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

from gesso.core.clock import utc_now
from gesso.core.events import TERMINAL_KINDS, Event, PreviewReady, StepCompleted

QUEUE_LENGTH = 1024
"""Undelivered events of a slow reader; beyond it previews go first, then steps that later steps have overtaken."""

News = tuple[type[Any], str, dict[str, Any]]
"""Event class, time and fields; the sequence number is given on delivery, so that it has no gaps."""


class EventStream:
    """The events of one request for one reader."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self._news: deque[News] = deque()
        self._changed = threading.Condition()
        self._delivered = 0
        self._ended = False

    def publish(self, news: News) -> None:
        """Add an event; never blocks. Nothing follows a terminal event."""
        with self._changed:
            if self._ended:
                return
            self._ended = news[0].model_fields["kind"].default in TERMINAL_KINDS
            self._news.append(news)
            if len(self._news) > QUEUE_LENGTH:
                self._shed()
            self._changed.notify_all()

    def _shed(self) -> None:
        for droppable in (PreviewReady, StepCompleted):
            for index, (kind, _, _) in enumerate(self._news):
                if kind is droppable:
                    del self._news[index]
                    return

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event; `None` after the last one. Raises `TimeoutError` if none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._news or self._ended, timeout):
                raise TimeoutError
            if not self._news:
                return None
            kind, time, fields = self._news.popleft()
            event: Event = kind(request_id=self.request_id, sequence=self._delivered, time=time, **fields)
            self._delivered += 1
            return event

    def __iter__(self) -> Iterator[Event]:
        while (event := self.next()) is not None:
            yield event


def news(kind: type[Any], **fields: Any) -> News:
    """An event that happens now."""
    return kind, utc_now(), fields


class Dispatcher:
    """Calls listeners on one thread of its own, in order, so that a slow one never stops a worker."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._queue: SimpleQueue[tuple[Callable[[Event], None], EventStream] | None] = SimpleQueue()
        self._report = report
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def publish(self, stream: EventStream, listener: Callable[[Event], None], news: News) -> None:
        """Queue one event for `listener`."""
        with self._lock:  # one thread for all listeners, also if two requests publish their first event at once
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="gesso-events", daemon=True)
                self._thread.start()
        stream.publish(news)
        self._queue.put((listener, stream))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            listener, stream = item
            try:
                event = stream.next(timeout=0)
                if event is not None:
                    listener(event)
            except TimeoutError:
                pass  # shed while it waited
            except BaseException as error:  # the boundary: a broken listener must not silence the others
                self._report(error)

    def close(self) -> None:
        """End the thread; does not wait for long where a listener blocks, nor at all where a listener closes."""
        if self._thread is not None:
            self._queue.put(None)
            if threading.current_thread() is not self._thread:
                self._thread.join(timeout=10)
