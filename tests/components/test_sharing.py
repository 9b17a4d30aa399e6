"""Batching really happens: pictures share forwards, on the virtual clock and on threads, and leave nothing behind."""

import gc
import sys
import threading
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
import torch

from callers import Caller, HoldableWorker, results
from gesso.components.hosting import Hosting
from gesso.components.scope import ImageScope, entered
from simulation import ROW_SECONDS, STEP_SECONDS, Plan, Rule, VirtualBackend, VirtualStudio, drive, solo
from toys import (
    TIMEOUT_SECONDS,
    TOY_LAYOUTS,
    FakeDevice,
    ToyDecoder,
    ToyDenoiser,
    ToyTextEncoder,
    VirtualClock,
    seeded,
)

STEPS = 10


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
def test_eight_equal_pictures_share_their_forwards(guided: bool, exact: bool) -> None:
    studio = VirtualStudio(exact_rows=16)
    plans = [Plan(seed=seed, steps=STEPS, guided=guided, arrival_seconds=0.002 * seed) for seed in range(8)]
    outcomes = studio.run(*(replace(plan, exact=exact) for plan in plans))
    assert all(outcome.error is None for outcome in outcomes)
    self_test = 4 if exact else 0
    assert studio.forward_calls("unet") - self_test <= 1.3 * STEPS
    assert studio.forward_calls("text") - self_test <= 2
    assert studio.forward_calls("vae") == 8  # pictures are decoded by themselves


def test_eight_pictures_of_mixed_rules_share_their_forwards() -> None:
    """Steps of one picture run beside other steps of others: first-order, second-order, with noise of their own."""
    studio = VirtualStudio()
    rules: list[Rule] = ["euler", "noisy", "heun", "euler"] * 2
    steps = {"euler": STEPS, "noisy": STEPS, "heun": STEPS // 2}
    outcomes = studio.run(
        *(Plan(seed=seed, steps=steps[rule], rule=rule, guided=True) for seed, rule in enumerate(rules))
    )
    assert all(outcome.error is None for outcome in outcomes)
    assert studio.forward_calls("unet") <= 1.3 * STEPS
    assert studio.forward_calls("text") <= 2
    assert studio.forward_calls("vae") == 8


def test_pictures_join_and_leave_at_every_step() -> None:
    studio = VirtualStudio()
    long = Plan(seed=0, steps=12)
    short = [Plan(seed=1 + index, steps=3, arrival_seconds=1.0 + 2.5 * index) for index in range(4)]
    studio.run(long, *short)
    assert studio.forward_calls("unet") <= 1.3 * 12


def seconds_of_one_among_three(priority: int) -> float:
    """How long a short picture takes that comes while three long ones run, on a device with room for one."""
    patient = [Plan(seed=seed, steps=12, guided=True) for seed in range(3)]
    late = Plan(seed=9, steps=3, guided=True, priority=priority, arrival_seconds=5.0)
    outcomes = VirtualStudio(max_rows=2).run(*patient, late)
    assert all(outcome.error is None for outcome in outcomes)
    ended = outcomes[3].ended_seconds
    assert ended is not None
    return ended - late.arrival_seconds


def test_an_urgent_picture_overtakes_at_every_step() -> None:
    forward = STEP_SECONDS + 2 * ROW_SECONDS
    calls = 1 + 3 + 1
    # At most one forward of another is in the way of each of its calls: the one that began while it was away.
    assert seconds_of_one_among_three(priority=10) <= 2 * calls * forward + 0.1
    assert seconds_of_one_among_three(priority=0) > 2 * calls * forward + 0.1


def host_toys(worker: HoldableWorker, **options: Any) -> dict[str, Any]:
    hosting = Hosting()
    networks: dict[str, Any] = {"text": ToyTextEncoder(), "unet": ToyDenoiser(), "vae": ToyDecoder()}
    for seed, (name, network) in enumerate(networks.items()):
        layouts = TOY_LAYOUTS[type(network)]
        hosting.host(seeded(network, seed), name=name, worker=worker, dtype=torch.float32, layouts=layouts, **options)
    return networks


def hosted_picture(
    networks: dict[str, Any], worker: HoldableWorker, plan: Plan, meeting: threading.Barrier | None = None
) -> torch.Tensor:
    """As a picture's thread makes it; with a `meeting` it waits for the others before it is decoded."""
    scope = ImageScope(exact=plan.exact)

    def call(name: str, arguments: Any) -> Any:
        network = networks[name]
        if name == "vae" and meeting is not None:
            worker.leave(scope)
            meeting.wait(TIMEOUT_SECONDS)
        return network.decode(**arguments) if name == "vae" else network(**arguments)

    with entered(scope):
        try:
            return drive(plan, call)
        finally:
            worker.leave(scope)


def test_eight_equal_pictures_on_real_threads_share_their_forwards() -> None:
    """Between forwards the clock stands still, so that patience never ends: who is expected is waited for."""
    device = FakeDevice(clock=VirtualClock())
    worker = HoldableWorker(device, threads=1, clock=device.clock)
    networks = host_toys(worker, backend=VirtualBackend(device.clock))
    plans = [Plan(seed=seed, steps=STEPS, guided=True) for seed in range(8)]
    meeting = threading.Barrier(len(plans))
    try:
        with worker.held():
            callers = [Caller(lambda plan=plan: hosted_picture(networks, worker, plan, meeting)) for plan in plans]
            worker.wait_for_queued(len(plans))
        worker.wait_for_queued(len(plans) * (STEPS + 1))
        for plan, picture in zip(plans, results(callers), strict=True):
            torch.testing.assert_close(picture, solo(plan).picture, rtol=0, atol=1e-3)
        assert networks["unet"].control.forward_calls <= 1.3 * STEPS
        assert networks["text"].control.forward_calls == 1
        assert networks["vae"].control.forward_calls == len(plans)
    finally:
        worker.close()


def test_exact_pictures_on_real_threads_have_their_solo_bytes(worker: HoldableWorker) -> None:
    networks = host_toys(worker)
    plans = [
        Plan(seed=seed, steps=4 + seed, guided=seed % 2 == 0, rule="heun" if seed == 3 else "euler", exact=True)
        for seed in range(6)
    ]
    callers = [Caller(lambda plan=plan: hosted_picture(networks, worker, plan)) for plan in plans * 2]
    for plan, picture in zip(plans * 2, results(callers), strict=True):
        assert picture.numpy().tobytes() == solo(plan).data()


# --- memory


def test_two_thousand_calls_leave_nothing_behind(worker: HoldableWorker) -> None:
    networks = host_toys(worker)
    for network in networks.values():
        network.control.visit = lambda rows: None  # what the toys remember for tests grows on purpose

    def pictures(count: int) -> None:
        """Each of 40 calls, some exact, some that cannot be merged, some that fail."""
        for number in range(count):
            plan = Plan(seed=number, steps=38, exact=number % 2 == 0)
            hosted_picture(networks, worker, plan)

    resource = pytest.importorskip("resource", reason="there is no RSS to read here")
    pictures(5)
    gc.collect()
    tracemalloc.start()
    try:
        pictures(3)
        gc.collect()
        before, objects, rss = tracemalloc.get_traced_memory()[0], len(gc.get_objects()), _peak_bytes(resource)
        pictures(50)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
    assert len(gc.get_objects()) - objects < 500
    assert _peak_bytes(resource) - rss < 50 * 2**20


def _peak_bytes(resource: Any) -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
