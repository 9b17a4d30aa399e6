"""Fitting an adapter to a model: every key finds its layer and its form, or is told of."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gesso.core.errors import InputError
from gesso.models.adapters.changes import LayerChange, LowRank, hadamard, kronecker, with_core
from gesso.models.adapters.file import AdapterFile
from gesso.models.adapters.keys import StoredLayer, take_apart
from gesso.models.adapters.names import LayerShape, Names, Place

Factors = Mapping[str, Tensor]


class MisfitError(Exception):
    """A layer of an adapter cannot be what it should be; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What became of every key of an adapter."""

    algorithms: tuple[str, ...]
    matched: tuple[str, ...]
    """Keys whose layers the model has under the adapter's own names."""
    converted: tuple[str, ...]
    """Keys whose layers the model has under other names."""
    ignored: Mapping[str, str] = field(default_factory=dict[str, str])
    """Key → why nothing is done with it."""

    @property
    def keys(self) -> int:
        return len(self.matched) + len(self.converted) + len(self.ignored)


@dataclass(frozen=True, kw_only=True)
class FittedAdapter:
    """An adapter as a model takes it."""

    changes: Mapping[str, Mapping[str, LayerChange]]
    """By network and path."""
    account: Account


def fit(file: AdapterFile, names: Names) -> FittedAdapter:
    """Find the layers of an adapter in a model.

    Raises:
        InputError: it is of an algorithm that is not applied.
    """
    stored = take_apart(file.tensors)
    if stored.refused is not None:
        raise InputError(
            f"`{file.path}` is an adapter of the kind {stored.refused}, which is not applied yet",
            hint="LoRA, LoCon, LoHa, LoKr, DoRA and full differences are",
        )
    changes: dict[str, dict[str, LayerChange]] = {}
    ignored = dict.fromkeys(stored.strange, "its ending is not known")
    found: dict[bool, list[str]] = {False: [], True: []}
    algorithms: dict[str, None] = {}
    for layer in stored.layers.values():
        keys = layer.keys.values()
        try:
            place = _placed(layer, names)
            change = _changed(layer, file, _shape_of(place, names))
            parts = _apart(change, place, names)
            taken = [path for path in place.paths if path in changes.get(place.network, {})]
            if taken:
                raise MisfitError(f"another layer of the file changes `{taken[0]}` too")
        except MisfitError as error:
            ignored.update(dict.fromkeys(keys, str(error)))
            continue
        changes.setdefault(place.network, {}).update(parts)
        found[place.converted] += keys
        algorithms["DoRA" if change.magnitude is not None else layer.algorithm or ""] = None
    return FittedAdapter(
        changes=changes,
        account=Account(
            algorithms=tuple(algorithms),
            matched=tuple(found[False]),
            converted=tuple(found[True]),
            ignored=ignored,
        ),
    )


def _placed(layer: StoredLayer, names: Names) -> Place:
    if layer.algorithm is None:
        raise MisfitError("the other factors of its layer are not in the file")
    place = names.find(layer.module)
    if place is None:
        missing = names.missing_network(layer.module)
        raise MisfitError(f"the model has no `{missing}`" if missing else "the model has no such layer")
    return place


def _shape_of(place: Place, names: Names) -> LayerShape:
    """Of all the modules together."""
    shapes = [names.networks[place.network].layers[path] for path in place.paths]
    outputs = sum(shape.weight[0] for shape in shapes)
    return LayerShape(
        weight=(outputs, *shapes[0].weight[1:]),
        bias=all(shape.bias for shape in shapes),
        product=all(shape.product for shape in shapes),
    )


def _changed(layer: StoredLayer, file: AdapterFile, shape: LayerShape) -> LayerChange:
    try:
        return _change(layer, file, shape)
    except (RuntimeError, IndexError) as error:  # of torch, for factors whose sizes do not belong together
        raise MisfitError(f"its factors do not fit together: {str(error).splitlines()[0]}") from error


