"""Cancelling and deadlines: at the next call, also for a call that waits, and without harm to anybody else."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import Bench, rows
from callers import Caller, HoldableWorker, results
from gesso.components.journal import Journal
from gesso.components.scope import CancelToken, ImageScope
from gesso.core.errors import CancelledError, DeadlineError
from toys import COUNTING, TIMEOUT_SECONDS, CountingNetwork, VirtualClock

Host = Callable[..., Any]


@pytest.fixture
def network(host: Host) -> Any:
    return host(CountingNetwork(), layouts=COUNTING)


@pytest.fixture
def held(worker: HoldableWorker) -> Iterator[None]:
    with worker.held():
        yield


def test_a_cancelled_picture_stops_at_its_next_call(network: Any) -> None:
    scope = ImageScope()
    done: list[int] = []

    def picture() -> None:
        for step in range(5):
            network(rows(1.0))
            done.append(step)
            if step == 2:
                scope.cancel.cancel()

    assert isinstance(Caller(picture, scope).error(), CancelledError)
    assert done == [0, 1, 2]
    assert network.control.forward_calls == 3


def test_a_call_that_waits_ends_at_once_when_its_picture_is_cancelled(network: Any, worker: HoldableWorker) -> None:
    cancelled, kept = ImageScope(), ImageScope()
    with worker.held():
        callers = [Caller(lambda: network(rows(1.0)), scope) for scope in (cancelled, kept)]
        worker.wait_for_queued(2)
        cancelled.cancel.cancel()
        assert isinstance(callers[0].error(timeout=1), CancelledError)  # while the worker still does something else
        assert not callers[1].done()
    callers[1].result()
    assert network.control.forward_calls == 1
    assert len(network.control.batches[0]) == 1


def test_a_call_that_runs_when_its_picture_is_cancelled_is_finished_for_the_others(
    network: Any, worker: HoldableWorker
) -> None:
    network.control.gate = gate = threading.Event()
    cancelled, other = ImageScope(), ImageScope()

    def picture() -> Any:
        network(rows(1.0))
        return network(rows(1.0))

    with worker.held():
        callers = [Caller(picture, scope) for scope in (cancelled, other)]
        worker.wait_for_queued(2)
    assert network.control.started.acquire(timeout=TIMEOUT_SECONDS)
    cancelled.cancel.cancel()
    gate.set()
    assert torch.equal(callers[1].result(), rows(2.0))
    assert isinstance(callers[0].error(), CancelledError)
    assert network.control.batches[0] == [1.0, 1.0]


def test_a_cancelled_picture_does_not_go_on_from_its_journal_either(network: Any, tmp_path: Path) -> None:
    Caller(lambda: [network(rows(1.0)) for _ in range(3)], ImageScope(journal=Journal(tmp_path))).result()
    scope = ImageScope(journal=Journal(tmp_path))
    done: list[int] = []

    def picture() -> None:
        for step in range(3):
            network(rows(1.0))
            done.append(step)
            scope.cancel.cancel()

    assert isinstance(Caller(picture, scope).error(), CancelledError)
    assert done == [0]


def test_a_picture_that_is_cancelled_before_it_starts_runs_nothing(network: Any) -> None:
    scope = ImageScope()
    scope.cancel.cancel()
    assert isinstance(Caller(lambda: network(rows(1.0)), scope).error(), CancelledError)
    assert network.control.forward_calls == 0


def test_a_cancel_that_comes_between_the_check_and_the_queue_is_not_lost(network: Any, worker: HoldableWorker) -> None:
    scope = ImageScope()
    original = worker.submit

    def submit(call: Any) -> None:
        original(call)
        scope.cancel.cancel()  # nobody is registered to be woken yet

    with worker.held():
        worker.submit = submit
        assert isinstance(Caller(lambda: network(rows(1.0)), scope).error(timeout=1), CancelledError)


def test_all_pictures_of_a_request_end_with_its_one_token(network: Any, worker: HoldableWorker) -> None:
    token = CancelToken()
    scopes = [ImageScope(cancel=token, image=index) for index in range(4)]
    with worker.held():
        callers = [Caller(lambda: network(rows(1.0)), scope) for scope in scopes]
        worker.wait_for_queued(4)
        token.cancel()
        assert {type(caller.error(timeout=1)) for caller in callers} == {CancelledError}
        assert len({id(caller.error()) for caller in callers}) == 4
    assert network.control.forward_calls == 0


def test_nobody_waits_for_company_from_a_cancelled_picture(worker: HoldableWorker, network: Any) -> None:
    cancelled, other = ImageScope(), ImageScope()
    with worker.held():
        callers = [Caller(lambda: network(rows(1.0)), scope) for scope in (cancelled, other)]
        worker.wait_for_queued(2)
    results(callers)
    with worker.held():
        waiting = Caller(lambda: network(rows(1.0)), cancelled)
        worker.wait_for_queued()
        cancelled.cancel.cancel()
        waiting.error()
        assert cancelled not in worker._batcher._last_key
        assert other in worker._batcher._last_key


def test_a_token_wakes_everybody_once_and_forgets_those_who_left() -> None:
    token, woken = CancelToken(), list[str]()

    def first() -> None:
        woken.append("first")

    def second() -> None:
        woken.append("second")

    token.on_cancel(first)
    token.on_cancel(second)
    token.forget(second)
    assert not token.cancelled
    token.cancel()
    token.cancel()
    assert woken == ["first"]
    token.on_cancel(second)  # too late to wait: called at once
    assert woken == ["first", "second"]


def test_calls_that_were_answered_leave_nothing_on_the_token(network: Any) -> None:
    scope = ImageScope()
    Caller(lambda: [network(rows(1.0)) for _ in range(5)], scope).result()
    assert scope.cancel._wakers == []


# --- deadlines


def late(clock: VirtualClock, at: float) -> ImageScope:
    return ImageScope(clock=clock, deadline=at, deadline_seconds=at)


def test_a_picture_past_its_deadline_stops_at_its_next_call(network: Any) -> None:
    clock = VirtualClock()
    scope = late(clock, at=60.0)

    def picture() -> None:
        network(rows(1.0))
        clock.time = 60.0
        network(rows(1.0))

    error = Caller(picture, scope).error()
    assert isinstance(error, DeadlineError)
    assert "Not done within 60 s" in str(error)
    assert network.control.forward_calls == 1


def test_a_call_whose_time_runs_out_while_it_waits_does_not_run(network: Any, worker: HoldableWorker) -> None:
    clock = VirtualClock()
    scope, other = late(clock, at=60.0), ImageScope()
    with worker.held():
        callers = [Caller(lambda: network(rows(1.0)), which) for which in (scope, other)]
        worker.wait_for_queued(2)
        clock.time = 61.0
    assert isinstance(callers[0].error(), DeadlineError)
    callers[1].result()
    assert network.control.batches == [[1.0]]


def test_a_call_that_waits_is_given_up_when_its_time_is_over(network: Any, worker: HoldableWorker) -> None:
    clock = VirtualClock()
    scope = late(clock, at=0.01)  # the wait itself is real time: a hundredth of a second of it
    with worker.held():
        assert isinstance(Caller(lambda: network(rows(1.0)), scope).error(timeout=5), DeadlineError)
        assert worker._batcher.remove(scope) == []
    assert network.control.forward_calls == 0


def test_an_answer_that_comes_while_the_time_runs_out_is_taken() -> None:
    class LastMoment(Future[Any]):
        """Its answer comes just when the waiting ends."""

        def result(self, timeout: float | None = None) -> Any:
            if not self.done():
                self.set_result(rows(2.0))
                raise TimeoutError
            return super().result(timeout)

    bench = Bench(CountingNetwork(), layouts=COUNTING)
    worker: Any = bench.worker
    worker.submit = worker.batcher.add
    call = bench.call(rows(1.0), scope=late(VirtualClock(), at=5.0))
    call.answer = LastMoment()
    assert torch.equal(bench.component._answer(call), rows(2.0))


def test_the_time_that_is_left_is_never_negative() -> None:
    clock = VirtualClock()
    scope = late(clock, at=5.0)
    assert scope.seconds_left() == 5.0
    clock.time = 9.0
    assert scope.seconds_left() == 0.0
    assert ImageScope().seconds_left() is None
