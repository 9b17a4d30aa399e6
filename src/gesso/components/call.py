"""One call of a hosted network: its arguments made canonical, and what it takes for two calls to agree."""

import inspect
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from gesso.components.layouts import CallLayout
from gesso.components.scope import ImageScope
from gesso.components.state import CallState
from gesso.components.trace import digest
from gesso.components.tree import PLAIN, leaves, mapped
from gesso.core.errors import GessoError
from gesso.core.recipe import Segment

if TYPE_CHECKING:
    from gesso.components.component import Component


class GradientError(GessoError):
    """A hosted network was asked for gradients; training uses networks that are not hosted."""

    def __init__(self, component: str, path: str) -> None:
        super().__init__(
            f"`{component}` is hosted and computes no gradients, but `{path}` requires one",
            hint="train with the plain module, before it is hosted",
        )


@dataclass(kw_only=True, eq=False)
class Call:
    """A call on its way. Made by the caller's thread, answered by the worker.

    Attributes:
        arguments: canonical: by name, defaults left out, lists as tuples, rows contiguous on the component's device.
        rows: number of rows, or 1 for a call that cannot be merged.
        key: calls with equal keys agree and may run as one forward; `None` never agrees.
        segments: where the rows ran; filled by the worker.
        first_considered: when it was first the next to run; from then on it waits for company.
    """

    component: "Component"
    method: str
    arguments: Mapping[str, Any]
    layout: CallLayout | None
    rows: int
    key: Hashable | None
    states: tuple[CallState, ...]
    scope: ImageScope
    number: int
    placement: tuple[Segment, ...] | None = None
    answer: "Future[Any]" = field(default_factory=Future)
    segments: tuple[Segment, ...] = ()
    first_considered: float | None = None

    @property
    def exact(self) -> bool:
        return self.scope.exact

    @property
    def name(self) -> str:
        return self.component.name if self.method == "forward" else f"{self.component.name}.{self.method}"


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


def canonical(component: "Component", layout: CallLayout, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments in the one form in which calls are compared and merged; `None` if a leaf is not understood."""
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
                return times.to(component.device)
        if isinstance(leaf, torch.Tensor):
            if layout.is_rows(path) and leaf.ndim > 0 and leaf.shape[0] == rows:
                if layout.is_cast(path) and leaf.is_floating_point() and leaf.dtype != component.dtype:
                    leaf = leaf.to(component.dtype)
                return _plain(leaf.to(component.device))
            if layout.is_unbatched(path):
                return _plain(leaf.to(component.device))
            understood = False
        elif not isinstance(leaf, PLAIN):
            understood = False
        return leaf

    changed = {name: mapped(value, change, name) for name, value in given.items()}
    return changed if understood else None


def agreement_key(
    component: "Component",
    method: str,
    layout: CallLayout,
    arguments: Mapping[str, Any],
    states: tuple[CallState, ...],
    exact: bool,
) -> Hashable:
    """What must be equal for two calls to run as one forward. Values are compared by value, never by `repr`."""
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
    return id(component), method, states, exact, tuple(described)


def refuse_gradients(component: "Component", arguments: Mapping[str, Any]) -> None:
    """Raises `GradientError` for an argument that requires a gradient."""
    for path, leaf in leaves(arguments):
        if isinstance(leaf, torch.Tensor) and leaf.requires_grad:
            raise GradientError(component.name, path)


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
