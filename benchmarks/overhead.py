"""What the Python around the networks costs: pictures of networks that answer at once.

`python -m benchmarks.overhead MODEL` in a process of its own, because it takes the networks out.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.arms.gesso import GessoArm
from benchmarks.resolving import description_of, resolved_on
from benchmarks.workloads import homogeneous
from gesso.backends.eager import EagerBackend
from gesso.cli.boundary import prepare_process
from gesso.components.tree import mapped, tensors
from gesso.engine.bench.plain import PlainModel

CLIENTS = (1, 2, 4, 8)
_STEPS = (1, 21)
_PICTURES = 3
"""For each client."""
_REPEATS = 5
_ROOT = Path(__file__).parents[1]


def run(model: str = "primer") -> dict[str, Any]:
    """Milliseconds of a picture of one step and of each further step. JSON."""
    command = [sys.executable, "-m", "benchmarks.overhead", model]
    said = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(said.stdout.splitlines()[-1])


class Remembering:
    """Stands for every method of every network: runs once for each shape, and then gives copies of what came out."""

    def __init__(self) -> None:
        self._given: dict[Any, Any] = {}

    def __call__(self, key: Any, arguments: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
        key = (key, *(leaf.shape for leaf in tensors(dict(arguments))))
        if key not in self._given:
            self._given[key] = compute()
        return mapped(self._given[key], lambda _, leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf)


def _gesso(model: str) -> Callable[[int, int], object]:
    remembering, compute = Remembering(), EagerBackend.run

    def instant(self: EagerBackend, module: torch.nn.Module, method: str, arguments: Mapping[str, Any]) -> Any:
        return remembering(
            (id(module), method), arguments, lambda: compute(self, module=module, method=method, arguments=arguments)
        )

    EagerBackend.run = instant
    arm = GessoArm(model, threads=1, device="cpu", exact=False)

    def make(steps: int, clients: int) -> None:
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(arm.make, homogeneous(model, _PICTURES * clients, steps=steps)))

    return make


def _diffusers(model: str) -> Callable[[int, int], object]:
    remembering = Remembering()
    requests = {
        steps: [resolved_on(each, "cpu") for each in homogeneous(model, _PICTURES, steps=steps)] for steps in _STEPS
    }
    plain = PlainModel(description_of(model), requests[_STEPS[0]][0])
    for module in plain.modules.values():
        for method in ("forward", "decode"):
            if (compute := getattr(module, method, None)) is not None:
                setattr(module, method, _instant(remembering, (id(module), method), compute))

    def make(steps: int, _clients: int) -> None:
        for request in requests[steps]:
            plain.make([request])

    return make


def _instant(remembering: Remembering, key: Any, compute: Callable[..., Any]) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        given = {str(index): value for index, value in enumerate(args)} | kwargs
        return remembering(key, given, lambda: compute(*args, **kwargs))

    return method


def _milliseconds(make: Callable[[int, int], object], steps: int, clients: int) -> tuple[float, float]:
    """Processor time and time of one picture."""
    used, begun = time.process_time(), time.perf_counter()
    make(steps, clients)
    pictures = _PICTURES * clients
    return (time.process_time() - used) / pictures * 1e3, (time.perf_counter() - begun) / pictures * 1e3


def main() -> None:
    """Measure, and print one line of JSON."""
    (model,) = sys.argv[1:]
    prepare_process()
    torch.set_num_threads(1)
    ways = [("diffusers", 1, _diffusers(model))]
    gesso = _gesso(model)
    ways += [("Gesso", clients, gesso) for clients in CLIENTS]
    found: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
    for _ in range(_REPEATS + 1):
        for name, clients, make in ways:
            for steps in _STEPS:
                found.setdefault((name, clients, steps), []).append(_milliseconds(make, steps, clients))
    rows: list[dict[str, Any]] = []
    for name, clients, _ in ways:
        first, last = (
            [median(each[kind] for each in found[name, clients, steps][1:]) for kind in (0, 1)] for steps in _STEPS
        )  # without the first time, which computes what is remembered
        each_step = [(late - early) / (_STEPS[1] - _STEPS[0]) for early, late in zip(first, last, strict=True)]
        rows.append({"way": name, "clients": clients, "first_ms": first, "step_ms": each_step})
    print(json.dumps({"model": model, "rows": rows}))


if __name__ == "__main__":
    main()
