"""How much a machine can gain at all: the time of a bare forward of the denoiser, by its number of rows.

What no batching can exceed: if 16 rows take 8 times as long as 2, sharing forwards gains nothing, whoever does it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from gesso.components.arguments import bind, canonical
from gesso.components.layouts import FORWARD, CallLayout, layouts_of
from gesso.components.tree import mapped
from gesso.core.errors import ModelError
from gesso.devices.base import Device

DENOISERS = ("unet", "transformer")
_WARM = 1


@dataclass(frozen=True, kw_only=True)
class RowScaling:
    """Median seconds of a forward, by its rows."""

    seconds: Mapping[int, float]

    def per_row(self, rows: int) -> float:
        """Seconds for each row of a forward of `rows` rows."""
        return self.seconds[rows] / rows

    def gain(self, few: int, many: int) -> float:
        """How many times cheaper a row is in a forward of `many` rows than in one of `few`."""
        return self.per_row(few) / self.per_row(many)


@dataclass(frozen=True, kw_only=True)
class DenoiserCall:
    """One call that a pipeline made of its denoiser, to be made again with any number of rows."""

    module: torch.nn.Module
    layout: CallLayout
    arguments: Mapping[str, Any] = field(repr=False)

    @property
    def rows(self) -> int:
        return self.arguments[self.layout.rows[0]].shape[0]

    def with_rows(self, rows: int) -> dict[str, Any]:
        """The arguments with the first row `rows` times."""

        def change(path: str, leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor) or not self.layout.has_rows(path, leaf):
                return leaf
            return leaf[:1].repeat(rows, *([1] * (leaf.ndim - 1)))

        return mapped(dict(self.arguments), change)


def captured(
    modules: Mapping[str, torch.nn.Module], run: Callable[[], object], *, device: torch.device, dtype: torch.dtype
) -> DenoiserCall:
    """The first call that `run` makes of the denoiser among `modules`.

    On the thread that may touch the modules: hosted ones want their worker's.

    Raises:
        ModelError: there is no denoiser whose rows are understood.
    """
    name = next((name for name in DENOISERS if name in modules), None)
    layout = None if name is None else layouts_of(type(modules[name])).get(FORWARD)
    if name is None or layout is None:
        raise ModelError("The denoiser of this model is of a class without row data", hint="its pictures run alone")
    module, seen = modules[name], list[Mapping[str, Any]]()

    def look(_module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not seen:
            named = bind(type(module), FORWARD, args, kwargs)
            arguments = None if named is None else canonical(named, layout, device=device, dtype=dtype)
            if arguments is not None:
                seen.append(mapped(arguments, lambda _, leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf))

    hook = module.register_forward_pre_hook(look, with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    if not seen:
        raise ModelError("The calls of the denoiser have arguments that are not understood", hint="they run alone")
    return DenoiserCall(module=module, layout=layout, arguments=seen[0])


def row_scaling(
    call: DenoiserCall, rows: Sequence[int], *, device: Device, seconds: float, at_least: int = 3
) -> RowScaling:
    """Time forwards with each of `rows`, in turn, for about `seconds` altogether. Computes on the calling thread.

    Args:
        at_least: forwards of each, however long they take.
    """
    arguments = {count: call.with_rows(count) for count in rows}
    taken: dict[int, list[float]] = {count: [] for count in rows}
    begun = time.perf_counter()
    with torch.no_grad():
        for turn in range(10_000):
            if turn == _WARM:
                begun = time.perf_counter()
            if turn - _WARM >= at_least and time.perf_counter() - begun >= seconds:
                break
            for count in rows:
                start = device.marker()
                call.module(**arguments[count])
                end = device.marker()
                end.wait()
                if turn >= _WARM:  # the first forward of a shape prepares its kernels
                    taken[count].append(end.seconds_since(start))
    return RowScaling(seconds={count: median(times) for count, times in taken.items()})
