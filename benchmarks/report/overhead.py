"""Where the time goes that is not spent in the denoiser, and why a target can be out of reach."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from benchmarks.report.ratios import cells, rates
from benchmarks.report.text import figure, milliseconds, table

_TOGETHER = 8

_TEXT = """Between two network calls a pipeline runs Python: the sampler's step, the arguments of the next call, and
with Gesso the call's way to the worker and back, its digest and its check for numbers that are none. Only one thread
runs Python at a time. The same pictures with networks that answer at once, so that nothing else is left; processor time
of a picture:"""

_BUDGET = """Of the time in which eight alike clients get a picture each so much is accounted for. *Forwards* are bare
ones of sixteen rows, one for each step; *Python* is that of eight pictures, with their first steps; the *rest* is the
VAE, the text encoder, Python and forwards in each other's way on the same cores, and forwards with fewer than sixteen
rows. Forwards alone would allow the last column; where that is less than what was wanted, or little more, no way of
sharing can reach it."""


def section(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What Python costs; and, where many clients were measured too, what that means for each model."""
    part = found["overhead"]
    rows = [
        [row["way"], str(row["clients"]), f"{row['first_ms'][0]:.1f} ms", f"{row['step_ms'][0]:.2f} ms"]
        for row in part["rows"]
    ]
    text = f"{_TEXT}\n\n{table(['way', 'clients', 'of one step', 'each further step'], rows)}"
    concurrency = found.get("concurrency")
    if concurrency is None or _machine(concurrency) != _machine(part):
        return text  # seconds of two machines, or of two days, do not add up
    return f"{text}\n\n{_budget(part, concurrency)}"


def _machine(part: Mapping[str, Any]) -> list[Any]:
    return [part["machine"][name] for name in ("processor", "capability", "cores", "date")]


def _budget(part: Mapping[str, Any], concurrency: Mapping[str, Any]) -> str:
    [python] = [row for row in part["rows"] if row["way"] == "Gesso" and row["clients"] == _TOGETHER]
    rows: list[list[str]] = []
    for subject in concurrency["subjects"]:
        for cell in cells(subject, kind="homogeneous", clients=_TOGETHER):
            whole = _TOGETHER / median(rates(cell, "fast"))
            rows_together = str(_TOGETHER * subject["rows_alone"])
            forward = min(seconds[rows_together] for seconds in subject["row_seconds"].values())
            forwards = forward * subject["steps"]
            running = _TOGETHER * (python["first_ms"][0] + (subject["steps"] - 1) * python["step_ms"][0]) / 1e3
            possible = _of_lock(cell) / forwards
            rows.append(
                [
                    subject["name"],
                    milliseconds(whole),
                    f"{forwards / whole:.0%}",
                    f"{running / whole:.0%}",
                    f"{max(0.0, 1 - (forwards + running) / whole):.0%}",
                    figure(possible),
                ]
            )
    header = ["model", "eight pictures", "forwards", "Python", "rest", "over the lock, if forwards were all"]
    return f"{_BUDGET}\n\n{table(header, rows)}"


def _of_lock(cell: Mapping[str, Any]) -> float:
    """Seconds in which the lock makes eight pictures."""
    return _TOGETHER / median(rates(cell, "lock"))
