"""The one thread of a device: who runs on it, in what state, how far it runs ahead, and how it ends."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from bench import Bench, BenchWorker, rows
from callers import Caller, HoldableWorker, results, together
from gesso.components.arguments import GradientError
from gesso.components.execute import IN_FLIGHT
from gesso.components.hosting import Hosting
from gesso.core.errors import ClosedError
from gesso.devices.cpu import CpuDevice
from toys import COUNTING, TIMEOUT_SECONDS, CountingNetwork, FakeDevice, VirtualClock

Host = Callable[..., Any]


def test_all_calls_of_all_pictures_run_on_one_thread(host: Host, worker: HoldableWorker) -> None:
    networks = [host(CountingNetwork(), layouts=COUNTING) for _ in range(2)]
    callers = [Caller(lambda: [network(rows(1.0)) for network in networks * 5]) for _ in range(4)]
    results(callers)
    threads = {thread for network in networks for thread in network.control.threads}
    assert len(threads) == 1
    assert threads.isdisjoint({threading.get_ident()})


def test_calls_that_agree_and_wait_run_as_one_forward(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    found = results(together(worker, [lambda value=value: network(rows(value)) for value in (1.0, 2.0, 3.0, 4.0)]))
    assert network.control.batches == [[1.0, 2.0, 3.0, 4.0]]
    assert [output[0, 0].item() for output in found] == [2.0, 4.0, 6.0, 8.0]


def test_the_worker_computes_with_its_own_number_of_threads_and_leaves_the_others_theirs() -> None:
    worker, hosting = HoldableWorker(CpuDevice(), threads=2), Hosting()
    try:
        network: Any = CountingNetwork()
        hosting.host(network, name="net", worker=worker, dtype=torch.float32)

        def picture() -> int:
            torch.set_num_threads(1)
            network(rows(1.0))
            return torch.get_num_threads()

        assert Caller(picture).result() == 1
        assert network.control.torch_threads == [2]
    finally:
        worker.close()


def test_forwards_record_no_gradients_whatever_the_picture_has_on(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    assert torch.is_grad_enabled()
    assert not network(rows(1.0)).requires_grad
    assert network.control.grad == [False]


def test_a_call_with_gradients_is_refused_and_names_the_argument(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    with pytest.raises(GradientError, match=r"`net` is hosted .* `residuals\.1` requires one"):
        network(rows(1.0), residuals=[rows(1.0), rows(1.0).requires_grad_()])
    with torch.no_grad(), pytest.raises(GradientError):
        network(rows(1.0).requires_grad_())
    assert network.control.forward_calls == 0


def test_a_job_runs_on_the_worker_between_two_batches(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    network.control.gate = gate = threading.Event()
    caller = Caller(lambda: network(rows(1.0)))
    assert network.control.started.acquire(timeout=TIMEOUT_SECONDS)
    job = worker.run(lambda: (threading.get_ident(), network.control.forward_calls, caller.done()))
    assert not job.done()  # the batch is still running
    gate.set()
    thread, forwards, _ = job.result(TIMEOUT_SECONDS)
    assert thread == network.control.threads[0]
    assert forwards == 1


def test_a_job_goes_before_waiting_calls(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    with worker.held():
        caller = Caller(lambda: network(rows(1.0)))
        worker.wait_for_queued()
        job = worker.run(lambda: network.control.forward_calls)
    assert job.result(TIMEOUT_SECONDS) == 0
    caller.result()


def test_a_job_that_fails_tells_who_gave_it_and_the_worker_goes_on(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 // 0).result(TIMEOUT_SECONDS)
    torch.testing.assert_close(network(rows(1.0)), rows(2.0))


def test_a_job_given_by_a_job_runs_at_once(worker: HoldableWorker) -> None:
    assert worker.run(lambda: worker.run(lambda: 5).result(timeout=0)).result(TIMEOUT_SECONDS) == 5


# --- the end


@pytest.fixture
def network(host: Host) -> Any:
    return host(CountingNetwork(), layouts=COUNTING)


@pytest.fixture
def busy(network: Any) -> Iterator[tuple[threading.Event, Caller]]:
    """A forward that runs until the gate is opened, and who waits for it."""
    network.control.gate = gate = threading.Event()
    caller = Caller(lambda: network(rows(1.0)))
    assert network.control.started.acquire(timeout=TIMEOUT_SECONDS)
    yield gate, caller
    gate.set()


def test_a_close_fails_every_waiting_call_within_a_second_and_finishes_the_one_that_runs(
    busy: tuple[threading.Event, Caller], network: Any, worker: HoldableWorker
) -> None:
    gate, running = busy
    worker.wait_for_queued()
    waiting = [Caller(lambda: network(rows(2.0))) for _ in range(8)]
    worker.wait_for_queued(8)
    job = worker.run(lambda: None)
    began = time.perf_counter()
    closing = Caller(worker.close)
    errors = [caller.error(timeout=1) for caller in waiting]
    assert isinstance(job.exception(timeout=1), ClosedError)
    assert time.perf_counter() - began < 1
    assert all(isinstance(error, ClosedError) and "closed" in str(error) for error in errors)
    assert len(set(map(id, errors))) == len(errors), "each caller gets an error of its own"
    assert not running.done()
    gate.set()
    torch.testing.assert_close(running.result(), rows(2.0))
    closing.result()
    assert network.control.forward_calls == 1


def test_a_job_that_waits_when_the_worker_closes_is_not_run_by_the_thread_that_closes(
    busy: tuple[threading.Event, Caller], worker: HoldableWorker
) -> None:
    gate, _ = busy
    ran: list[int] = []
    job = worker.run(lambda: ran.append(threading.get_ident()))
    closing = Caller(worker.close)
    assert isinstance(job.exception(timeout=TIMEOUT_SECONDS), ClosedError)
    gate.set()
    closing.result()
    assert ran == []


def test_after_the_close_calls_and_jobs_are_refused_at_once(network: Any, worker: HoldableWorker) -> None:
    worker.close()
    worker.close()  # safe to call again
    with pytest.raises(ClosedError, match="closed"):
        network(rows(1.0))
    with pytest.raises(ClosedError):
        worker.run(lambda: None)


class Dead(BaseException):
    """What no boundary catches, as `SystemExit`."""


@pytest.mark.rough(
    "threads",
    tried="the device's thread dies in the middle of a forward",
    happens="every call ends within a second, with the cause",
    told="`ClosedError`: “… died …”",
)
def test_a_worker_that_dies_fails_every_call_within_a_second_with_the_cause(
    busy: tuple[threading.Event, Caller], network: Any, worker: HoldableWorker, caplog: pytest.LogCaptureFixture
) -> None:
    gate, running = busy
    worker.wait_for_queued()
    network.control.fails_for.add(1.0)
    network.control.error = lambda: Dead("no more")
    waiting = [Caller(lambda: network(rows(2.0))) for _ in range(4)]
    worker.wait_for_queued(4)
    began = time.perf_counter()
    gate.set()
    errors = [caller.error(timeout=1) for caller in (running, *waiting)]
    assert time.perf_counter() - began < 1
    assert {str(error) for error in errors} == {"The worker of `cpu` died: Dead: no more"}
    assert len(set(map(id, errors))) == len(errors)
    with pytest.raises(ClosedError, match="Dead: no more"):
        network(rows(1.0))
    worker.close()
    assert "died" in caplog.text


# --- accelerators


def test_an_accelerator_has_at_most_two_batches_in_flight() -> None:
    assert IN_FLIGHT == 2
    device = FakeDevice(accelerator=True)
    worker, hosting = HoldableWorker(device, threads=1, clock=device.clock), Hosting()
    network: Any = CountingNetwork()
    hosting.host(network, name="net", worker=worker, dtype=torch.float32, layouts=COUNTING)
    try:
        for value in (1.0, 2.0):
            Caller(lambda value=value: network(rows(value))).result()  # answered when launched, not when done
            worker.wait_for_queued()
        assert device.waited.acquire(timeout=TIMEOUT_SECONDS), "the worker ran ahead of the device"
        others = [Caller(lambda value=value: network(rows(value))) for value in (3.0, 4.0, 5.0)]
        worker.wait_for_queued(3)
        assert network.control.forward_calls == 2
        device.finish()
        results(others)
        assert network.control.batches[:2] == [[1.0], [2.0]]
        assert sorted(network.control.batches[2]) == [3.0, 4.0, 5.0], "while the device worked, calls found each other"
    finally:
        device.accelerator = False
        device.finish(forwards=9)
        worker.close()


def test_a_step_of_an_accelerator_is_timed_by_the_device() -> None:
    device = FakeDevice(accelerator=True)
    bench = Bench(CountingNetwork(), layouts=COUNTING, worker=BenchWorker(device))

    class SlowDevice:
        """A backend whose work takes three seconds of the device."""

        name = "slow"

        def run(self, module: Any, method: str, arguments: Any) -> Any:
            device.clock.time += 3.0
            return module(**arguments)

    bench.component.backend = SlowDevice()
    for _ in range(3):
        device.finish(forwards=1)
        bench.run(bench.call(rows(1.0)))
    assert bench.component.pace("forward") == 3.0


def test_nothing_on_an_accelerator_keeps_a_network_that_was_let_go() -> None:
    import gc
    import weakref

    bench = Bench(CountingNetwork(), layouts=COUNTING, worker=BenchWorker(FakeDevice(accelerator=True)))
    worker, gone = bench.worker, weakref.ref(bench.component.module)
    bench.run(bench.call(rows(1.0)))
    worker.residency.forget(bench.component.weights)
    del bench
    gc.collect()
    assert gone() is None
    assert worker.executor is not None


def test_a_waiting_call_runs_when_its_patience_ends_although_nobody_else_comes() -> None:
    """The real thread and the virtual clock: time that goes on while the worker waits lets the call go."""

    class Ticking(VirtualClock):
        def now(self) -> float:
            self.time += 0.04
            return self.time

    device = FakeDevice(clock=Ticking())
    worker, hosting = HoldableWorker(device, threads=1, clock=device.clock), Hosting()
    network: Any = CountingNetwork()
    component = hosting.host(network, name="net", worker=worker, dtype=torch.float32, layouts=COUNTING)
    component.took("forward", 1.0)
    end = threading.Event()

    def picture() -> None:
        network(rows(1.0))
        assert end.wait(TIMEOUT_SECONDS)  # busy with something else between two calls

    try:
        others = [Caller(picture) for _ in range(2)]
        worker.wait_for_queued(2)
        torch.testing.assert_close(Caller(lambda: network(rows(3.0))).result(), rows(6.0))
        end.set()
        results(others)
    finally:
        worker.close()


def test_a_thread_that_inherits_the_ident_of_a_dead_worker_is_not_the_worker(worker: HoldableWorker) -> None:
    ident = worker.run(threading.get_ident).result()
    worker.close()
    taken_for_it: list[bool] = []

    def look() -> None:
        if threading.get_ident() == ident:
            taken_for_it.append(worker.is_current())

    for _ in range(100):  # the system gives the ident of a thread that ended to one of the next
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        if taken_for_it:
            break
    if not taken_for_it:
        pytest.skip("no thread got the ident of the worker")
    assert taken_for_it == [False]
