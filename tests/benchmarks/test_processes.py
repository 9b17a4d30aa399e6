"""The concurrency part from end to end in small, its arms in processes of their own."""

import importlib.util
from typing import Any

import pytest

from benchmarks.arms.kinds import ARMS
from benchmarks.concurrency import Cell, Plan, run, rung, shared_out
from benchmarks.process import ArmError, started

PICTURES = 2


def plan(*arms: str) -> Plan:
    cell = Cell(kind="homogeneous", clients=PICTURES, seconds=0.0)
    subject = rung(8, 2, (cell,))
    return Plan(subjects=(subject,), arms=arms, repeats=1, ceiling_seconds=0.0, threads=(1,))


def check(found: dict[str, Any], *arms: str) -> None:
    (subject,) = found["subjects"]
    assert set(subject["row_seconds"]["1"]) == {1, 2, 4, 8, 16}
    assert subject["ceiling"] > 0
    (cell,) = subject["cells"]
    assert set(cell["arms"]) == set(arms) == set(subject["peak_bytes"])
    for arm in arms:
        (answer,) = cell["arms"][arm]
        assert answer["pictures"] == answer["compared"] == cell["pictures"] == PICTURES
        assert answer["rows"] == PICTURES * 2 * 2  # two steps with guidance
        assert answer["largest_difference"] <= 1
        assert len(answer["latencies"]) == PICTURES
    assert cell["arms"]["lock"][0]["equal"] == PICTURES


def test_the_concurrency_part_counts_what_its_arms_make() -> None:
    check(run(plan("lock", "fast")), "lock", "fast")


def test_what_follows_each_other_has_its_share_of_the_time() -> None:
    assert shared_out(100.0, 200.0, [6.0, 1.0, 3.0]) == [160.0, 170.0, 200.0]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("litserve") is None, reason="needs the extra `bench`")
def test_litserve_and_exact_mode_take_part() -> None:
    check(run(plan("lock", "litserve", "exact")), "lock", "litserve", "exact")


def test_an_arm_that_does_not_start_says_why() -> None:
    with pytest.raises(ArmError, match="unknown arm `nobody`"), started(["nobody"], "primer", threads=1):
        pass
    assert "nobody" not in ARMS


@pytest.mark.skipif(importlib.util.find_spec("litserve") is None, reason="needs the extra `bench`")
def test_a_batch_for_litserve_holds_only_what_one_call_of_a_pipeline_can_answer() -> None:
    from benchmarks.arms.litserve_api import groups
    from benchmarks.resolving import resolved_on
    from benchmarks.workloads import homogeneous, mixed

    alike = [resolved_on(request, "cpu") for request in homogeneous("primer", 4, steps=2)]
    assert groups(alike) == [[0, 1, 2, 3]]
    mix = [resolved_on(request, "cpu") for request in mixed("primer", 8)]
    found = groups([alike[0], mix[0], alike[1], *mix[1:]])
    assert found[0] == [0, 2]
    assert sorted(index for group in found for index in group) == list(range(10))
    assert all(len(group) == 1 for group in found[1:])
