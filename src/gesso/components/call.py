"""One call of a hosted network, on its way from the caller's thread to the worker and back."""

from collections.abc import Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from gesso.backends.base import Backend
from gesso.components.layouts import CallLayout
from gesso.components.residency import Weights
from gesso.components.scope import ImageScope
from gesso.components.state import CallState
from gesso.core.recipe import Segment


class Callee(Protocol):
    """What the worker must know of the component that is called; see `Component`."""

    name: str
    module: torch.nn.Module
    backend: Backend
    weights: Weights
    max_rows: int

    def shared_rows(self, method: str) -> int: ...

    def bucket_rows(self, method: str) -> int: ...

    def pace(self, method: str) -> float: ...

    def took(self, method: str, seconds: float) -> None: ...

    def tell(self, message: str) -> None: ...

    def stop_merging(self, method: str, reason: str) -> None: ...


@dataclass(kw_only=True, eq=False)
class Call:
    """A call on its way. Made by the caller's thread, answered by the worker.

    Attributes:
        arguments: canonical: by name, defaults left out, lists as tuples, rows contiguous on the component's device.
        rows: number of rows, or 1 for a call that cannot be merged.
        key: calls with equal keys agree and may run as one forward; `None` never agrees.
        segments: where the rows ran; filled by the worker.
        whose: what stands before the component's name; see `ImageScope.whose`.
        first_considered: when it was first the next to run; from then on it waits for company.
    """

    component: Callee
    method: str
    arguments: Mapping[str, Any]
    layout: CallLayout | None
    rows: int
    key: Hashable | None
    states: tuple[CallState, ...]
    scope: ImageScope
    number: int
    whose: str = ""
    placement: tuple[Segment, ...] | None = None
    answer: "Future[Any]" = field(default_factory=Future)
    segments: tuple[Segment, ...] = ()
    first_considered: float | None = None

    @property
    def exact(self) -> bool:
        return self.scope.exact

    @property
    def name(self) -> str:
        named = f"{self.whose}{self.component.name}"
        return named if self.method == "forward" else f"{named}.{self.method}"
