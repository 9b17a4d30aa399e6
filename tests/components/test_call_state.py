"""Call state: what a shared network shall be like during one picture's calls, entered and left by the worker."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from bench import Bench, rows
from callers import Caller, HoldableWorker, results, together
from gesso.components.execute import ComponentError
from gesso.components.scope import ImageScope
from gesso.components.state import VaeTiling, all_entered
from toys import COUNTING, CountingNetwork

Host = Callable[..., Any]
entries: list[tuple[str, float, int]] = []
"""What states of this module did: enter or leave, which, on which thread."""


@dataclass(frozen=True)
class Strength:
    """As a LoRA scale: the weight of the network for one call."""

    value: float

    @contextmanager
    def entered(self, module: nn.Module) -> Iterator[None]:
        network: Any = module
        before = network.weight.data
        entries.append(("enter", self.value, threading.get_ident()))
        network.weight.data = torch.tensor(self.value)
        try:
            yield
        finally:
            network.weight.data = before
            entries.append(("leave", self.value, threading.get_ident()))


@dataclass(frozen=True)
class Impossible:
    """A state that cannot be entered, as an adapter that was unloaded meanwhile."""

    @contextmanager
    def entered(self, module: nn.Module) -> Iterator[None]:
        raise LookupError("no such adapter")
        yield


@pytest.fixture(autouse=True)
def nothing_entered() -> None:
    entries.clear()


def scope(*states: Any, component: str = "net") -> ImageScope:
    return ImageScope(call_states={component: states})


def test_the_state_of_a_picture_holds_for_its_calls_and_for_nobody_else(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    strong, plain = together(
        worker, [lambda: network(rows(1.0)), lambda: network(rows(1.0))], [scope(Strength(5.0)), scope()]
    )
    torch.testing.assert_close(strong.result(), rows(5.0))
    torch.testing.assert_close(plain.result(), rows(2.0))
    assert network.weight.item() == 2.0


def test_the_state_of_one_component_is_not_entered_on_another(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    caller = Caller(lambda: network(rows(1.0)), scope(Strength(5.0), component="another"))
    torch.testing.assert_close(caller.result(), rows(2.0))
    assert entries == []


def test_a_state_is_entered_and_left_on_the_thread_of_the_worker(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    Caller(lambda: network(rows(1.0)), scope(Strength(5.0))).result()
    [thread] = network.control.threads
    assert entries == [("enter", 5.0, thread), ("leave", 5.0, thread)]


def test_a_state_is_left_also_when_the_forward_raises(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    network.control.fails_for.add(1.0)
    error = Caller(lambda: network(rows(1.0)), scope(Strength(5.0))).error()
    assert isinstance(error, ComponentError)
    assert [kind for kind, *_ in entries] == ["enter", "leave"]
    assert network.weight.item() == 2.0
    torch.testing.assert_close(network(rows(3.0)), rows(6.0))


def test_calls_in_equal_states_share_a_forward_and_calls_in_different_ones_do_not(
    host: Host, worker: HoldableWorker
) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    scopes = [scope(Strength(5.0)), scope(Strength(7.0)), scope(Strength(5.0)), scope()]
    callers = together(worker, [lambda: network(rows(1.0))] * 4, scopes)
    found = [output[0, 0].item() for output in results(callers)]
    assert found == [5.0, 7.0, 5.0, 2.0]
    assert network.control.batches == [[1.0, 1.0], [1.0], [1.0]]


def test_states_are_part_of_agreement_in_their_order() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING)

    def call(*states: Any) -> Any:
        return bench.call(rows(1.0), scope=scope(*states))

    assert bench.agree(call(Strength(1.0), Strength(2.0)), call(Strength(1.0), Strength(2.0)))
    assert not bench.agree(call(Strength(1.0), Strength(2.0)), call(Strength(2.0), Strength(1.0)))
    assert not bench.agree(call(Strength(1.0)), call())


def test_states_are_entered_in_order_and_left_in_reverse() -> None:
    with all_entered((Strength(1.0), Strength(2.0)), CountingNetwork()):
        pass
    assert [(kind, value) for kind, value, _ in entries] == [
        ("enter", 1.0),
        ("enter", 2.0),
        ("leave", 2.0),
        ("leave", 1.0),
    ]


def test_a_state_that_cannot_be_entered_fails_its_own_picture_and_leaves_the_others_it_entered() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING)
    bad, good = bench.call(rows(1.0), scope=scope(Strength(5.0), Impossible())), bench.call(rows(1.0))
    bench.worker.executor.run([bad])
    with pytest.raises(ComponentError, match="no such adapter"):
        bad.answer.result(timeout=0)
    assert [kind for kind, *_ in entries] == ["enter", "leave"]
    torch.testing.assert_close(bench.run(good)[0], rows(2.0))


def test_a_forward_in_a_state_is_not_reused_as_self_test_of_another_state() -> None:
    """In exact mode rows are tried in the very state that they will run in."""
    bench = Bench(CountingNetwork(), layouts=COUNTING, exact_rows=2)
    network: Any = bench.component.module
    for strength in (5.0, 7.0):
        call = bench.call(rows(1.0), scope=ImageScope(exact=True, call_states={"net": (Strength(strength),)}))
        torch.testing.assert_close(bench.run(call)[0], rows(strength))
        assert network.control.forward_calls == 5
        network.control.batches.clear()


@pytest.fixture
def vae() -> Any:
    """A real autoencoder whose tiles are 8 latents wide."""
    vae: Any = zoo.build("sd1").vae
    vae.tile_latent_min_size, vae.tile_sample_min_size = 8, 64
    return vae


def test_a_large_picture_is_decoded_in_tiles_and_its_neighbour_whole(
    vae: Any, host: Host, worker: HoldableWorker
) -> None:
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole = vae.decode(latents).sample
        vae.enable_tiling()
        tiled = vae.decode(latents).sample
        vae.disable_tiling()
    assert not torch.equal(whole, tiled)
    host(vae, name="vae")
    scopes = [ImageScope(call_states={"vae": (VaeTiling(),)}), ImageScope()]
    first, second = together(worker, [lambda: vae.decode(latents).sample] * 2, scopes)
    assert torch.equal(first.result(), tiled)
    assert torch.equal(second.result(), whole)
    assert vae.use_tiling is False


def test_a_vae_that_tiles_anyway_still_does_afterwards(vae: Any) -> None:
    vae.enable_tiling()
    with all_entered((VaeTiling(),), vae):
        assert vae.use_tiling is True
    assert vae.use_tiling is True


def test_tiling_is_left_also_when_decoding_fails(vae: Any) -> None:
    with pytest.raises(RuntimeError, match="broken"), all_entered((VaeTiling(),), vae):
        raise RuntimeError("broken")
    assert vae.use_tiling is False
