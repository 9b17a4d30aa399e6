"""The tables of the part on an accelerator, and what to think of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.arms.kinds import ARMS
from benchmarks.concurrency import ARMS as WANTED_ARMS
from benchmarks.gpu.part import subjects
from benchmarks.report import concurrency
from benchmarks.report.text import milliseconds

_BOUND_BY_LAUNCHES = 2.0
"""Sixteen rows cost less than so many times what two cost: the card waits for whoever gives it work."""


def sections(part: Mapping[str, Any]) -> Iterator[str]:
    """What was left out, what limits, then the tables as for the processor."""
    yield from _left_out(part)
    for subject in part["subjects"]:
        (seconds,) = subject["row_seconds"].values()
        if seconds["16"] < _BOUND_BY_LAUNCHES * seconds["2"]:
            share = 2 * subject["flops_per_row"] / seconds["2"] / subject["matmul_flops"]
            yield (
                f"{subject['name']}: a bare forward of 2 rows takes {milliseconds(seconds['2'])}, one of 16 rows "
                f"{milliseconds(seconds['16'])}, and the former uses {share:.0%} of what a matrix product reaches: "
                "the limit is not the card but the process that launches its kernels. The threads of the pipelines "
                "share that process's interpreter, which is likely why less than the ceiling is gained (not profiled)."
            )
    yield from concurrency.sections(part)


def _left_out(part: Mapping[str, Any]) -> Iterator[str]:
    measured = {subject["name"] for subject in part["subjects"]}
    names = [subject.name for subject in subjects("cuda") if subject.name not in measured]
    names += [ARMS[arm] for arm in WANTED_ARMS if arm not in part["arms"]]
    if names:
        yield f"Not measured, for want of time on a card: {', '.join(names)}."
