"""What a process that holds one arm does with the commands of the benchmark."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arms.base import Arm, Made
from gesso.core.requests import ImageRequest
from gesso.engine.bench.clients import Load, closed_loop

Answer = dict[str, Any]
"""What can be written as JSON."""


def serve(arm: Arm, command: dict[str, Any]) -> Answer:
    """Do what one command says: `load`, `urgent`, `count` or `threads`."""
    match command["do"]:
        case "load":
            requests = [ImageRequest.model_validate(request) for request in command["requests"]]
            load = closed_loop(lambda i: arm.make(requests[i]), count=len(requests), clients=command["clients"])
            return told(load, pixels=command.get("pixels"))
        case "urgent":
            long, urgent = (
                [ImageRequest.model_validate(request) for request in command[name]] for name in ("long", "urgent")
            )
            latencies = urgent_latencies(arm.make, long=long, urgent=urgent, pause_seconds=command["pause_seconds"])
            return {"latencies": latencies}
        case "count":
            request = ImageRequest.model_validate(command["request"])
            load = closed_loop(lambda _: arm.make_count(request), count=1, clients=1)
            made = load.served[0].value
            _keep(made, command.get("pixels"))
            return {"seconds": load.seconds, **_work(made)}
        case "threads":
            arm.use_threads(command["threads"])
            return {}
        case other:
            raise ValueError(f"unknown command `{other}`")


def told(load: Load[Made], *, pixels: str | None) -> Answer:
    """A load as JSON; its pictures go into a file, by the number of their request."""
    made = [each.value for each in load.served]
    _keep(made, pixels)
    services = [one.service_seconds for one in made]
    return {
        "seconds": load.seconds,
        "latencies": load.latencies,
        "service_seconds": [seconds for seconds in services if seconds is not None],
        **_work(made),
    }


def _work(made: Sequence[Made]) -> Answer:
    return {
        "pictures": len(made),
        "rows": sum(one.rows for one in made),
        "forwards": sum(one.forwards for one in made),
        "network_rows": sum(one.network_rows for one in made),
        "padded_rows": sum(one.padded_rows for one in made),
    }


def _keep(made: Sequence[Made], path: str | None) -> None:
    if path is not None:
        arrays: dict[str, Any] = {str(index): one.pixels for index, one in enumerate(made)}
        np.savez(Path(path), **arrays)


def urgent_latencies(
    make: Callable[[ImageRequest], object],
    *,
    long: Sequence[ImageRequest],
    urgent: Sequence[ImageRequest],
    pause_seconds: float,
) -> list[float]:
    """Latencies in seconds of `urgent` requests, one after another, while as many clients as `long` has go on and on.

    Args:
        pause_seconds: between two urgent requests; varied, so that they do not fall in step with the others.
    """
    enough = threading.Event()
    errors: list[BaseException] = []

    def client(request: ImageRequest) -> None:
        try:
            while not enough.is_set():
                make(request)
        except BaseException as error:  # the boundary: raised again below
            errors.append(error)

    threads = [threading.Thread(target=client, args=(request,), daemon=True) for request in long]
    for thread in threads:
        thread.start()
    latencies: list[float] = []
    try:
        for index, request in enumerate(urgent):
            time.sleep(pause_seconds * (1 + 0.37 * (index % 3)))
            start = time.perf_counter()
            make(request)
            latencies.append(time.perf_counter() - start)
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return latencies
