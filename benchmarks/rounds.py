"""Interleaved repeats: every arm once, then every arm again, so that a machine that slows down slows all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import equality
from benchmarks.equality import NOTHING, Equality
from benchmarks.process import ArmProcess
from benchmarks.workloads import as_json
from gesso.core.requests import ImageRequest

LEAST_REPEATS = 2
"""Made even when time has run out."""

Answers = dict[str, list[dict[str, Any]]]
"""What each arm answered, repeat by repeat."""


def interleaved(
    arms: Mapping[str, ArmProcess],
    ask: Callable[[ArmProcess], dict[str, Any]],
    *,
    repeats: int,
    deadline: float | None = None,
) -> Answers:
    """Ask every arm in turn, `repeats` times; who goes first changes.

    Args:
        deadline: on the monotonic clock; after it no repeat is begun beyond `LEAST_REPEATS`.
    """
    names = list(arms)
    answers: Answers = {name: [] for name in names}
    for repeat in range(repeats):
        if deadline is not None and repeat >= LEAST_REPEATS and time.monotonic() > deadline:
            break
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            answers[name].append(ask(arms[name]))
    return answers


def load(
    arm: ArmProcess, requests: Sequence[ImageRequest], *, clients: int, folder: Path | None, reference: Path | None
) -> dict[str, Any]:
    """One closed loop of one arm, its pictures compared with those at `reference` (which may be more)."""
    kept = None if folder is None else folder / f"{arm.name}.npz"
    answer = arm.ask(
        do="load",
        requests=as_json(list(requests)),
        clients=clients,
        pixels=None if kept is None else str(kept),
    )
    if kept is None or reference is None:
        return answer
    pictures = equality.read(kept)
    expected = {name: pixels for name, pixels in equality.read(reference).items() if name in pictures}
    same = equality.compare(expected, pictures)
    return answer | {"compared": same.compared, "equal": same.equal, "largest_difference": same.largest_difference}


def equality_of(answers: Sequence[Mapping[str, Any]]) -> Equality:
    """Over all repeats."""
    return sum(
        (
            Equality(
                compared=answer["compared"], equal=answer["equal"], largest_difference=answer["largest_difference"]
            )
            for answer in answers
        ),
        start=NOTHING,
    )
