"""The arithmetic of the benchmarks: what is counted is what happened."""

import threading
import time
from collections.abc import Sequence

import pytest

from gesso.engine.bench.clients import Load, Served, closed_loop
from gesso.engine.bench.figures import Spread, percentile


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([5.0], 0.95, 5.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        (list(range(1, 21)), 0.95, 19),
        (list(range(1, 22)), 0.95, 20),
        ([1.0, 2.0], 1.0, 2.0),
    ],
)
def test_a_percentile_is_the_value_of_the_nearest_rank(values: Sequence[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.5)])
def test_a_percentile_of_nothing_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_a_spread_tells_median_least_and_greatest() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(median=2.0, low=1.0, high=3.0)
    with pytest.raises(ValueError, match="nothing"):
        Spread.of([])


def test_a_load_counts_from_the_first_request_to_the_last_answer() -> None:
    load = Load(
        served=(
            Served(index=0, start=10.0, end=14.0, value="a"),
            Served(index=1, start=11.0, end=13.0, value="b"),
            Served(index=2, start=13.0, end=15.0, value="c"),
        )
    )
    assert load.seconds == 5.0
    assert load.per_second == pytest.approx(0.6)
    assert load.latencies == [4.0, 2.0, 2.0]
    assert load.latency(0.5) == 2.0
    assert load.latency(0.95) == 4.0


def test_every_request_of_a_closed_loop_is_made_once_by_as_many_clients_as_asked() -> None:
    waiting = threading.Barrier(3, timeout=20)
    clients: set[int] = set()

    def make(index: int) -> int:
        clients.add(threading.get_ident())
        if index < 3:
            waiting.wait()  # passes only if three ask at the same time
        return index * index

    load = closed_loop(make, count=7, clients=3)
    assert [(each.index, each.value) for each in load.served] == [(index, index * index) for index in range(7)]
    assert len(clients) == 3
    assert all(each.end >= each.start for each in load.served)


def test_a_client_asks_again_only_after_its_answer() -> None:
    running = 0
    most = 0
    lock = threading.Lock()

    def make(index: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0)
        with lock:
            running -= 1

    closed_loop(make, count=40, clients=2)
    assert most <= 2


def test_what_a_request_raises_ends_the_loop_and_is_raised() -> None:
    made: list[int] = []

    def make(index: int) -> None:
        if index == 2:
            raise RuntimeError("no")
        made.append(index)

    with pytest.raises(RuntimeError, match="no"):
        closed_loop(make, count=10, clients=1)
    assert made == [0, 1]
