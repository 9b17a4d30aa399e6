"""One person who asks for eight pictures: `--count 8` against a loop, and against a batch of diffusers' own."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import equality
from benchmarks.process import ArmProcess, started
from benchmarks.progress import tell
from benchmarks.rounds import interleaved
from benchmarks.workloads import homogeneous
from gesso.devices.cpu import usable_cores

ARMS = ("lock", "batch", "fast", "exact")
COUNT = 8


def run(
    *,
    repeats: int = 5,
    steps: int = 20,
    count: int = COUNT,
    threads: int | None = None,
    deadline: float | None = None,
) -> dict[str, Any]:
    """Seconds for all pictures in each arm, and whether they are those of the loop. JSON."""
    tell(f"person: starting {len(ARMS)} arms")
    (request,) = homogeneous("primer", 1, steps=steps)
    asked = request.model_copy(update={"count": count}).model_dump(mode="json", exclude_none=True)
    with (
        tempfile.TemporaryDirectory(prefix="gesso-bench-") as folder,
        started(ARMS, "primer", threads=threads or usable_cores()) as running,
    ):

        def ask(arm: ArmProcess) -> dict[str, Any]:
            path = Path(folder) / f"{arm.name}.npz"
            return arm.ask(do="count", request=asked, pixels=str(path))

        for arm in running.values():
            ask(arm)
        expected = equality.read(Path(folder) / "lock.npz")
        answers = interleaved(running, ask, repeats=repeats, deadline=deadline)
        same = {name: equality.compare(expected, equality.read(Path(folder) / f"{name}.npz")) for name in running}
    tell("person: done")
    return {
        "count": count,
        "steps": steps,
        "threads": threads or usable_cores(),
        "arms": {
            name: {
                "seconds": [answer["seconds"] for answer in each],
                "equal": same[name].equal,
                "largest_difference": same[name].largest_difference,
            }
            for name, each in answers.items()
        },
    }
