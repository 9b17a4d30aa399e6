"""What goes wrong in a merged forward reaches the request that caused it, and no other."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from bench import Bench, rows
from callers import Caller, HoldableWorker, results, together
from gesso.components.execute import ComponentError, OutOfMemoryError
from gesso.components.scope import ImageScope
from gesso.core.errors import GessoError, InputError, NonFiniteError
from toys import COUNTING, TIMEOUT_SECONDS, Control, CountingNetwork, FakeDevice, ToyOutOfMemoryError

Host = Callable[..., Any]
VALUES = (1.0, 2.0, 3.0, 4.0)


@pytest.fixture
def network(host: Host) -> Any:
    return host(CountingNetwork(), layouts=COUNTING)


def calls(network: Any, *pairs: float) -> list[Callable[[], Any]]:
    """A guidance pair of each value."""
    return [lambda value=value: network(rows(value, value + 0.5)) for value in pairs]


def test_an_error_in_a_merged_forward_reaches_the_request_that_caused_it_and_no_other(
    network: Any, worker: HoldableWorker
) -> None:
    network.control.fails_for.add(3.0)
    callers = together(worker, calls(network, *VALUES))
    error = callers[2].error()
    assert isinstance(error, ComponentError)
    assert str(error) == "`net` failed: ValueError: a bad row"
    assert isinstance(error.__cause__, ValueError)
    for index in (0, 1, 3):
        assert torch.equal(callers[index].result(), 2 * rows(VALUES[index], VALUES[index] + 0.5))


def test_the_requests_of_a_failed_batch_are_run_apart_once_with_their_pairs_together(
    network: Any, worker: HoldableWorker
) -> None:
    network.control.fails_for.add(2.5)
    callers = together(worker, calls(network, 1.0, 2.0, 3.0))
    callers[1].error()
    results([callers[0], callers[2]])
    assert network.control.batches == [[1.0, 1.5, 2.0, 2.5, 3.0, 3.5], [1.0, 1.5], [2.0, 2.5], [3.0, 3.5]]


def test_a_lone_call_that_fails_is_not_run_again(network: Any) -> None:
    network.control.fails_for.add(1.0)
    with pytest.raises(ComponentError):
        network(rows(1.0))
    assert network.control.forward_calls == 1
    torch.testing.assert_close(network(rows(5.0)), rows(10.0))


def test_each_caller_gets_an_error_of_its_own_even_if_the_network_always_raises_the_same_object(
    network: Any, worker: HoldableWorker
) -> None:
    for shared in (ValueError("always this one"), InputError("always this one", hint="mend it")):
        network.control.fails_for.update(VALUES)
        network.control.error = lambda shared=shared: shared
        errors = [caller.error() for caller in together(worker, calls(network, *VALUES))]
        assert len(set(map(id, errors))) == len(VALUES)
        assert shared not in errors
        assert all("always this one" in str(error) for error in errors)


def test_an_error_that_gesso_raised_on_purpose_keeps_its_type_and_hint(network: Any) -> None:
    network.control.fails_for.add(1.0)
    network.control.error = lambda: InputError("no such thing", hint="try another")
    with pytest.raises(InputError, match="no such thing") as caught:
        network(rows(1.0))
    assert caught.value.hint == "try another"


def test_an_error_without_words_and_one_of_many_lines_are_one_line_each(network: Any) -> None:
    network.control.fails_for.add(1.0)
    lines = {"`net` failed: KeyError": KeyError(), "`net` failed: ValueError: one": ValueError("one\ntwo")}
    for line, error in lines.items():
        network.control.error = lambda error=error: error
        with pytest.raises(ComponentError) as caught:
            network(rows(1.0))
        assert str(caught.value) == line


class Watched(nn.Module):
    """Makes a large tensor in its forward, of which the test wants to know whether it is still there."""

    def __init__(self) -> None:
        super().__init__()
        self.workspaces: list[weakref.ref[torch.Tensor]] = []
        self.alive: list[int] = []

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        self.alive.append(sum(reference() is not None for reference in self.workspaces))
        return self.inner(sample)

    def inner(self, sample: torch.Tensor) -> torch.Tensor:
        workspace = torch.zeros(1000)
        self.workspaces.append(weakref.ref(workspace))
        if len(sample) > 1:
            try:
                raise ToyOutOfMemoryError("no room")
            except ToyOutOfMemoryError as error:
                raise RuntimeError("no room in the attention") from error
        return sample * 2 + workspace[0]


@pytest.mark.parametrize("out_of_memory", [True, False])
def test_what_a_failed_batch_held_is_gone_before_its_calls_run_again(out_of_memory: bool) -> None:
    network = Watched()
    bench = Bench(network, layouts=COUNTING)
    device: Any = bench.worker.device
    device.full_for = lambda error: out_of_memory and isinstance(error, RuntimeError)
    outputs = bench.run(*(bench.call(rows(value)) for value in VALUES))
    assert [output[0, 0].item() for output in outputs] == [2.0, 4.0, 6.0, 8.0]
    assert network.alive == [0] * 5
    assert device.emptied == (1 if out_of_memory else 0)


def test_an_error_that_reaches_its_caller_holds_no_tensors_of_the_batch() -> None:
    class Failing(Watched):
        def forward(self, sample: torch.Tensor) -> torch.Tensor:
            return self.inner(torch.cat([sample, sample]))

    network = Failing()
    bench = Bench(network, layouts=COUNTING)
    call = bench.call(rows(1.0))
    bench.worker.executor.run([call])
    assert isinstance(call.answer.exception(timeout=0), ComponentError)
    gc.collect()
    assert network.workspaces[0]() is None


def test_out_of_memory_alone_says_so_with_a_remedy_and_others_go_on(host: Host) -> None:
    device = FakeDevice()
    worker, network = HoldableWorker(device, threads=1), CountingNetwork()
    from gesso.components.hosting import Hosting

    Hosting().host(network, name="net", worker=worker, dtype=torch.float32, layouts=COUNTING)
    network.control.error = lambda: ToyOutOfMemoryError("tried to allocate")
    network.control.fails_for.add(2.0)
    try:
        callers = together(worker, calls(network, 1.0, 2.0, 3.0))
        error = callers[1].error()
        assert isinstance(error, OutOfMemoryError)
        assert error.exit_code == 4
        assert "Out of memory on `cpu` while running `net`" in str(error)
        assert error.hint
        results([callers[0], callers[2]])
        assert device.emptied >= 1
    finally:
        worker.close()


def test_a_batch_that_does_not_fit_runs_apart_and_nobody_notices() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.control = Control()

        def forward(self, sample: torch.Tensor) -> torch.Tensor:
            self.control.visit(sample)
            if len(sample) > 2:
                raise ToyOutOfMemoryError("too many rows")
            return sample * 2

    bench = Bench(Small(), layouts=COUNTING)
    outputs = bench.run(*(bench.call(rows(value, value + 0.5)) for value in VALUES))
    assert [len(output) for output in outputs] == [2] * 4
    network: Any = bench.component.module
    assert [len(batch) for batch in network.control.batches] == [8, 2, 2, 2, 2]


# --- numbers that are none


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_fails_its_own_request_and_names_component_and_step(
    bad: float, network: Any, worker: HoldableWorker
) -> None:
    scopes = [ImageScope(step=step) for step in (4, 7)]
    callers = together(worker, [lambda: network(rows(1.0)), lambda: network(rows(bad))], scopes)
    assert torch.equal(callers[0].result(), rows(2.0))
    error = callers[1].error()
    assert isinstance(error, NonFiniteError)
    assert "`net` produced NaN or infinite values at step 7" in str(error)
    assert (error.component, error.step) == ("net", 7)
    assert network.control.forward_calls == 1, "nothing raised in the forward, so nothing is run again"


def test_nan_before_the_first_step_names_the_call(network: Any) -> None:
    def picture() -> None:
        network(rows(1.0))
        network(rows(float("nan")))

    assert "in call 1" in str(Caller(picture, ImageScope()).error())


def test_nan_in_any_output_counts_and_integers_have_none() -> None:
    class Several(nn.Module):
        def forward(self, sample: torch.Tensor) -> Any:
            return {"ids": torch.ones(len(sample), dtype=torch.int64), "deep": (sample, [sample / 0])}

    bench = Bench(Several(), layouts=COUNTING)
    call = bench.call(rows(1.0))
    bench.run(call)
    with pytest.raises(NonFiniteError):
        bench.finish(call)


def test_what_an_accelerator_computed_is_read_at_the_next_call_and_at_the_end() -> None:
    """Nobody waits for the device only to look for NaN; but none is missed."""
    from torch import Tensor

    class OnDevice:
        """A flag whose tensor says that it lives on an accelerator."""

        device = torch.device("cuda:0")

        def __init__(self, finite: bool) -> None:
            self.finite, self.read = finite, False

        def __bool__(self) -> bool:
            self.read = True
            return self.finite

    scope, flags = ImageScope(), [OnDevice(True), OnDevice(False)]
    unread: Any = scope._unread
    unread.append((flags[0], "unet", 0, 0))
    scope.settle(keep=1)
    assert not flags[0].read
    unread.append((flags[1], "unet", 1, 1))
    scope.settle(keep=1)
    assert flags[0].read
    assert not flags[1].read
    with pytest.raises(NonFiniteError, match="step 1"):
        scope.settle()
    assert isinstance(torch.zeros(1), Tensor)


def test_errors_on_many_threads_never_mix(network: Any) -> None:
    """Bad and good pictures for a while, all at once: everybody gets what is theirs."""
    network.control.fails_for.add(13.0)
    barrier = threading.Barrier(8)

    def picture(value: float) -> list[Any]:
        barrier.wait(TIMEOUT_SECONDS)
        found: list[Any] = []
        for _ in range(10):
            try:
                found.append(network(rows(value))[0, 0].item())
            except GessoError as error:
                found.append(type(error))
        return found

    values = [13.0 if index % 3 == 0 else float(index) for index in range(8)]
    callers = [Caller(lambda value=value: picture(value)) for value in values]
    for value, found in zip(values, results(callers), strict=True):
        assert found == [ComponentError if value == 13.0 else 2 * value] * 10
