"""The benchmark on an accelerator; left out, and said so, where there is none."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import concurrency
from benchmarks.concurrency import HOMOGENEOUS, Cell, Plan, Subject
from benchmarks.progress import tell
from gesso.devices import choose

_CLIENTS = (1, 4, 8)
_TWO_ARMS = ("lock", "fast")
"""Of a model that fits twice into a large card and not four times."""


def run(
    *,
    repeats: int = 5,
    deadline: float | None = None,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any] | None:
    """Every arm with 1, 4 and 8 clients for each model; `None` without an accelerator. JSON.

    Args:
        keep: given what there is so far after each model.

    Whether outputs are finite is checked by Gesso at every call: the `fast` and `exact` arms fail otherwise, and the
    pictures of the others are compared with theirs.
    """
    device = choose.choose(None)
    if not device.accelerator:
        tell("gpu: left out, this machine has no accelerator that torch can use")
        return None
    arms = tuple(arm for arm in concurrency.ARMS if arm != "litserve" or importlib.util.find_spec("litserve"))
    plan = Plan(
        subjects=subjects(device.name),
        arms=arms,
        repeats=repeats,
        ceiling_seconds=1.0,
        threads=(1,),
        device=device.name,
    )
    return concurrency.run(plan, deadline=deadline, keep=keep)


def subjects(device: str) -> tuple[Subject, ...]:
    """Models and sizes; each model is written once and used at all its sizes."""
    cells = tuple(Cell(kind=HOMOGENEOUS, clients=clients, seconds=2.0) for clients in _CLIENTS)
    sizes = (
        ("SD15", "SD 1.5", 512, 10, None),
        ("SDXL", "SDXL", 512, 10, None),
        ("SDXL", "SDXL", 1024, 6, None),
        ("FLUX", "Flux size", 1024, 4, _TWO_ARMS),
    )
    return tuple(
        Subject(
            name=f"{title}, {side}²",
            model=lambda folder, name=name: _written(name, folder, device),
            steps=steps,
            cells=cells,
            size_px=side,
            arms=arms,
        )
        for name, title, side, steps, arms in sizes
    )


def _written(name: str, folder: Path, device: str) -> str:
    from benchmarks.gpu import models

    path = folder / name.lower()
    if not path.exists():
        tell(f"gpu: writing {name}")
        models.save(getattr(models, name), path, device=device)
    return str(path)
