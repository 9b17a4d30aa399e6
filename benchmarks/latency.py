"""Somebody waits at the screen for a short picture while eight others want long ones."""

from typing import Any

from benchmarks.process import started
from benchmarks.progress import tell
from benchmarks.rounds import interleaved
from benchmarks.workloads import as_json, homogeneous, urgent
from gesso.devices.cpu import usable_cores

ARMS = ("lock", "lock-urgent-first", "litserve", "fast", "exact")
LONG_STEPS, SHORT_STEPS = 20, 4
OTHERS = 8


def run(
    *,
    repeats: int = 5,
    urgent_requests: int = 3,
    long_steps: int = LONG_STEPS,
    arms: tuple[str, ...] = ARMS,
    threads: int | None = None,
    deadline: float | None = None,
) -> dict[str, Any]:
    """Latencies of the urgent requests in each arm. JSON."""
    tell(f"latency: starting {len(arms)} arms")
    command = {
        "do": "urgent",
        "long": as_json(homogeneous("primer", OTHERS, steps=long_steps)),
        "urgent": as_json(urgent("primer", urgent_requests, steps=SHORT_STEPS)),
        "pause_seconds": 0.15,
    }
    with started(arms, "primer", threads=threads or usable_cores()) as running:
        for arm in running.values():
            arm.ask(do="load", requests=as_json(homogeneous("primer", OTHERS, steps=2)), clients=OTHERS)
        answers = interleaved(running, lambda arm: arm.ask(**command), repeats=repeats, deadline=deadline)
    tell("latency: done")
    return {
        "others": OTHERS,
        "long_steps": long_steps,
        "short_steps": SHORT_STEPS,
        "arms": {name: [answer["latencies"] for answer in each] for name, each in answers.items()},
    }
