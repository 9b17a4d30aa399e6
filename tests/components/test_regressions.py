"""What once went wrong below the engine, each with the smallest case that shows it."""

import gc
import hashlib
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import Bench, rows
from callers import Caller, HoldableWorker
from gesso.components import face, trace
from gesso.components.execute import ComponentError
from gesso.components.hosting import Hosting
from gesso.components.journal import Journal
from gesso.components.residency import Residency, Weights
from gesso.components.scope import ImageScope
from gesso.components.trace import TraceRecorder
from gesso.core.errors import NonFiniteError
from gesso.core.recipe import Segment, TraceEntry
from toys import COUNTING, TIMEOUT_SECONDS, CountingNetwork, FakeDevice, FakeMarker

Host = Callable[..., Any]


# --- replay


@pytest.mark.parametrize(
    "recorded",
    [
        Segment(slot=3, rows=2, batch_rows=4),  # beyond its forward
        Segment(slot=0, rows=1, batch_rows=1),  # a row too few
        Segment(slot=-1, rows=2, batch_rows=4),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_a_recorded_place_that_cannot_be_is_passed_over_and_spoils_nothing(recorded: Segment, exact: bool) -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING)
    scope = ImageScope(exact=exact, placements={("net", "forward", 0): (recorded,)})
    (output,) = bench.run(bench.call(rows(1.0, 2.0), scope=scope))
    assert output[:, 0].tolist() == [2.0, 4.0]
    assert bench.said == []
    assert bench.component.layout("forward") is not None, "an altered picture stopped the merging of everybody"


def test_a_call_that_was_not_recorded_is_run_again_without_company() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING)
    again = bench.call(rows(1.0), scope=ImageScope(placements={}))
    assert not bench.agree(again, bench.call(rows(2.0)))


# --- accelerators, whose answers come later


@pytest.fixture
def as_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests of tensors of the CPU are taken as those of an accelerator are."""

    def late(self: Any, leaves: Any) -> None:
        self.hash = hashlib.blake2b(digest_size=8)
        self.late = [trace.checksum(leaf) for leaf in leaves]

    monkeypatch.setattr(trace.Digest, "__init__", late)


@pytest.mark.usefixtures("as_on_an_accelerator")
def test_a_digest_that_pictures_share_may_be_read_by_all_of_them_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = trace.digest(torch.arange(12.0))
    alone = trace.digest(torch.arange(12.0)).hex()
    both, read_bytes = threading.Barrier(2), trace._bytes

    def slow(leaf: torch.Tensor) -> Any:
        both.wait(TIMEOUT_SECONDS)
        return read_bytes(leaf)

    monkeypatch.setattr(trace, "_bytes", slow)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda _: shared.hex(), range(2))) == [alone, alone]


@pytest.mark.usefixtures("as_on_an_accelerator")
def test_all_digests_of_a_picture_are_read_at_one_look_at_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    stack = torch.stack
    monkeypatch.setattr(torch, "stack", lambda tensors: looks.append(len(tensors)) or stack(tensors))
    recorder = TraceRecorder()
    for call in range(3):
        entry = TraceEntry(component="net", method="forward", call=call, step=None, segments=(), digest="")
        recorder.add(entry, trace.digest(torch.full((2,), float(call))))
    found = [entry.digest for entry in recorder.entries()]
    assert looks == [3]
    assert found == [trace.digest(torch.full((2,), float(call))).hex() for call in range(3)]


class OnDevice(torch.Tensor):
    """A tensor that says it lives on an accelerator."""

    @property
    def device(self) -> torch.device:  # pyright: ignore[reportIncompatibleVariableOverride]
        return torch.device("cuda:0")


def test_looking_for_nan_waits_for_the_call_before_and_for_nothing_launched_since() -> None:
    device, scope = FakeDevice(accelerator=True), ImageScope()
    made: list[FakeMarker] = []

    def marker() -> FakeMarker:
        made.append(device.marker())
        return made[-1]

    def check(value: float, call: int) -> None:
        scope.check_finite(torch.tensor([value]).as_subclass(OnDevice), component="net", call=call, marker=marker)

    check(1.0, 0)
    assert not device.waited.acquire(blocking=False), "the first call has none before it"
    made[0].done.set()
    check(float("nan"), 1)
    made[1].done.set()
    with pytest.raises(NonFiniteError, match="call 1"):
        check(1.0, 2)
    assert not made[2].done.is_set()


def test_a_journal_never_keeps_what_was_not_looked_at(tmp_path: Path) -> None:
    """On an accelerator the look comes a call later: a resumed job would find NaN and take it for a picture."""
    bench = Bench(CountingNetwork(), layouts=COUNTING)
    call = bench.call(rows(1.0), scope=ImageScope(journal=Journal(tmp_path)))
    call.answer.set_result(torch.tensor([[float("nan")]]).as_subclass(OnDevice))
    with pytest.raises(NonFiniteError):
        bench.finish(call)
    assert list(tmp_path.iterdir()) == []


# --- memory


def test_an_error_that_is_kept_keeps_no_network_and_no_tensor(host: Host, hosting: Hosting) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    network.control.fails_for.add(1.0)
    given = rows(1.0)
    gone, tensor = weakref.ref(network), weakref.ref(given)
    with pytest.raises(ComponentError) as kept:
        network(given)
    cause = kept.value.__cause__
    assert isinstance(cause, ValueError)
    assert "raise self.error()" in cause.__notes__[0], "where it happened can still be read"
    del kept, given
    component = face.component_of(network)
    assert component is not None
    hosting.release(component)
    del network, component
    gc.collect()
    assert tensor() is None
    assert gone() is None


def test_a_released_network_is_gone_when_release_returns(hosting: Hosting, worker: HoldableWorker) -> None:
    """Whoever released it to make room looks at the free memory next."""
    network = CountingNetwork()
    component = hosting.host(network, name="net", worker=worker, dtype=torch.float32, layouts=COUNTING)
    worker.run(partial(worker.residency.settle, component.weights)).result(TIMEOUT_SECONDS)
    gone = weakref.ref(network)
    del network
    with worker.held():
        releasing = Caller(partial(hosting.release, component))
        assert not releasing.done()
    releasing.result()
    del component, releasing
    gc.collect()
    assert gone() is None
    assert not worker.residency._present


def test_a_model_that_stays_takes_room_from_those_that_come_and_go_and_lifts_no_limit() -> None:
    residency = Residency(torch.device("cpu"))
    residency.allot(100, resident_bytes=0)
    residency.allot(None, resident_bytes=30)
    assert residency.room_bytes == 70
    first, second = (Weights(torch.nn.Linear(15, 1, bias=False), name=name, offloaded=True) for name in "ab")
    for weights in (first, second):  # 60 bytes each: one at a time
        residency.settle(weights)
    assert list(residency._present.values()) == [second]


def test_weights_that_were_moved_in_only_in_part_are_moved_out() -> None:
    residency = Residency(torch.device("cpu"))
    linear = torch.nn.Linear(2, 2)
    weights = Weights(linear, name="net", offloaded=True)
    home = linear.weight.data
    weights._at_home[id(linear.weight)] = home
    linear.weight.data = home.clone()  # moved in; then the room ran out
    residency.forget(weights)
    assert linear.weight.data_ptr() == home.data_ptr()


# --- threads


class Dead(BaseException):
    """What no boundary catches, as `SystemExit`."""


def test_a_job_that_kills_the_worker_is_answered_too(worker: HoldableWorker) -> None:
    def kill() -> None:
        raise Dead

    job = worker.run(kill)
    with pytest.raises(Dead):
        job.result(TIMEOUT_SECONDS)
