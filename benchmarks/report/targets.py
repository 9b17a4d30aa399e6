"""What was to be reached, and whether it was. Each is a line of the page, the missed ones as plainly as the others."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.report.ratios import cells, latencies, ratios
from benchmarks.report.text import figure, milliseconds
from gesso.engine.bench.figures import percentile

SHARE_OF_CEILING = 0.85
LEAST_GAIN = 1.1
ONE_CLIENT = 0.97
URGENT = 0.5
GPU_GAIN = 2.5
CLIENTS = 8

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One promise and what was found."""

    what: str
    wanted: str
    found: str
    reached: bool


def targets(results: Results) -> Iterator[Target]:
    """Those that can be judged by what was measured."""
    for part in ("concurrency", "editing"):
        for subject in results[part]["subjects"] if part in results else ():
            yield from _of_subject(subject)
    if "latency" in results:
        yield _urgent(results["latency"])
    if "gpu" in results:
        yield from _on_gpu(results["gpu"])


def _of_subject(subject: Mapping[str, Any]) -> Iterator[Target]:
    for cell in cells(subject, kind="homogeneous", clients=1):
        gain = median(ratios(cell, "fast", over="lock"))
        yield Target(
            what=f"{subject['name']}: one client, fast over lock",
            wanted=f"≥ {ONE_CLIENT}",
            found=figure(gain),
            reached=gain >= ONE_CLIENT,
        )
    for cell in cells(subject, kind="homogeneous", clients=CLIENTS):
        gain = median(ratios(cell, "fast", over="lock"))
        wanted = max(LEAST_GAIN, SHARE_OF_CEILING * subject["ceiling"])
        yield Target(
            what=f"{subject['name']}: {CLIENTS} alike clients, fast over lock",
            wanted=f"≥ {figure(wanted)} ({SHARE_OF_CEILING:.0%} of the ceiling {figure(subject['ceiling'])},"
            f" at least {LEAST_GAIN})",
            found=f"{figure(gain)} ({gain / subject['ceiling']:.0%})",
            reached=gain >= wanted,
        )
    for kind, words in (("mixed", "mixed clients"), ("editing", "clients with text, pictures and masks")):
        for cell in cells(subject, kind=kind, clients=CLIENTS):
            gain = median(ratios(cell, "fast", over="lock"))
            yield Target(
                what=f"{subject['name']}: {CLIENTS} {words}, fast over lock",
                wanted=f"≥ {LEAST_GAIN}",
                found=figure(gain),
                reached=gain >= LEAST_GAIN,
            )


def _urgent(part: Mapping[str, Any]) -> Target:
    fast, lock = (percentile([s for repeat in part["arms"][arm] for s in repeat], 0.95) for arm in ("fast", "lock"))
    return Target(
        what=f"primer: p95 of a short urgent request beside {part['others']} long ones, fast over lock",
        wanted=f"≤ {URGENT}",
        found=f"{figure(fast / lock)} ({milliseconds(fast)} against {milliseconds(lock)})",
        reached=fast / lock <= URGENT,
    )


def _on_gpu(part: Mapping[str, Any]) -> Iterator[Target]:
    for subject in part["subjects"]:
        if subject["name"].startswith("SD 1.5"):
            for cell in cells(subject, kind="homogeneous", clients=CLIENTS):
                gain = median(ratios(cell, "fast", over="lock"))
                yield Target(
                    what=f"GPU, {subject['name']}: {CLIENTS} clients, fast over lock",
                    wanted=f"≥ {GPU_GAIN}",
                    found=f"{figure(gain)} (p95 {milliseconds(percentile(latencies(cell, 'fast'), 0.95))})",
                    reached=gain >= GPU_GAIN,
                )
