"""Plain diffusers behind one lock: one picture after another, in the order of arrival, as most studios do."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import PriorityQueue
from typing import Any

import torch

from benchmarks.arms.base import Made, pixels_of
from benchmarks.arms.counting import DenoiserCount
from benchmarks.resolving import description_of, resolved_on
from gesso.core.requests import ImageRequest
from gesso.engine.bench.plain import PlainModel


class LockArm:
    """One thread computes and the others wait: what a lock comes to, without an OpenMP team for each who holds it.

    Args:
        urgent_first: serve requests by priority and not by arrival: a kinder lock than most have.
        batched: make a request for several pictures as one batch of the pipeline, not in a loop.
    """

    def __init__(
        self, model: str, *, threads: int, device: str, urgent_first: bool = False, batched: bool = False
    ) -> None:
        self._device = device
        self._batched = batched
        self._urgent_first = urgent_first
        self._waiting: PriorityQueue[tuple[int, int, Callable[[], None] | None]] = PriorityQueue()
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self.use_threads(threads)
        self._plain: PlainModel = self._run(lambda: _load(model, device))
        self._count = DenoiserCount(self._plain.modules)

    def make(self, request: ImageRequest) -> Made:
        priority = request.priority if self._urgent_first else 0
        return self._run(lambda: self._make(request), priority=priority)

    def make_count(self, request: ImageRequest) -> list[Made]:
        """`count` runs in a loop, or one run of a batch."""
        seed = request.seed or 0
        alone = [request.model_copy(update={"seed": seed + i, "count": 1}) for i in range(request.count)]
        return self._run(lambda: self._together(alone)) if self._batched else [self.make(each) for each in alone]

    def use_threads(self, threads: int) -> None:
        self._run(lambda: _use_threads(threads))

    def close(self) -> None:
        self._waiting.put((1_000, next(self._order), None))
        self._thread.join(timeout=60)

    def _make(self, request: ImageRequest) -> Made:
        (made,) = self._together([request])
        return made

    def _together(self, requests: list[ImageRequest]) -> list[Made]:
        resolved = [resolved_on(request, self._device) for request in requests]
        start = time.perf_counter()
        images = self._plain.make(resolved)
        seconds = time.perf_counter() - start
        rows, forwards = self._count.take()
        return [
            Made(
                pixels=pixels_of(image),
                rows=rows // len(images),
                forwards=forwards / len(images),
                service_seconds=seconds,
            )
            for image in images
        ]

    def _run(self, job: Callable[[], Any], *, priority: int = 0) -> Any:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except BaseException as error:  # the boundary: it belongs to who asked
                future.set_exception(error)

        self._waiting.put((-priority, next(self._order), run))
        return future.result()

    def _live(self) -> None:
        while (job := self._waiting.get()[2]) is not None:
            job()


def _use_threads(threads: int) -> None:
    torch.get_num_threads()  # a thread's first use of torch takes over the count that any thread set last
    torch.set_num_threads(threads)


def _load(model: str, device: str) -> PlainModel:
    return PlainModel(description_of(model), resolved_on(ImageRequest(model=model), device))
