"""The one thread that computes on a device."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from gesso.components.batcher import Batcher
from gesso.components.call import Call
from gesso.components.execute import Executor
from gesso.components.residency import Residency
from gesso.components.scope import ImageScope
from gesso.core.clock import Clock, MonotonicClock
from gesso.core.errors import CancelledError, ClosedError
from gesso.devices.base import Device

logger = logging.getLogger(__name__)
T = TypeVar("T")


class DeviceWorker:
    """Takes calls from any thread, runs them merged, in order of priority and age, one batch after another.

    Args:
        threads: CPU threads that a network computes with; the count is the worker thread's own.
    """

    def __init__(
        self, device: Device, *, threads: int, residency: Residency | None = None, clock: Clock | None = None
    ) -> None:
        self.device = device
        self.threads = threads
        self.clock = clock or MonotonicClock()
        self.residency = residency or Residency(torch.device(device.name))
        self._batcher = Batcher()
        self._executor = Executor(device, self.residency)
        self._jobs: deque[tuple[Callable[[], None], Future[Any]]] = deque()
        self._awake = threading.Condition()
        self._end: str | None = None
        self._running: list[Call] = []
        self._thread = threading.Thread(target=self._live, name=f"gesso-{device.name}", daemon=True)
        self._thread.start()

    def is_current(self) -> bool:
        """Whether the calling thread is this worker's."""
        return threading.current_thread() is self._thread  # an ident is given to another thread after a death

    def submit(self, call: Call) -> None:
        """Queue a call; its answer is a future. Raises `ClosedError` once the worker is gone."""
        with self._awake:
            self._raise_if_ended()
            self._batcher.add(call)
            self._awake.notify()

    def run(self, job: Callable[[], T]) -> "Future[T]":
        """Run `job` on the worker's thread between two batches: whatever changes a hosted module must be one."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except BaseException as error:  # the boundary: the error belongs to whoever gave the job
                future.set_exception(error)
                if not isinstance(error, Exception):
                    raise  # the worker dies of it, with everybody answered

        if self.is_current():
            run()
            return future
        with self._awake:
            self._raise_if_ended()
            self._jobs.append((run, future))
            self._awake.notify()
        return future

    def withdraw(self, scope: ImageScope) -> None:
        """Fail the waiting calls of a picture that was cancelled or ran out of time."""
        with self._awake:
            removed = self._batcher.remove(scope)
            self._batcher.leave(scope)
        for call in removed:
            if not call.answer.done():
                call.answer.set_exception(CancelledError())

    def leave(self, scope: ImageScope) -> None:
        """A picture makes no further calls."""
        with self._awake:
            self._batcher.leave(scope)
            self._awake.notify()

    def close(self) -> None:
        """Finish the batch that runs; fail every waiting call at once. Safe to call again."""
        self._finish("The studio was closed")
        if not self.is_current():
            self._thread.join(timeout=60)

    def _raise_if_ended(self) -> None:
        if self._end is not None:
            raise ClosedError(self._end)

    def _live(self) -> None:
        reason = f"The worker of `{self.device.name}` died"
        try:
            torch.get_num_threads()  # a thread's first use of torch takes over the count that any thread set last
            torch.set_num_threads(self.threads)
            while self._turn():
                pass
        except BaseException as error:
            reason = f"The worker of `{self.device.name}` died: {type(error).__name__}: {error}"
            logger.critical(reason, exc_info=error)
        finally:
            self._finish(reason)

    def _turn(self) -> bool:
        """One job or one batch; false once the worker shall end."""
        self._executor.make_room()
        with self._awake:
            while True:
                if self._end is not None:
                    return False
                if self._jobs:
                    job, _ = self._jobs.popleft()
                    break
                taken = self._batcher.take(self.clock.now())
                if isinstance(taken, list):
                    self._running = taken
                    job = None
                    break
                self._awake.wait(timeout=None if taken is None else max(0.0, taken.time - self.clock.now()))
        if job is not None:
            job()
        else:
            self._executor.run(self._running)
            self._running = []
        return True

    def _finish(self, reason: str) -> None:
        with self._awake:
            if self._end is None:
                self._end = reason
            waiting = self._batcher.drain()
            if not self._thread.is_alive() or self.is_current():
                waiting += self._running  # died in the middle of it; nobody else will answer
            jobs, self._jobs = self._jobs, deque()
            self._awake.notify_all()
        for call in waiting:
            if not call.answer.done():
                call.answer.set_exception(ClosedError(self._end))
        for _, future in jobs:  # not run here: this thread may not touch hosted modules
            future.set_exception(ClosedError(self._end))
