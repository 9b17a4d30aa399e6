"""The arguments of a call: bound to names, made canonical, and what must be equal in two calls that agree."""

import inspect
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any

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


def bind(module_class: type, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments by name, `**kwargs` expanded, those equal to their default left out.

    Returns `None` for a call that names alone cannot express (a method with `*args`).
    Raises `TypeError` as Python does for arguments that do not fit.
    """
    signature = signature_of(module_class, method)
    bound = signature.bind(None, *args, **kwargs)  # None stands for self
    named: dict[str, Any] = {}
    for index, (name, value) in enumerate(bound.arguments.items()):
        parameter = signature.parameters[name]
        if index == 0:
            continue
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY}:
            return None
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(value)
        elif not _is_default(value, parameter.default):
            named[name] = value
    return named


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and isinstance(value, PLAIN) and value == default


def canonical(
    arguments: Mapping[str, Any], layout: CallLayout, *, device: torch.device, dtype: torch.dtype
) -> dict[str, Any] | None:
    """Arguments in the one form in which calls are compared and merged; `None` if a leaf is not understood.

    Args:
        device, dtype: where and in which number format the network computes.
    """
    given = {name: _tuples(value) for name, value in arguments.items() if name not in layout.ignored}
    primary = given.get(layout.rows[0])
    if not isinstance(primary, torch.Tensor) or primary.ndim == 0:
        return None
    rows = primary.shape[0]
    understood = True

    def change(path: str, leaf: Any) -> Any:
        nonlocal understood
        if layout.is_timestep(path) and isinstance(leaf, torch.Tensor | int | float):
            times = _timestep_rows(leaf, rows)
            if times is not None:
                return times.to(device)
        if isinstance(leaf, torch.Tensor):
            if layout.is_rows(path) and leaf.ndim > 0 and leaf.shape[0] == rows:
                if layout.is_cast(path) and leaf.is_floating_point() and leaf.dtype != dtype:
                    leaf = leaf.to(dtype)
                return _plain(leaf.to(device))
            if layout.is_unbatched(path):
                return _plain(leaf.to(device))
            understood = False
        elif not isinstance(leaf, PLAIN):
            understood = False
        return leaf

    changed = {name: mapped(value, change, name) for name, value in given.items()}
    return changed if understood else None


def agreement_key(arguments: Mapping[str, Any], layout: CallLayout) -> Hashable:
    """What must be equal in the arguments of two calls that run as one forward: values by value, never by `repr`.

    Args:
        arguments: canonical.
    """
    described: list[tuple[str, Hashable]] = []
    for path, leaf in leaves(arguments, containers=True):
        if isinstance(leaf, dict | list | tuple):
            described.append((path, type(leaf)))  # an empty one has no leaves, and may mean something else than none
        elif not isinstance(leaf, torch.Tensor):
            described.append((path, (type(leaf), leaf)))
        elif layout.is_unbatched(path):
            described.append((path, (leaf.dtype, leaf.shape, digest(leaf).hex())))
        else:
            described.append((path, (leaf.dtype, leaf.shape[1:])))
    described.sort(key=lambda item: item[0])  # keyword order is the caller's whim
    return tuple(described)


def refuse_gradients(component: str, arguments: Mapping[str, Any]) -> None:
    """Raises `GradientError` for an argument of `component` that requires a gradient."""
    for path, leaf in leaves(arguments):
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
            raise GradientError(component, path)


def _plain(leaf: torch.Tensor) -> torch.Tensor:
    """`leaf` in row-major order, also for a lone call: nobody's bytes depend on the strides of a neighbour.

    `contiguous` alone leaves dimensions of size 1 their strides, and those can still say "channels last" to a kernel.
    """
    return leaf.contiguous().reshape(-1).view(leaf.shape)


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
