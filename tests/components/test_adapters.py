"""Adapters on a network that others use at the same time: each call has its own, and the weights are never touched."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import adapter_layouts as layouts
import zoo
from callers import Caller, HoldableWorker, together
from gesso.components.adapters import Adapted, AdaptedLayers, AdapterWeights, BoundChange, adapted_forward, gain_of
from gesso.components.execute import ComponentError
from gesso.components.scope import ImageScope
from gesso.core.errors import ClosedError
from gesso.models.adapters.changes import LayerChange, LowRank

Host = Callable[..., Any]


class Shelf:
    """Adapters of a thin UNet, each changing all its linear layers and convolutions."""

    def __init__(self, unet: nn.Module) -> None:
        self.unet = unet
        self.kept: list[AdaptedLayers] = []

    def bound(self, seed: int) -> dict[str, BoundChange]:
        generator = torch.Generator().manual_seed(seed)
        found: dict[str, BoundChange] = {}
        for path in layouts.attention_paths(self.unet):
            weight: Any = self.unet.get_submodule(path).weight
            outputs, inputs, *kernel = weight.shape
            down = torch.randn(2, inputs, *kernel, generator=generator) / (inputs * 4) ** 0.5
            up = torch.randn(outputs, 2, *[1] * len(kernel), generator=generator) * 0.2
            found[path] = BoundChange(change=LayerChange(low_rank=LowRank(down=down, up=up)))
        return found

    def state(self, *adapters: tuple[int, float]) -> Adapted:
        """A state with adapters of those seeds at those weights."""
        changes: dict[str, list[tuple[BoundChange, float]]] = {}
        for seed, weight in adapters:
            for path, bound in self.bound(seed).items():
                changes.setdefault(path, []).append((bound, weight))
        forwards = [
            (layer, adapted_forward(layer, found))
            for path, found in changes.items()
            if (layer := self.unet.get_submodule(path))
        ]
        self.kept.append(AdaptedLayers(forwards))
        key = tuple(AdapterWeights(sha256=f"{seed:064x}", weight=weight) for seed, weight in adapters)
        return Adapted(key, weakref.ref(self.kept[-1]))

    def merged(self, *adapters: tuple[int, float]) -> Any:
        """Another UNet whose weights are W + ΔW."""
        other: Any = zoo.build("sd1").unet  # pyright: ignore[reportAttributeAccessIssue]
        for seed, weight in adapters:
            for path, bound in self.bound(seed).items():
                delta = bound.change.delta()
                assert delta is not None
                other.get_submodule(path).weight.data += weight * delta
        return other


@pytest.fixture
def unet() -> Any:
    return zoo.build("sd1").unet  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def shelf(unet: Any) -> Shelf:
    return Shelf(unet)


def inputs(seed: int, rows: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "sample": torch.randn(rows, 4, 8, 8, generator=generator),
        "timestep": torch.tensor(500),
        "encoder_hidden_states": torch.randn(rows, 7, 32, generator=generator),
    }


def call(unet: Any, seed: int) -> Callable[[], Tensor]:
    return lambda: unet(**inputs(seed), return_dict=False)[0]


def scope(*states: Any, exact: bool = False) -> ImageScope:
    return ImageScope(exact=exact, call_states={"net": states} if states else {})


def plain(unet: Any, seed: int) -> Tensor:
    with torch.no_grad():
        return unet(**inputs(seed), return_dict=False)[0]


def test_a_call_with_adapters_is_a_call_of_the_merged_network(unet: Any, shelf: Shelf, host: Host) -> None:
    expected = plain(shelf.merged((1, 0.8), (2, -0.5)), seed=3)
    state = shelf.state((1, 0.8), (2, -0.5))
    host(unet)
    made = Caller(call(unet, 3), scope(state)).result()
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)


def test_the_weights_are_one_copy_and_bitwise_as_before(unet: Any, shelf: Shelf, host: Host) -> None:
    before = {name: (value.data_ptr(), value.clone()) for name, value in unet.named_parameters()}
    untouched = plain(unet, seed=3)
    state = shelf.state((1, 1.0))
    host(unet)
    assert not torch.equal(Caller(call(unet, 3), scope(state)).result(), untouched)
    assert torch.equal(Caller(call(unet, 3), scope()).result(), untouched)
    for name, value in unet.named_parameters():
        place, values = before[name]
        assert value.data_ptr() == place
        assert torch.equal(value, values)
    assert not any("forward" in part.__dict__ for part in unet.modules())


def test_concurrent_calls_with_other_adapters_keep_their_own(
    unet: Any, shelf: Shelf, host: Host, worker: HoldableWorker
) -> None:
    states = [(shelf.state((1, 1.0)),), (shelf.state((2, 1.0)),), ()]
    host(unet)
    alone = [Caller(call(unet, seed), scope(*state, exact=True)).result() for seed, state in enumerate(states)]
    for _ in range(2):
        scopes = [scope(*state, exact=True) for state in states]
        made = together(worker, [call(unet, seed) for seed in range(3)], scopes)
        assert all(torch.equal(one.result(), other) for one, other in zip(made, alone, strict=True))


def test_calls_with_the_same_adapters_share_a_forward_whoever_read_them(
    unet: Any, shelf: Shelf, host: Host, worker: HoldableWorker
) -> None:
    states = [shelf.state((1, 1.0)), shelf.state((1, 1.0)), shelf.state((1, 0.5))]
    host(unet)
    scopes = [scope(state) for state in states]
    for caller in together(worker, [call(unet, seed) for seed in range(3)], scopes):
        caller.result()
    rows = [[segment.batch_rows for entry in each.trace.entries() for segment in entry.segments] for each in scopes]
    assert rows == [[2], [2], [1]]


def test_the_layers_are_as_before_also_when_the_forward_fails(unet: Any, shelf: Shelf, host: Host) -> None:
    state = shelf.state((1, 1.0))
    host(unet)
    wrong = {**inputs(3), "encoder_hidden_states": torch.ones(1, 7, 9)}
    assert isinstance(Caller(lambda: unet(**wrong), scope(state)).error(), ComponentError)
    assert not any("forward" in part.__dict__ for part in unet.modules())


def test_a_block_has_its_own_weight_and_the_longest_name_counts() -> None:
    weights = AdapterWeights(
        sha256="", weight=2.0, blocks=(("down_blocks", 0.5), ("down_blocks.1", 0.0), ("mid_block", 3.0))
    )
    assert weights.of("down_blocks.0.resnets.0.conv1") == 1.0
    assert weights.of("down_blocks.1.resnets.0.conv1") == 0.0
    assert weights.of("down_blocks.10.resnets.0.conv1") == 1.0
    assert weights.of("mid_block.attentions.0.proj_in") == 6.0
    assert weights.of("up_blocks.0.resnets.0.conv1") == 2.0


def test_what_calls_agreed_on_keeps_no_adapter_in_memory(unet: Any, shelf: Shelf, host: Host) -> None:
    state = shelf.state((1, 1.0))
    host(unet)
    Caller(call(unet, 3), scope(state, exact=True)).result()
    layers = state.layers
    shelf.kept.clear()
    gc.collect()
    assert layers() is None
    assert isinstance(Caller(call(unet, 3), scope(state)).error(), ClosedError)


def test_dora_is_computed_from_the_weights_as_they_are(unet: Any) -> None:
    layer = unet.get_submodule("conv_in")
    change = LayerChange(
        low_rank=LowRank(down=torch.ones(1, 4, 3, 3), up=torch.ones(len(layer.weight), 1, 1, 1)),
        magnitude=torch.full((len(layer.weight),), 2.0),
    )
    bound = BoundChange(change=change, gain=gain_of(layer, change))
    whole = layer.weight + 1.0
    lengths = whole.flatten(1).norm(dim=1)[:, None, None, None]
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.conv2d(x, 2 * whole / lengths, layer.bias, padding=1)
    torch.testing.assert_close(adapted_forward(layer, [(bound, 1.0)])(x), expected, rtol=1e-5, atol=1e-5)


def test_a_component_tells_its_state_apart_from_others_of_the_same_adapters(unet: Any, shelf: Shelf) -> None:
    """Equality is of files and weights, and what is written down of a state is the same in every process."""
    one, other = shelf.state((1, 1.0)), shelf.state((1, 1.0))
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)
    assert one != shelf.state((1, 0.9))
    assert one != shelf.state((1, 1.0), (2, 1.0))
