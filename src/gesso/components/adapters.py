"""Adapters as call state: added to what the layers of a shared network make, never to its weights.

    y = W x + b + sum over adapters of w · (ΔW x + Δb)

The weights stay as they are, one copy for all requests; a layer is given another `forward` while the state is entered.
DoRA at weight w is the same with w (W' - W) for ΔW, so that half of it is half way. A norm has no product to add to:
its parameters are replaced for the length of its forward.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesso.core.errors import ClosedError
from gesso.models.adapters.changes import LayerChange
from gesso.models.adapters.layers import is_product

Forward = Callable[..., Any]
Operation = Callable[[Tensor, Tensor], Tensor]
"""(input, weight) to output without bias."""


@dataclass(frozen=True, kw_only=True)
class AdapterWeights:
    """An adapter and how strongly it is applied: what decides its changes of a network."""

    sha256: str
    weight: float
    blocks: tuple[tuple[str, float], ...] = ()

    def of(self, path: str) -> float:
        """Weight on one layer: the longest beginning of its path that is named counts."""
        fitting = [(len(begins), factor) for begins, factor in self.blocks if begins_with(path, begins)]
        return self.weight * (max(fitting)[1] if fitting else 1.0)


def begins_with(path: str, begins: str) -> bool:
    """Whether a path is, or is below, the module that `begins` names."""
    return path == begins or path.startswith(f"{begins}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundChange:
    """A change of one layer, on the device of the layer."""

    change: LayerChange
    gain: Tensor | None = None
    """Of DoRA: m / |W + ΔW|, one for each output or input."""


class AdaptedLayers:
    """The layers of one network that some adapters change, each with the forward that does it.

    Keeps the tensors of the adapters and the layers alive; whoever makes calls in the state must keep it.
    """

    def __init__(self, forwards: Sequence[tuple[nn.Module, Forward]]) -> None:
        self.forwards = tuple(forwards)


@dataclass(frozen=True)
class Adapted:
    """A network with adapters. Equal where files, weights and their order are: such calls share a forward.

    The layers are held weakly, since what calls agreed on is remembered for longer than an adapter is in memory.
    """

    adapters: tuple[AdapterWeights, ...]
    layers: "weakref.ref[AdaptedLayers]" = field(compare=False, repr=False)

    @contextmanager
    def entered(self, module: nn.Module) -> Iterator[None]:
        found = self.layers()
        if found is None:
            raise ClosedError("The request of the adapters has ended")
        before = [layer.__dict__.get("forward") for layer, _ in found.forwards]
        try:
            for layer, forward in found.forwards:
                layer.__dict__["forward"] = forward
            yield
        finally:
            for (layer, _), own in zip(found.forwards, before, strict=True):
                layer.__dict__.pop("forward", None)
                if own is not None:
                    layer.__dict__["forward"] = own


def gain_of(layer: nn.Module, change: LayerChange) -> Tensor | None:
    """DoRA's gain of a layer whose weights are on their device; `None` for other changes."""
    return None if change.magnitude is None else change.gain(_weight(layer))


def adapted_forward(layer: nn.Module, changes: Sequence[tuple[BoundChange, float]]) -> Forward:
    """The forward of `layer` with each of `changes` at its weight."""
    base: Forward = layer.forward
    operation = _operation(layer)
    if operation is None:
        return _with_parameters(layer, base, changes)
    parts = [_addition(layer, operation, bound, weight) for bound, weight in changes]

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y = plain = base(x, *args, **kwargs)
        for add in parts:
            y = add(x, plain, y)
        return y

    return forward


def _operation(layer: nn.Module) -> Operation | None:
    """What a layer does with its weights; `None` if it is not a product."""
    if not is_product(layer):
        return None
    return _convolution(layer) if isinstance(layer, nn.Conv2d) else functional.linear


def _convolution(layer: nn.Conv2d) -> Operation:
    return lambda x, weight: layer._conv_forward(x, weight, None)  # which another state may have changed


def _addition(
    layer: nn.Module, operation: Operation, bound: BoundChange, weight: float
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """(x, plain output, output so far) to the output with one change more."""
    change, product = bound.change, _product(operation, bound.change)
    width = -1 if isinstance(layer, nn.Linear) else -3  # where the features are: [..., C] or [B, C, H, W]
    bias = None if change.bias is None else _along(change.bias, width)
    if bound.gain is None:

        def add(x: Tensor, plain: Tensor, y: Tensor) -> Tensor:
            if product is not None:
                y = y.add(product(x), alpha=weight)
            return y if bias is None else y.add(bias, alpha=weight)

        return add
    gain, assured = _along(bound.gain, width), product
    assert assured is not None

    def add_decomposed(x: Tensor, plain: Tensor, y: Tensor) -> Tensor:
        own_bias: Any = getattr(layer, "bias", None)
        if change.by_columns:  # (W + ΔW) g x - W x
            scaled = x * gain.to(x.dtype)
            difference = operation(scaled - x, _weight(layer)) + assured(scaled)
        else:  # g (W + ΔW) x - W x
            unbiased = plain if own_bias is None else plain - _along(own_bias, width)
            difference = gain.to(x.dtype) * (unbiased + assured(x)) - unbiased
        y = y.add(difference, alpha=weight)
        return y if bias is None else y.add(bias, alpha=weight)

    return add_decomposed


def _product(operation: Operation, change: LayerChange) -> Callable[[Tensor], Tensor] | None:
    """ΔW x. A low-rank change is applied factor by factor, the kernel where it is."""
    if change.low_rank is not None:
        down, up, mid = change.low_rank.down, change.low_rank.up, change.low_rank.mid
        if up.ndim == 2:
            return lambda x: functional.linear(functional.linear(x, down), up)
        if mid is None:
            return lambda x: functional.conv2d(operation(x, down), up)
        return lambda x: functional.conv2d(operation(functional.conv2d(x, down), mid), up)
    dense = change.dense
    return None if dense is None else lambda x: operation(x, dense)


def _along(values: Tensor, width: int) -> Tensor:
    """[C] as what multiplies features at dimension `width`."""
    return values.reshape(-1, *[1] * (-width - 1))


def _with_parameters(layer: nn.Module, base: Forward, changes: Sequence[tuple[BoundChange, float]]) -> Forward:
    """For norms and embeddings: their few parameters, changed for the length of one forward."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        own: dict[str, Any] = layer._parameters
        before = {name: own.get(name) for name in ("weight", "bias")}
        try:
            for name, parameter in before.items():
                if parameter is not None:
                    own[name] = _changed(parameter.data, name, changes)
            return base(*args, **kwargs)
        finally:
            own.update({name: parameter for name, parameter in before.items() if parameter is not None})

    return forward


def _changed(parameter: Tensor, name: str, changes: Sequence[tuple[BoundChange, float]]) -> Tensor:
    for bound, weight in changes:
        delta = bound.change.delta() if name == "weight" else bound.change.bias
        if delta is not None:
            parameter = parameter.add(delta.reshape(parameter.shape), alpha=weight)
    return parameter


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight
