"""Pictures take turns with their Python, and never at the price of standing still."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import rows
from callers import Caller, HoldableWorker, results
from gesso.components.journal import Journal
from gesso.components.scope import ImageScope
from gesso.components.turns import Turn, Turns
from toys import COUNTING, CountingNetwork

Host = Callable[..., Any]


def test_one_picture_at_a_time_runs_python() -> None:
    turns, lock = Turns(), threading.Lock()
    inside, most = 0, 0

    def picture() -> None:
        nonlocal inside, most
        for _ in range(20):
            with Turn(turns):
                with lock:
                    inside += 1
                    most = max(most, inside)
                torch.ones(8).sum()  # gives the interpreter away, as every step of a pipeline does
                with lock:
                    inside -= 1

    results([Caller(picture) for _ in range(4)])
    assert most == 1


def test_who_waits_for_a_network_lets_others_have_the_turn(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    turns = Turns()
    scope = ImageScope(turn=Turn(turns))
    taken: list[bool] = []

    def picture() -> None:
        with scope.turn:
            network(rows(1.0))
            taken.append(turns.take())  # it has the turn again, so nobody gets it

    with worker.held():
        caller = Caller(picture, scope)
        worker.wait_for_queued()
        assert turns.take()
        turns.give()
    caller.result()
    assert taken == [False]
    assert turns.take()  # and it is free at the end


def test_who_writes_a_journal_lets_others_have_the_turn(host: Host, tmp_path: Path) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    turns = Turns()
    free: list[bool] = []

    class Slow(Journal):
        def keep(self, *arguments: Any, **named: Any) -> None:
            free.append(turns.take())
            turns.give()
            super().keep(*arguments, **named)

    scope = ImageScope(turn=Turn(turns), journal=Slow(tmp_path))

    def picture() -> None:
        with scope.turn:
            network(rows(1.0))

    Caller(picture, scope).result()
    assert free == [True]


def test_a_picture_that_fails_leaves_the_turn_free(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    turns = Turns()
    scope = ImageScope(turn=Turn(turns))

    def picture() -> None:
        with scope.turn:
            scope.cancel.cancel()
            network(rows(1.0))

    Caller(picture, scope).error()
    assert turns.take()


def test_nobody_waits_long_for_a_turn_that_is_not_given_back() -> None:
    turns = Turns()
    assert turns.take()
    late = Turn(turns)
    with late:  # goes on without
        pass
    turns.give()  # still the first one's: the late one did not give it away
    assert turns.take()
