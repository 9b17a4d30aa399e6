"""Many clients at once: pictures a second, latencies, padding, memory and bytes of each arm."""

import itertools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import ladder
from benchmarks.ceiling import measured
from benchmarks.process import ArmProcess, started
from benchmarks.progress import tell
from benchmarks.rounds import interleaved, load
from benchmarks.workloads import editing, homogeneous, mixed
from gesso.core.requests import ImageRequest
from gesso.devices.cpu import usable_cores

ARMS = ("lock", "litserve", "fast", "exact")
HOMOGENEOUS, MIXED, EDITING = "homogeneous", "mixed", "editing"
_MIXED_STEPS = 15
"""On average."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One workload with one number of clients.

    Attributes:
        seconds: about how long the lock shall take for it; the number of pictures follows from it.
        rounds: pictures for each client at least.
    """

    kind: str
    clients: int
    seconds: float
    rounds: int = 1


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model and what it is measured at.

    Attributes:
        model: writes the model into a folder if need be; what the arms find it by.
        steps: of the homogeneous workload.
        size_px: of the pictures; `None` is the model's own.
        weight: how much of the time it gets, beside other subjects.
        arms: of those of the plan, which; `None` is all. Each holds the model, all at once.
    """

    name: str
    model: Callable[[Path], str]
    steps: int
    cells: tuple[Cell, ...]
    size_px: int | None = None
    weight: float = 1.0
    arms: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    subjects: tuple[Subject, ...]
    arms: tuple[str, ...] = ARMS
    repeats: int = 5
    ceiling_seconds: float = 1.5
    """For each number of threads."""
    threads: tuple[int, ...] = field(default_factory=lambda: tuple(sorted({1, usable_cores()})))
    """Numbers of threads that the lock is tried with; the last is what the others compute with."""
    device: str = "cpu"


_LADDER_CELLS = (
    Cell(kind=HOMOGENEOUS, clients=1, seconds=0.7, rounds=2),
    Cell(kind=HOMOGENEOUS, clients=8, seconds=1.6),
)
_LADDER_STEPS = {8: 8, 12: 8, 16: 8, 32: 4, 64: 2}
_PRIMER = Subject(
    name="primer",
    model=lambda _: "primer",
    steps=12,
    cells=(
        *(Cell(kind=HOMOGENEOUS, clients=clients, seconds=1.6) for clients in (1, 2, 4, 8, 16)),
        # Several rounds: at the end of a mixed list long pictures are left alone, which is not what is to be measured.
        *(
            Cell(kind=MIXED, clients=clients, seconds=2.0, rounds=rounds)
            for clients, rounds in ((4, 2), (8, 3), (16, 1))
        ),
    ),
    weight=6.0,
)


def full_plan() -> Plan:
    """What `make bench` measures."""
    return Plan(subjects=(_PRIMER, *(rung(side, _LADDER_STEPS[side], _LADDER_CELLS) for side in ladder.SIDES)))


def editing_plan() -> Plan:
    """Pictures of text, of pictures and under masks at once, on the primer."""
    cell = Cell(kind=EDITING, clients=8, seconds=2.0, rounds=3)  # each client asks for each kind
    return Plan(subjects=(replace(_PRIMER, cells=(cell,)),))


def rung(side: int, steps: int, cells: tuple[Cell, ...]) -> Subject:
    """The thin model of so many latents along each side."""
    return Subject(
        name=f"UNet {side}x{side}", model=lambda folder: str(ladder.save(folder, side)), steps=steps, cells=cells
    )


def run(
    plan: Plan,
    *,
    deadline: float | None = None,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure every subject. JSON.

    Args:
        keep: given what there is so far after each subject.
        deadline: on the monotonic clock. Each subject and each of its cells has its share of the time until then, and
            makes fewer repeats when that is over: so all are measured with equal care.
    """
    begun = time.monotonic()
    weights = [subject.weight for subject in plan.subjects]
    deadlines = [None] * len(weights) if deadline is None else shared_out(begun, deadline, weights)
    with tempfile.TemporaryDirectory(prefix="gesso-bench-") as folder:
        subjects: list[dict[str, Any]] = []
        found = {"arms": list(plan.arms), "threads": plan.threads[-1], "subjects": subjects}
        for subject, by in zip(plan.subjects, deadlines, strict=True):
            subjects.append(_subject(subject, plan, Path(folder), by))
            keep(found)
    return found


def shared_out(begun: float, deadline: float, weights: Sequence[float]) -> list[float]:
    """When each of several that follow each other shall be done, so that each has its share of the time. Seconds."""
    total = sum(weights)
    return [begun + (deadline - begun) * done / total for done in itertools.accumulate(weights)]


