"""The arguments of a call: bound to names, made canonical, and what must be equal in two calls that agree."""

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any, cast

import torch

from gesso.components.layouts import CallLayout
from gesso.components.trace import digest
from gesso.components.tree import PLAIN, leaves, mapped
from gesso.core.errors import GessoError


class GradientError(GessoError):
    """A hosted network was asked for gradients; training uses networks that are not hosted."""

    def __init__(self, component: str, path: str) -> None:
        super().__init__(
            f"`{component}` is hosted and computes no gradients, but `{path}` requires one",
            hint="train with the plain module, before it is hosted",
        )


@cache
def signature_of(module_class: type, method: str) -> inspect.Signature:
    """The signature below the decorators, which often show nothing but `**kwargs`."""
    function: Callable[..., Any] = getattr(module_class, method)
    return inspect.signature(inspect.unwrap(function))


@dataclass(frozen=True, kw_only=True)
class _Parameters:
    """What a method takes besides `self`, in the form that every call needs.

    `inspect` binds arguments in ten times the time, which a small network takes for a tenth of its forward.
    """

    defaults: Mapping[str, Any]
    """By name, in their order; `inspect.Parameter.empty` for one that must be given."""
    positional: tuple[str, ...]
    takes_others: bool
    """Whether there are `**kwargs`."""


@cache
def _parameters_of(module_class: type, method: str) -> _Parameters | None:
    """`None` for a method that takes positional arguments without a name."""
    _, *parameters = signature_of(module_class, method).parameters.values()
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.POSITIONAL_ONLY in kinds:
        return None
    return _Parameters(
        defaults={each.name: each.default for each in parameters if each.kind is not each.VAR_KEYWORD},
        positional=tuple(each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD),
        takes_others=inspect.Parameter.VAR_KEYWORD in kinds,
    )


