"""Exact mode: bytes do not depend on company, and what would depend on its slot is found out and not shared."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

from bench import Bench, BenchWorker, rows
from callers import HoldableWorker, results, together
from gesso.components import component as component_module
from gesso.components.layouts import FORWARD
from gesso.components.scope import ImageScope
from toys import COUNTING, SAMPLE, TOY_LAYOUTS, CountingNetwork, SlotNetwork, ToyDenoiser, seeded

Host = Callable[..., Any]


def exact() -> ImageScope:
    return ImageScope(exact=True)


def arguments(seed: int, count: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "sample": torch.randn(count, 4, 8, 8, generator=generator),
        "timestep": torch.randint(1000, (), generator=generator),
        "encoder_hidden_states": torch.randn(count, 5, 16, generator=generator),
    }


@pytest.mark.parametrize("exact_rows", [1, 2, 4, 8])
def test_the_bytes_of_a_call_are_the_same_alone_and_in_any_company(exact_rows: int) -> None:
    bench = Bench(seeded(ToyDenoiser()), layouts=TOY_LAYOUTS[ToyDenoiser], exact_rows=exact_rows)
    given = [arguments(seed, count) for seed, count in enumerate((2, 1, 2, 1, 5, 2))]
    alone = [bench.run(bench.call(**one, scope=exact()))[0] for one in given]
    for order in ((0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 0, 4, 1, 5, 3)):
        together = bench.run(*(bench.call(**given[index], scope=exact()) for index in order))
        for index, output in zip(order, together, strict=True):
            assert torch.equal(output, alone[index])
    assert bench.said == []


def test_exact_calls_really_share_forwards(host: Host, worker: HoldableWorker) -> None:
    network = host(CountingNetwork(), layouts=COUNTING, exact_rows=4)
    scopes = [exact() for _ in range(4)]
    functions = [lambda value=value: network(rows(value)) for value in (1.0, 2.0, 3.0, 4.0)]
    results(together(worker, functions, scopes))
    assert network.control.batches[-1] == [1.0, 2.0, 3.0, 4.0]


def test_a_network_whose_rows_depend_on_their_slot_is_not_shared_and_says_so_once() -> None:
    bench = Bench(SlotNetwork(), layouts=SAMPLE, exact_rows=4)
    network: Any = bench.component.module
    given = (rows(1.0), rows(2.0, 3.0), rows(4.0))
    alone = [bench.run(bench.call(sample, scope=exact()))[0] for sample in given]
    network.control.batches.clear()
    for _ in range(3):
        together = bench.run(*(bench.call(sample, scope=exact()) for sample in given))
        assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
    assert network.control.batches == [[1.0], [2.0, 3.0], [4.0]] * 3
    assert bench.said == ["`net`: bytes depend on the slot at 4 rows; not shared in exact mode"]


@pytest.mark.parametrize("shared", ["amax", "amin", "mean"])
def test_a_network_whose_rows_influence_each_other_is_not_shared_although_its_data_says_so(shared: str) -> None:
    class Normalised(nn.Module):
        def forward(self, sample: torch.Tensor) -> torch.Tensor:
            return sample / (1 + getattr(sample.abs(), shared)())  # as per-tensor dynamic quantization

    bench = Bench(Normalised(), layouts=SAMPLE, exact_rows=2)
    alone = bench.run(bench.call(rows(1.0), scope=exact()))[0]
    together = bench.run(bench.call(rows(1.0), scope=exact()), bench.call(rows(900.0), scope=exact()))
    assert torch.equal(together[0], alone)
    assert "not shared in exact mode" in bench.said[0]


def test_the_verdict_is_found_once_for_each_shape() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING, exact_rows=2)
    network: Any = bench.component.module

    def forwards(width: int) -> int:
        before = network.control.forward_calls
        bench.run(bench.call(rows(1.0, width=width), scope=exact()))
        return network.control.forward_calls - before

    assert [forwards(width) for width in (3, 3, 5, 3, 5)] == [5, 1, 5, 1, 1]


def test_the_verdict_on_one_network_is_not_taken_for_another_at_the_same_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python gives the address of a network that was let go to the next one."""
    monkeypatch.setattr(component_module, "id", lambda _: 4711, raising=False)
    worker = BenchWorker()
    clean = Bench(CountingNetwork(), layouts=SAMPLE, worker=worker, exact_rows=4)
    clean.run(clean.call(rows(1.0), scope=exact()))
    other = Bench(SlotNetwork(), layouts=SAMPLE, worker=worker, exact_rows=4)
    other.run(other.call(rows(1.0), scope=exact()), other.call(rows(2.0), scope=exact()))
    assert "not shared in exact mode" in other.said[0]


def test_fast_and_exact_calls_never_run_as_one() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING)
    assert not bench.agree(bench.call(rows(1.0), scope=exact()), bench.call(rows(1.0)))


def test_a_lone_fast_call_is_neither_padded_nor_tried(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    network(rows(1.0, 2.0))
    assert network.control.batches == [[1.0, 2.0]]


def test_a_picture_is_decoded_by_itself() -> None:
    """Decoding gains nothing from company and would pay for the padding."""
    from toys import ToyDecoder

    bench = Bench(seeded(ToyDecoder()), layouts=TOY_LAYOUTS[ToyDecoder])
    network: Any = bench.component.module
    latents = [torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    calls = [bench.call(latent, method="decode", scope=exact()) for latent in latents]
    assert not bench.agree(calls[0], calls[1])
    bench.run(*calls)
    assert [len(batch) for batch in network.control.batches] == [1, 1, 1]


def test_the_self_test_leaves_no_trace_in_the_bill_of_a_picture() -> None:
    bench, scope = Bench(CountingNetwork(), layouts=COUNTING, exact_rows=4), exact()
    bench.run(bench.call(rows(1.0), scope=scope))
    assert scope.meter.total().forwards == 1


class Recording:
    """A backend that keeps what it was given."""

    name = "recording"

    def __init__(self) -> None:
        self.given: list[Mapping[str, Any]] = []

    def run(self, module: nn.Module, method: str, arguments: Mapping[str, Any]) -> Any:
        self.given.append(arguments)
        return module(**arguments)


def test_the_self_test_tries_rows_that_differ_in_other_orders() -> None:
    backend = Recording()
    bench = Bench(seeded(ToyDenoiser()), layouts=TOY_LAYOUTS[ToyDenoiser], exact_rows=4, backend=backend)
    bench.run(bench.call(**arguments(0, 1), scope=exact()))
    straight, reverse, first, last = (given["sample"] for given in backend.given[:4])
    assert len({row.numpy().tobytes() for row in straight}) == 4
    assert torch.equal(reverse, straight.flip(0))
    assert all(torch.equal(row, straight[0]) for row in first)
    assert all(torch.equal(row, straight[3]) for row in last)
    assert all(given["timestep"].shape == (4,) for given in backend.given)


def test_token_ids_of_made_up_rows_are_real_ids() -> None:
    from toys import ToyTextEncoder

    backend = Recording()
    layouts = {FORWARD: TOY_LAYOUTS[ToyTextEncoder][FORWARD]}
    bench = Bench(seeded(ToyTextEncoder()), layouts=layouts, backend=backend)
    ids = torch.tensor([[3, 1, 4, 15, 9]])
    bench.run(bench.call(ids, scope=exact()))
    assert all(set(row.tolist()) == {3, 1, 4, 15, 9} for given in backend.given for row in given["input_ids"])