def _subject(subject: Subject, plan: Plan, folder: Path, deadline: float | None) -> dict[str, Any]:
    tell(f"{subject.name}: bare forwards")
    model = subject.model(folder)
    found = measured(
        model,
        threads=plan.threads,
        seconds=plan.ceiling_seconds,
        device=plan.device,
        size_px=subject.size_px,
    )
    names = [arm for arm in plan.arms if subject.arms is None or arm in subject.arms]
    tell(f"{subject.name}: starting {len(names)} arms")
    with started(names, model, threads=plan.threads[-1], device=plan.device) as arms:
        lock_threads, picture_seconds = _calibrated(arms["lock"], model, subject, plan.threads)
        tell(f"{subject.name}: {picture_seconds:.2f} s a picture behind the lock, best with {lock_threads} thread(s)")
        bench = _Bench(
            subject=subject,
            model=model,
            plan=plan,
            arms=arms,
            folder=folder,
            picture_seconds=picture_seconds,
            lock_threads=lock_threads,
        )
        cells = bench.measure_all(deadline=deadline)
        peaks = {name: arm.peak_bytes for name, arm in arms.items()}
    return {
        "name": subject.name,
        "steps": subject.steps,
        "row_seconds": {str(threads): dict(each.seconds) for threads, each in found.scaling.items()},
        "ceiling": found.ceiling(),
        "rows_alone": found.rows_alone,
        "flops_per_row": found.flops_per_row,
        "matmul_flops": found.matmul_flops,
        "lock_threads": lock_threads,
        "peak_bytes": peaks,
        "cells": cells,
    }


def _calibrated(lock: ArmProcess, model: str, subject: Subject, threads: Sequence[int]) -> tuple[int, float]:
    """(best number of threads, seconds for a picture with it) of plain diffusers."""
    requests = homogeneous(model, 2, steps=subject.steps, size_px=subject.size_px)
    taken: dict[int, list[float]] = {count: [] for count in threads}
    for turn in range(4):
        for count in threads:
            lock.ask(do="threads", threads=count)
            answer = load(lock, requests, clients=1, folder=None, reference=None)
            if turn:  # the first prepares kernels
                taken[count].append(answer["seconds"] / len(requests))
    best = min(threads, key=lambda count: median(taken[count]))
    lock.ask(do="threads", threads=best)
    return best, median(taken[best])


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """One subject whose arms stand ready.

    Attributes:
        picture_seconds: of the homogeneous workload, behind the lock.
        lock_threads: the number of threads that suits the lock best.
    """

    subject: Subject
    model: str
    plan: Plan
    arms: Mapping[str, ArmProcess]
    folder: Path
    picture_seconds: float
    lock_threads: int

    def measure_all(self, *, deadline: float | None) -> list[dict[str, Any]]:
        """Every cell of the subject as JSON."""
        cells = self.subject.cells
        if deadline is None:
            return [self.measure(cell, deadline=None) for cell in cells]
        pictures = [float(self._count(cell) * self._steps(cell)) for cell in cells]
        deadlines = shared_out(time.monotonic(), deadline, pictures)
        return [self.measure(cell, deadline=by) for cell, by in zip(cells, deadlines, strict=True)]

    def measure(self, cell: Cell, *, deadline: float | None) -> dict[str, Any]:
        """One cell as JSON: the answers of each arm, repeat by repeat."""
        begun = time.monotonic()
        requests = self._requests(cell.kind, self._count(cell))
        reference = self._reference(cell.kind)
        for arm in self.arms.values():  # kernels of every shape are prepared, servers have seen a request
            short = [request.model_copy(update={"steps": 2}) for request in requests[: cell.clients]]
            load(arm, short, clients=cell.clients, folder=None, reference=None)
        answers = interleaved(
            self.arms,
            lambda arm: load(
                arm, requests, clients=cell.clients, folder=self.folder if reference else None, reference=reference
            ),
            repeats=self.plan.repeats,
            deadline=deadline,
        )
        tell(f"{self.subject.name}: {cell.kind}, {cell.clients} client(s), {time.monotonic() - begun:.0f} s")
        return {"kind": cell.kind, "clients": cell.clients, "pictures": len(requests), "arms": answers}

    def _steps(self, cell: Cell) -> int:
        return _MIXED_STEPS if cell.kind == MIXED else self.subject.steps

    def _count(self, cell: Cell) -> int:
        """Pictures of a cell."""
        round_seconds = self.picture_seconds * self._steps(cell) / self.subject.steps * cell.clients
        return cell.clients * max(cell.rounds, round(cell.seconds / round_seconds))

    def _requests(self, kind: str, count: int) -> list[ImageRequest]:
        if kind == MIXED:
            return mixed(self.model, count)
        if kind == EDITING:
            return editing(self.model, count, folder=self.folder, steps=self.subject.steps)
        return homogeneous(self.model, count, steps=self.subject.steps, size_px=self.subject.size_px)

    def _reference(self, kind: str) -> Path | None:
        """What plain diffusers makes, one by one, with the number of threads that the others compute with.

        Of the longest list of its kind: the shorter ones begin alike. `None` where diffusers makes other pictures: its
        own way to inpaint paints all of the picture.
        """
        if kind == EDITING:
            return None
        folder = self.folder / f"{self.subject.name}-{kind}"
        if not folder.exists():
            folder.mkdir()
            most = max(self._count(cell) for cell in self.subject.cells if cell.kind == kind)
            lock = self.arms["lock"]
            lock.ask(do="threads", threads=self.plan.threads[-1])
            load(lock, self._requests(kind, most), clients=1, folder=folder, reference=None)
            lock.ask(do="threads", threads=self.lock_threads)
        return folder / "lock.npz"