def _change(layer: StoredLayer, file: AdapterFile, shape: LayerShape) -> LayerChange:
    factors = {part: file.tensors[key].float() for part, key in layer.keys.items()}
    low_rank: LowRank | None = None
    dense: Tensor | None = None
    match layer.algorithm:
        case "LoRA":
            scale = _scale(layer, file, rank=factors["down"].shape[0])
            low_rank = _low_rank(factors, scale, shape)
        case "LoHa":
            scale = _scale(layer, file, rank=factors["hada_w1_b"].shape[0])
            w1_a, w1_b, w2_a, w2_b = (factors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
            product = hadamard(w1_a, w1_b, w2_a, w2_b, factors.get("hada_t1"), factors.get("hada_t2"))
            dense = scale * _shaped(product, shape)
        case "LoKr":
            dense = _lokr(layer, file, factors, shape)
        case _:
            dense = _shaped(factors["diff"], shape) if "diff" in factors else None
    magnitude, by_columns = _magnitude(factors, shape)
    if magnitude is not None and (not shape.product or (low_rank is None and dense is None)):
        raise MisfitError("it gives a length to weights that it does not change")
    return LayerChange(
        low_rank=low_rank,
        dense=dense if dense is None or "scalar" not in factors else dense * factors["scalar"],
        bias=_bias(layer, file, factors, shape),
        magnitude=magnitude,
        by_columns=by_columns,
    )


def _scale(layer: StoredLayer, file: AdapterFile, *, rank: int) -> float:
    """Alpha over rank; 1 where no alpha is stored anywhere."""
    key = layer.keys.get("alpha")
    alpha = float(file.tensors[key]) if key is not None else file.scales.alpha(layer.module)
    if alpha is None:
        return 1.0
    if not math.isfinite(alpha) or rank == 0:
        raise MisfitError(f"its scale is alpha {alpha:g} over rank {rank}")
    return alpha / (math.sqrt(rank) if key is None and file.scales.by_root(layer.module) else rank)


def _low_rank(factors: Factors, scale: float, shape: LayerShape) -> LowRank:
    outputs, inputs, *kernel = _sizes(shape)
    ones = [1] * len(kernel)
    down, up, mid = factors["down"], factors["up"] * scale, factors.get("mid")
    rank = down.shape[0]
    wanted = {
        "down": (down, (rank, inputs, *(ones if mid is not None else kernel))),
        "up": (up, (outputs, mid.shape[0] if mid is not None else rank, *ones)),
    }
    if mid is not None:
        if not kernel:
            raise MisfitError("it has the core of a convolution, and the layer of the model is none")
        wanted["mid"] = (mid, (mid.shape[0], rank, *kernel))
    made = {name: _reshaped(name, tensor, size) for name, (tensor, size) in wanted.items()}
    return LowRank(down=made["down"], up=made["up"] * factors.get("scalar", torch.ones(())), mid=made.get("mid"))


def _lokr(layer: StoredLayer, file: AdapterFile, factors: Factors, shape: LayerShape) -> Tensor:
    first, second = factors.get("lokr_w1"), factors.get("lokr_w2")
    ranks: list[int] = []
    if first is None:
        first = factors["lokr_w1_a"] @ factors["lokr_w1_b"]
        ranks.append(factors["lokr_w1_b"].shape[0])
    if second is None:
        core, a, b = factors.get("lokr_t2"), factors["lokr_w2_a"], factors["lokr_w2_b"]
        second = a @ b if core is None else with_core(core, a, b)
        ranks.append(b.shape[0])
    # Both factors whole: there is no rank, and alpha, which is stored all the same, says nothing.
    scale = _scale(layer, file, rank=ranks[-1]) if ranks else 1.0
    return scale * _shaped(kronecker(first, second), shape)


def _magnitude(factors: Factors, shape: LayerShape) -> tuple[Tensor | None, bool]:
    """(DoRA's lengths, whether they are of columns). PEFT has those of rows; LyCORIS both, told by the shape."""
    rows, either = factors.get("lora_magnitude"), factors.get("dora_scale")
    stored = either if rows is None else rows
    if stored is None:
        return None, False
    outputs, inputs, *_ = _sizes(shape)
    by_columns = False
    if rows is None:
        by_columns = stored.ndim > 1 and stored.shape[0] == 1 and stored.numel() == inputs
    if stored.numel() != (inputs if by_columns else outputs):
        raise MisfitError(f"its magnitude has {stored.numel()} values, the layer has {outputs} outputs")
    return stored.flatten(), by_columns


def _bias(layer: StoredLayer, file: AdapterFile, factors: Factors, shape: LayerShape) -> Tensor | None:
    bias = factors.get("diff_b")
    if "lora_bias" in factors:
        scaled = factors["lora_bias"] * _scale(layer, file, rank=factors["down"].shape[0])
        bias = scaled if bias is None else bias + scaled
    if bias is None:
        return None
    if bias.numel() != shape.weight[0]:
        raise MisfitError(f"its bias has {bias.numel()} values, the layer has {shape.weight[0]} outputs")
    return bias.flatten()


def _sizes(shape: LayerShape) -> tuple[int, ...]:
    if len(shape.weight) < 2:
        raise MisfitError("the layer of the model is no linear layer or convolution")
    return shape.weight


def _shaped(tensor: Tensor, shape: LayerShape) -> Tensor:
    """A dense change, in the shape of the weights: 1x1 convolutions and linear layers are stored either way."""
    if tensor.numel() != math.prod(shape.weight) or tensor.shape[0] != shape.weight[0]:
        raise MisfitError(f"its change is {list(tensor.shape)}, the layer is {list(shape.weight)}")
    return tensor.reshape(shape.weight)


def _reshaped(name: str, tensor: Tensor, size: tuple[int, ...]) -> Tensor:
    if _without_ones(tensor.shape) != _without_ones(size):
        raise MisfitError(f"its `{name}` is {list(tensor.shape)}, the layer needs {list(size)}")
    return tensor.reshape(size)


def _without_ones(size: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of rank and width, then those of the kernel that are more than a point."""
    return (*size[:2], *(side for side in size[2:] if side != 1))


def _apart(change: LayerChange, place: Place, names: Names) -> dict[str, LayerChange]:
    """The change of each module: the outputs of a fused layer are theirs one after the other."""
    layers = names.networks[place.network].layers
    if change.bias is not None and any(not layers[path].bias and not layers[path].product for path in place.paths):
        raise MisfitError("it changes a bias, and the norm of the model has none")
    if place.swapped:
        change = change.outputs(_halves_swapped)
    if len(place.paths) == 1:
        return {place.paths[0]: change}
    if change.by_columns:
        raise MisfitError("it gives the columns of a fused layer their length, and the model has its parts apart")
    parts: dict[str, LayerChange] = {}
    start = 0
    for path in place.paths:
        parts[path] = change.outputs(_rows(start, start + layers[path].weight[0]))
        start += layers[path].weight[0]
    return parts


def _rows(start: int, stop: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[start:stop]


def _halves_swapped(tensor: Tensor) -> Tensor:
    first, second = tensor.chunk(2)
    return torch.cat([second, first])
