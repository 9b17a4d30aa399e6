"""The queue on a virtual clock: who goes next, who goes along, and who waits how long for whom."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import Bench, BenchWorker, rows
from gesso.components.batcher import PATIENCE, Batcher, WaitUntil
from gesso.components.call import Call
from gesso.components.scope import ImageScope
from toys import COUNTING, CountingNetwork

STEP_SECONDS = 1.0
"""What a forward takes in these tests; so nobody is kept waiting longer than `PATIENCE` seconds."""


class Queue:
    """A batcher of one component whose forwards have taken `STEP_SECONDS` so far."""

    def __init__(self, **options: Any) -> None:
        self.bench = Bench(CountingNetwork(), layouts=COUNTING, **options)
        self.bench.component.took("forward", STEP_SECONDS)
        self.batcher = Batcher()

    def picture(self, **fields: Any) -> ImageScope:
        return ImageScope(**fields)

    def add(self, scope: ImageScope, *values: float, **arguments: Any) -> Call:
        call = self.bench.call(rows(*(values or (1.0,))), scope=scope, **arguments)
        self.batcher.add(call)
        return call

    def take(self, now: float = 0.0) -> list[Call]:
        taken = self.batcher.take(now)
        assert isinstance(taken, list), f"kept waiting: {taken}"
        return taken

    def rest(self, now: float) -> list[Call]:
        """What runs when nobody else comes."""
        return self.take(self.waits(now))

    def waits(self, now: float) -> float:
        """Until when."""
        taken = self.batcher.take(now)
        assert isinstance(taken, WaitUntil), f"not kept waiting: {taken}"
        return taken.time


def test_patience_is_a_tenth_of_the_median_step() -> None:
    assert PATIENCE == 0.1
    component = Queue().bench.component
    for seconds in (1.0, 9.0, 1.0, 1.0, 40.0):
        component.took("forward", seconds)
    assert component.pace("forward") == 1.0
    assert component.pace("decode") == 0.0


def test_nothing_to_run_is_nothing() -> None:
    assert Batcher().take(now=0.0) is None


def test_a_lone_call_never_waits() -> None:
    queue, scope = Queue(), ImageScope()
    for step in range(20):
        call = queue.add(scope)
        assert queue.take(now=float(step)) == [call]
    assert queue.batcher.take(now=21.0) is None


def test_a_call_waits_at_most_a_tenth_of_a_step_for_pictures_that_made_the_same_call_last() -> None:
    queue, mine, other = Queue(), ImageScope(), ImageScope()
    queue.add(mine)
    queue.add(other)
    assert len(queue.take()) == 2
    call = queue.add(mine)
    assert queue.waits(now=5.0) == pytest.approx(5.1)
    assert queue.waits(now=5.099) == pytest.approx(5.1)
    assert queue.take(now=5.1) == [call]


def test_company_that_comes_in_time_goes_along_at_once() -> None:
    queue, mine, other = Queue(), ImageScope(), ImageScope()
    queue.add(mine)
    queue.add(other)
    queue.take()
    first = queue.add(mine)
    queue.waits(now=5.0)
    second = queue.add(other)
    assert queue.take(now=5.05) == [first, second]


def test_nobody_waits_for_a_picture_that_has_left_was_cancelled_or_does_something_else() -> None:
    for end in ("leave", "drop", "another call", "a call that merges with nobody"):
        queue, mine, other = Queue(), ImageScope(), ImageScope()
        queue.add(mine)
        queue.add(other)
        queue.take()
        if end == "leave":
            queue.batcher.leave(other)
        elif end == "drop":
            del other  # a picture that ended without a word
        elif end == "another call":
            queue.add(other, flag=1)
            queue.take()
        else:
            queue.add(other, flag=object())
            queue.take()
        call = queue.add(mine)
        assert queue.take(now=5.0) == [call], end


def test_a_call_does_not_wait_while_all_company_that_can_come_waits_for_something_else() -> None:
    queue, mine, other = Queue(), ImageScope(), ImageScope()
    queue.add(mine)
    queue.add(other)
    queue.take()
    call = queue.add(mine)
    queue.add(other, flag=1)
    assert queue.take(now=5.0) == [call]


def test_before_the_first_forward_nobody_knows_a_step_and_nobody_waits() -> None:
    queue, mine, other = Queue(), ImageScope(), ImageScope()
    queue.bench.component._durations.clear()
    queue.add(mine)
    queue.add(other)
    queue.take()
    call = queue.add(mine)
    assert queue.take(now=5.0) == [call]


def test_a_full_batch_never_waits() -> None:
    queue = Queue(max_rows=4)
    scopes = [ImageScope() for _ in range(3)]
    for scope in scopes[:2]:
        queue.add(scope, 1.0, 2.0)
    queue.take()
    queue.add(scopes[2], 1.0, 2.0)
    queue.rest(now=1.0)
    pair = [queue.add(scope, 1.0, 2.0) for scope in scopes[:2]]
    assert queue.take(now=5.0) == pair  # the third is expected, and would find no room


def test_a_call_that_merges_with_nobody_never_waits() -> None:
    queue, mine, other = Queue(), ImageScope(), ImageScope()
    queue.add(mine)
    queue.add(other)
    queue.take()
    call = queue.add(mine, flag=object())
    assert queue.take(now=5.0) == [call]


def test_a_replayed_call_runs_by_itself_and_at_once() -> None:
    from gesso.core.recipe import Segment

    queue = Queue()
    placement = {("net", "forward", number): (Segment(slot=1, rows=1, batch_rows=2),) for number in range(2)}
    mine, other = ImageScope(placements=placement), ImageScope(placements=placement)
    first, second = queue.add(mine), queue.add(other)
    assert queue.take() == [first]
    assert queue.take() == [second]


def test_higher_priority_goes_first_and_equal_priority_by_age() -> None:
    queue = Queue()
    calls = [
        queue.add(ImageScope(priority=priority), flag=index) for index, priority in enumerate((0, 5, 0, -3, 5, 100))
    ]
    order = [queue.take(now=float(step))[0] for step in range(6)]
    assert order == [calls[index] for index in (5, 1, 4, 0, 2, 3)]


def test_who_goes_along_is_chosen_in_the_same_order() -> None:
    queue = Queue(max_rows=3)
    low, urgent, first, second = (queue.add(ImageScope(priority=priority)) for priority in (-1, 1, 0, 0))
    assert queue.take() == [urgent, first, second]
    assert queue.rest(now=1.0) == [low]


def test_a_call_that_finds_no_room_does_not_keep_smaller_ones_out() -> None:
    queue = Queue(max_rows=3)
    first, large, small = queue.add(ImageScope(), 1.0, 2.0), queue.add(ImageScope(), 1.0, 2.0), queue.add(ImageScope())
    assert queue.take() == [first, small]
    assert queue.take(now=1.0) == [large]


def test_a_call_larger_than_the_limit_is_taken_alone() -> None:
    queue = Queue(max_rows=2)
    large, small = queue.add(ImageScope(), 1.0, 2.0, 3.0), queue.add(ImageScope())
    assert queue.take() == [large]
    assert queue.rest(now=1.0) == [small]


def test_an_urgent_call_in_between_does_not_start_the_patience_of_another_anew() -> None:
    queue, mine, other = Queue(), ImageScope(), ImageScope()
    queue.add(mine)
    queue.add(other)
    queue.take()
    call = queue.add(mine)
    assert queue.waits(now=5.0) == pytest.approx(5.1)
    urgent = queue.add(ImageScope(priority=9), flag=1)
    assert queue.take(now=5.09) == [urgent]
    assert queue.take(now=5.2) == [call]


def test_calls_of_a_picture_that_ended_are_taken_out_and_not_kept_in_memory() -> None:
    import gc
    import weakref

    queue, mine, other = Queue(), ImageScope(), ImageScope()
    queue.add(mine)
    queue.add(other)
    queue.take()
    call = queue.add(mine)
    queue.waits(now=5.0)
    gone = weakref.ref(call)
    assert queue.batcher.remove(mine) == [call]
    assert queue.batcher.take(now=5.0) is None
    del call
    gc.collect()
    assert gone() is None


def test_the_order_of_forwards_on_a_counting_component() -> None:
    worker = BenchWorker()
    bench = Bench(CountingNetwork(), layouts=COUNTING, worker=worker, max_rows=2)
    network: Any = bench.component.module
    for value, priority, flag in ((1, 0, "a"), (2, 0, "b"), (3, 7, "b"), (4, 0, "a"), (5, -1, "b"), (6, 7, "c")):
        worker.batcher.add(bench.call(rows(float(value)), flag=flag, scope=ImageScope(priority=priority)))
    while (taken := worker.batcher.take(worker.clock.now())) is not None:
        assert isinstance(taken, list)
        worker.executor.run(taken)
        worker.clock.time += STEP_SECONDS
    assert network.control.batches == [[3.0, 2.0], [6.0], [1.0, 4.0], [5.0]]


ARRIVALS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=4),  # picture
        st.sampled_from([0.0, 0.01, 0.05, 0.2, 1.5]),  # seconds after the one before
        st.sampled_from(["a", "b"]),  # kind of call
    ),
    min_size=1,
    max_size=30,
)


@given(arrivals=ARRIVALS)
def test_no_call_waits_longer_than_a_tenth_of_a_step_once_it_is_its_turn(
    arrivals: list[tuple[int, float, str]],
) -> None:
    """Whatever arrives meanwhile: the time until which a call is kept never moves."""
    queue = Queue()
    scopes = [ImageScope(priority=index % 3) for index in range(5)]
    now, kept, turn = 0.0, list[Call](), dict[int, float]()
    waiting: Call | None = None

    def run_until(end: float) -> None:
        nonlocal now, waiting
        while (taken := queue.batcher.take(now)) is not None:
            if isinstance(taken, list):
                if taken[0] is waiting:  # and not pushed aside by an urgent one meanwhile
                    assert now <= turn[id(waiting)] + PATIENCE * STEP_SECONDS + 1e-9
                continue  # the device is free again at once: only waiting takes time here
            waiting = queue.batcher._waiting[0]
            assert taken.time <= turn.setdefault(id(waiting), now) + PATIENCE * STEP_SECONDS + 1e-9
            if taken.time > end:
                break
            now = taken.time
        now = end

    for picture, later, kind in arrivals:
        run_until(now + later)
        if not any(call.scope is scopes[picture] for call in queue.batcher._waiting):  # it waits for its answer
            kept.append(queue.add(scopes[picture], flag=kind))
    run_until(now + 9.0)
    assert not queue.batcher._waiting
