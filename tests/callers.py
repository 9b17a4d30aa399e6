"""Threads that call hosted networks, and a worker that can be held until all of them have."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from typing import Any

from gesso.components.call import Call
from gesso.components.scope import ImageScope, entered
from gesso.components.worker import DeviceWorker
from toys import TIMEOUT_SECONDS


class HoldableWorker(DeviceWorker):
    """A worker that tells when a call was queued and that can be kept from running anything."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.queued = threading.Semaphore(0)
        super().__init__(*args, **kwargs)

    def submit(self, call: Call) -> None:
        super().submit(call)
        self.queued.release()

    def wait_for_queued(self, count: int = 1) -> None:
        """Until so many more calls were queued."""
        for _ in range(count):
            assert self.queued.acquire(timeout=TIMEOUT_SECONDS), "no call came"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing runs during the block, so that calls pile up."""
        holding, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            holding.set()
            assert let_go.wait(TIMEOUT_SECONDS), "the worker was never let go"

        done = self.run(hold)
        assert holding.wait(TIMEOUT_SECONDS), "the worker never came"
        try:
            yield
        finally:
            let_go.set()
            done.result(TIMEOUT_SECONDS)


class Caller:
    """A thread of its own that runs one function, as a picture's thread runs its pipeline."""

    def __init__(self, function: Callable[[], Any], scope: ImageScope | None = None) -> None:
        self._future: Future[Any] = Future()
        self._function = function
        self._scope = scope
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            with nullcontext() if self._scope is None else entered(self._scope):
                self._future.set_result(self._function())
        except BaseException as error:
            self._future.set_exception(error)

    def result(self, timeout: float = TIMEOUT_SECONDS) -> Any:
        return self._future.result(timeout)

    def error(self, timeout: float = TIMEOUT_SECONDS) -> BaseException:
        """What the function raised."""
        error = self._future.exception(timeout)
        assert error is not None, "nothing was raised"
        return error

    def done(self) -> bool:
        return self._future.done()


def together(
    worker: HoldableWorker, functions: Sequence[Callable[[], Any]], scopes: Sequence[ImageScope] | None = None
) -> list[Caller]:
    """Run each function on a thread of its own, such that the first call of each is waiting before any of them runs.

    The calls are queued in the order of `functions`.
    """
    callers: list[Caller] = []
    with worker.held():
        for index, function in enumerate(functions):
            callers.append(Caller(function, scopes[index] if scopes else None))
            worker.wait_for_queued()
    return callers


def results(callers: Sequence[Caller]) -> list[Any]:
    return [caller.result() for caller in callers]
