"""`python -m benchmarks [PART...]`: measure, keep the figures, write the page."""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import concurrency, conversion, guidance, latency, overhead, person, results, startup
from benchmarks.gpu import part as gpu
from benchmarks.machine import load_average
from benchmarks.progress import tell
from benchmarks.report import page
from gesso.cli.boundary import prepare_process
from gesso.devices.cpu import usable_cores

_MINUTES = 21.0
"""Repeats are left out where a part would not be done by its share of this time."""
_SHARES = {"person": 0.06, "latency": 0.12, "editing": 0.12}
"""Of these minutes, at most, before a part makes fewer repeats: a slow machine shall still get to the longest part."""
_BUSY = 0.25
"""Load for each core from which on a machine is not idle."""


def main() -> None:
    """Measure the parts asked for, all by themselves; then write the page of whatever has been measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of {', '.join(results.PARTS)}; all by themselves. And, only when asked for, {results.CONVERSION}",
    )
    parser.add_argument("--install", action="store_true", help="also from clone to picture; needs a package index")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help="make fewer repeats after so long")
    parser.add_argument("--page-only", action="store_true", help="write the page again from what was measured")
    asked = parser.parse_args()
    known = (*results.PARTS, results.CONVERSION)
    unknown = [part for part in asked.parts if part not in known]
    if unknown:
        parser.error(f"unknown part `{unknown[0]}`; there are {', '.join(known)}")
    prepare_process()
    load_before = load_average()
    if load_before is not None and load_before > _BUSY * usable_cores():
        tell(
            f"warning: the load of this machine is {load_before}: others compute, and the figures will be worth little"
        )
    if not asked.page_only:
        _measure(asked.parts or list(results.PARTS), minutes=asked.minutes, load_before=load_before)
        if asked.install:
            _keep(results.INSTALL, startup.install, load_before)
    tell(f"wrote {page.write()}")


def _measure(parts: list[str], *, minutes: float, load_before: float | None) -> None:
    deadline = time.monotonic() + minutes * 60

    def by(part: str) -> float:
        return min(deadline, time.monotonic() + _SHARES[part] * minutes * 60)

    measures: dict[str, Callable[[], dict[str, Any] | None]] = {
        "startup": startup.run,
        "overhead": overhead.run,
        "person": lambda: person.run(deadline=by("person")),
        "guidance": guidance.run,
        "latency": lambda: latency.run(deadline=by("latency")),
        "editing": lambda: concurrency.run(concurrency.editing_plan(), deadline=by("editing")),
        # Last but one, because it is the longest, and makes fewer repeats when time runs out.
        "concurrency": lambda: concurrency.run(concurrency.full_plan(), deadline=deadline),
        # Kept after each model: time on a lent card may end before the last.
        "gpu": lambda: gpu.run(
            deadline=deadline, keep=partial(_write, "gpu", begun=time.monotonic(), load_before=load_before)
        ),
        results.CONVERSION: conversion.run,
    }
    for part, measure in measures.items():
        if part in parts:
            _keep(part, measure, load_before)


def _keep(part: str, measure: Callable[[], dict[str, Any] | None], load_before: float | None) -> None:
    begun = time.monotonic()
    figures = measure()
    if figures is not None:
        _write(part, figures, begun=begun, load_before=load_before)


def _write(part: str, figures: dict[str, Any], *, begun: float, load_before: float | None) -> None:
    path = results.write(part, figures, minutes=(time.monotonic() - begun) / 60, load_before=load_before)
    tell(f"wrote {path}")


if __name__ == "__main__":
    main()