def bind(module_class: type, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments by name, `**kwargs` expanded, those equal to their default left out.

    Returns `None` for a call that names alone cannot express (a method with `*args`).
    Raises `TypeError` as Python does for arguments that do not fit.
    """
    takes = _parameters_of(module_class, method)
    if takes is None:
        return None
    given = dict(zip(takes.positional, args, strict=False))
    given.update(kwargs)
    named = {
        name: given[name]
        for name, default in takes.defaults.items()
        if name in given and not _is_default(given[name], default)
    }
    others = {name: value for name, value in kwargs.items() if name not in takes.defaults}
    missing = any(default is inspect.Parameter.empty and name not in given for name, default in takes.defaults.items())
    if missing or len(given) < len(args) + len(kwargs) or (others and not takes.takes_others):
        signature_of(module_class, method).bind(None, *args, **kwargs)  # says what does not fit; None stands for self
    return named | others


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and isinstance(value, PLAIN) and value == default


def canonical(
    arguments: Mapping[str, Any], layout: CallLayout, *, device: torch.device, dtype: torch.dtype
) -> dict[str, Any] | None:
    """Arguments in the one form in which calls are compared and merged; `None` if a leaf is not understood.

    Args:
        device, dtype: where and in which number format the network computes.
    """
    given = {
        name: list(value) if name in layout.listed and isinstance(value, list | tuple) else _tuples(value)
        for name, value in arguments.items()
        if name not in layout.ignored
    }
    rows = _row_count(given.get(layout.rows[0]))
    if rows is None:
        return None
    understood = True

    def fitted(leaf: torch.Tensor, *, cast: bool) -> torch.Tensor:
        if cast and leaf.dtype != dtype and leaf.is_floating_point():
            leaf = leaf.to(dtype)
        return _plain(leaf if leaf.device == device else leaf.to(device))

    def change(path: str, leaf: Any) -> Any:
        nonlocal understood
        place = layout.at(path)
        if path in layout.listed and isinstance(leaf, list):
            items = cast(list[Any], leaf)
            understood &= len(items) == rows and all(_is_item(item) for item in items)
            return [fitted(item, cast=place.cast) if isinstance(item, torch.Tensor) else item for item in items]
        if place.timestep and isinstance(leaf, torch.Tensor | int | float):
            times = _timestep_rows(leaf, rows)
            if times is not None:
                return times.to(device)
        if isinstance(leaf, torch.Tensor):
            if place.rows and leaf.ndim > 0 and leaf.shape[0] == rows:
                return fitted(leaf, cast=place.cast)
            if place.unbatched:
                return fitted(leaf, cast=False)
            understood = False
        elif not isinstance(leaf, PLAIN):
            understood = False
        return leaf

    changed = {name: mapped(value, change, name, whole=layout.listed) for name, value in given.items()}
    return changed if understood else None


def agreement_key(arguments: Mapping[str, Any], layout: CallLayout) -> Hashable:
    """What must be equal in the arguments of two calls that run as one forward: values by value, never by `repr`.

    Args:
        arguments: canonical.
    """
    described: list[tuple[str, Hashable]] = []
    for path, leaf in leaves(arguments, containers=True, whole=layout.listed):
        if path in layout.listed and isinstance(leaf, list):
            described.append((path, _shapes(cast(list[Any], leaf), layout.listed[path])))
        elif isinstance(leaf, dict | list | tuple):
            described.append((path, type(leaf)))  # an empty one has no leaves, and may mean something else than none
        elif not isinstance(leaf, torch.Tensor):
            described.append((path, (type(leaf), leaf)))
        elif (place := layout.at(path)).unbatched:
            described.append((path, (leaf.dtype, leaf.shape, digest(leaf).hex())))
        elif place.alike:
            kinds = leaf.unique(dim=0)  # how many rows have which of them is nobody's business
            described.append((path, (leaf.dtype, leaf.shape[1:], digest(kinds).hex())))
        elif place.mask:
            described.append((path, (leaf.dtype, leaf.shape[1:], bool(leaf.all()))))
        else:
            described.append((path, (leaf.dtype, leaf.shape[1:])))
    described.sort(key=lambda item: item[0])  # keyword order is the caller's whim
    return tuple(described)


def refuse_gradients(component: str, arguments: Mapping[str, Any]) -> None:
    """Raises `GradientError` for an argument of `component` that requires a gradient."""
    for path, leaf in leaves(arguments):
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
            raise GradientError(component, path)


def _row_count(primary: Any) -> int | None:
    if isinstance(primary, torch.Tensor) and primary.ndim > 0:
        return primary.shape[0]
    return len(cast(list[Any], primary)) if isinstance(primary, list) and primary else None


def _is_item(item: Any) -> bool:
    """Whether a row can be this: a tensor, or plain values in whatever containers."""
    if isinstance(item, torch.Tensor):
        return item.ndim > 0
    return all(isinstance(leaf, PLAIN) for _, leaf in leaves(item))


def _shapes(items: Sequence[Any], multiple: int) -> Hashable:
    """What rows must have in common: one description if they are all alike, otherwise one for each."""
    described = [
        (item.dtype, -(-item.shape[0] // multiple) * multiple, item.shape[1:])
        if isinstance(item, torch.Tensor)
        else _tuples(item)
        for item in items
    ]
    return described[0] if all(one == described[0] for one in described) else tuple(described)


def _plain(leaf: torch.Tensor) -> torch.Tensor:
    """`leaf` in row-major order, also for a lone call: nobody's bytes depend on the strides of a neighbour.

    `contiguous` alone leaves dimensions of size 1 their strides, and those can still say "channels last" to a kernel.
    """
    if leaf.stride() == _row_major(leaf.shape):
        return leaf
    return leaf.contiguous().reshape(-1).view(leaf.shape)


@cache
def _row_major(shape: torch.Size) -> tuple[int, ...]:
    """Strides of a tensor whose last index runs fastest."""
    return tuple(prod(shape[place + 1 :]) for place in range(len(shape)))


def _tuples(value: Any) -> Any:
    """Pipelines pass residuals now as a list, now as a tuple: one form."""
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return tuple(_tuples(item) for item in value)
    if type(value) is dict:
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _timestep_rows(leaf: torch.Tensor | float, rows: int) -> torch.Tensor | None:
    """[rows]: schedulers give int64, float32 or float64, with or without a dimension; networks read them as float32."""
    times = leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf)
    if not times.is_floating_point() or times.dtype == torch.float64:
        times = times.to(torch.float32)
    if times.ndim == 0 or times.shape == (1,):
        times = times.reshape(1).expand(rows)
    return times.contiguous() if times.shape == (rows,) else None
