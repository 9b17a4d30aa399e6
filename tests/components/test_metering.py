"""What a picture costs: its share of every forward that held its rows."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from bench import Bench, BenchWorker, rows
from callers import Caller
from gesso.components.metering import Meter
from gesso.components.scope import ImageScope
from toys import COUNTING, CountingNetwork, FakeDevice


class Clocked:
    """A backend that takes a second for each row it computes, by the virtual clock of its device."""

    name = "clocked"

    def __init__(self, device: FakeDevice) -> None:
        self.device = device

    def run(self, module: torch.nn.Module, method: str, arguments: Mapping[str, Any]) -> Any:
        self.device.clock.time += len(arguments["sample"])
        return module(**arguments)


def bench(**options: Any) -> Bench:
    device = FakeDevice()
    return Bench(CountingNetwork(), layouts=COUNTING, worker=BenchWorker(device), backend=Clocked(device), **options)


def test_a_lone_call_pays_for_itself() -> None:
    component, scope = bench(), ImageScope()
    component.run(component.call(rows(1.0, 2.0), scope=scope))
    total = scope.meter.total()
    assert (total.device_seconds, total.rows, total.padded_rows, total.forwards) == (2.0, 2, 0, 1)


def test_a_merged_forward_is_paid_for_by_rows() -> None:
    component, one, other = bench(), ImageScope(), ImageScope()
    component.run(component.call(rows(1.0, 2.0, 3.0), scope=one), component.call(rows(4.0), scope=other))
    assert one.meter.total().device_seconds == pytest.approx(3.0)
    assert other.meter.total().device_seconds == pytest.approx(1.0)
    assert (one.meter.total().rows, other.meter.total().rows) == (3, 1)
    assert (one.meter.total().forwards, other.meter.total().forwards) == (1, 1)


def test_padding_is_paid_for_by_those_who_asked_for_exactness() -> None:
    component = bench(exact_rows=4)
    scopes = [ImageScope(exact=True) for _ in range(2)]
    component.run(component.call(rows(1.0), scope=ImageScope(exact=True)))  # with the self-test
    component.run(component.call(rows(1.0), scope=scopes[0]))
    total = scopes[0].meter.total()
    assert (total.device_seconds, total.rows, total.padded_rows) == (4.0, 1, 3)
    component.run(component.call(rows(1.0), scope=scopes[0]), component.call(rows(2.0), scope=scopes[1]))
    assert scopes[1].meter.total().device_seconds == pytest.approx(2.0)
    assert scopes[1].meter.total().padded_rows == 1


def test_a_call_that_is_split_counts_each_forward() -> None:
    component, scope = bench(max_rows=2), ImageScope()
    component.run(component.call(rows(1.0, 2.0, 3.0, 4.0, 5.0), scope=scope))
    total = scope.meter.total()
    assert (total.device_seconds, total.rows, total.forwards) == (5.0, 5, 3)


def test_a_call_that_cannot_be_merged_is_metered_too() -> None:
    component, scope = bench(), ImageScope()
    component.run(component.call(rows(1.0), flag=object(), scope=scope))
    total = scope.meter.total()
    assert (total.device_seconds, total.forwards) == (1.0, 1)


def test_the_sum_of_all_pictures_is_what_the_device_did() -> None:
    component = bench(max_rows=5)
    scopes = [ImageScope() for _ in range(7)]
    for _ in range(20):
        calls = [component.call(rows(*range(1, 2 + index % 3)), scope=scope) for index, scope in enumerate(scopes)]
        component.run(*calls)
    totals = [scope.meter.total() for scope in scopes]
    assert sum(total.device_seconds for total in totals) == pytest.approx(component.worker.clock.now())
    network: Any = component.component.module
    assert sum(total.rows for total in totals) == sum(map(len, network.control.batches))


def test_a_picture_on_threads_finds_its_bill_at_the_end(host: Any) -> None:
    network, scope = host(CountingNetwork(), layouts=COUNTING), ImageScope()
    Caller(lambda: [network(rows(1.0, 2.0)) for _ in range(5)], scope).result()
    total = scope.meter.total()
    assert (total.rows, total.forwards) == (10, 5)
    assert 0 < total.device_seconds < 60


def test_durations_are_asked_for_late_and_few_are_kept() -> None:
    """On an accelerator a duration is known only when the device has got there."""
    meter, asked = Meter(), list[int]()

    def duration(index: int) -> float:
        asked.append(index)
        return 1.0

    for index in range(50):
        meter.add(lambda index=index: duration(index), rows=1, live_rows=2, batch_rows=4)
    assert asked == []
    for index in range(50, 500):
        meter.add(lambda index=index: duration(index), rows=1, live_rows=2, batch_rows=4)
    assert len(meter._durations) <= 65
    assert max(asked) < 499, "the newest are still on their way"
    total = meter.total()
    assert sorted(asked) == list(range(500))
    assert (total.device_seconds, total.rows, total.padded_rows, total.forwards) == (250.0, 500, 500, 500)
    assert meter.total() == total
