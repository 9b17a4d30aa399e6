"""Who is calling: the context of the picture that a thread is making.

A pipeline knows nothing of requests, so what a call must know about its request travels in a context variable.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gesso.components.journal import Journal
from gesso.components.metering import Meter
from gesso.components.state import CallState
from gesso.components.steering import Steering
from gesso.components.trace import Placements, TraceRecorder
from gesso.components.tree import tensors
from gesso.components.turns import Turn
from gesso.core.clock import Clock, MonotonicClock
from gesso.core.errors import CancelledError, DeadlineError, NonFiniteError
from gesso.devices.base import Marker


class CancelToken:
    """Set once, from any thread; whoever waits on the request's behalf registers to be woken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._wakers: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._set

    def on_cancel(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the token is set, at once if it is set already."""
        with self._lock:
            if not self._set:
                self._wakers.append(wake)
                return
        wake()

    def forget(self, wake: Callable[[], None]) -> None:
        """Undo `on_cancel`."""
        with self._lock:
            if wake in self._wakers:
                self._wakers.remove(wake)

    def cancel(self) -> None:
        with self._lock:
            self._set = True
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()


StandIn = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]
"""Takes the arguments of a call, answers as its component would."""


def _is_finite(leaf: torch.Tensor) -> bool:
    """Whether there is no NaN or infinity in a tensor on the CPU."""
    if leaf.dtype in {torch.float32, torch.float64}:
        return bool(np.isfinite(leaf.detach().numpy()).all())  # pictures in a tenth of the time of a sum
    # One pass instead of three: in double precision a sum of smaller numbers cannot overflow by itself.
    return math.isfinite(leaf.sum(dtype=torch.float64).item())


class _LateFlag:
    """Whether a tensor on an accelerator is finite: a truth that is still to come.

    `bool` of a tensor waits for all that its device was given meanwhile, also by others; this waits for it alone.
    """

    def __init__(self, leaf: torch.Tensor, marker: Callable[[], Marker]) -> None:
        self._flag = torch.isfinite(leaf).all().to("cpu", non_blocking=True)
        self._arrived = marker()

    def __bool__(self) -> bool:
        self._arrived.wait()
        return bool(self._flag)


def _finite_flags(output: Any, marker: Callable[[], Marker]) -> list["bool | _LateFlag"]:
    floats = [leaf for leaf in tensors(output) if leaf.is_floating_point()]
    return [_is_finite(leaf) if leaf.device.type == "cpu" else _LateFlag(leaf, marker) for leaf in floats]


@dataclass(kw_only=True, eq=False)
class ImageScope:
    """One running picture. Used by its own thread; the worker only reads it and adds to the meter.

    Attributes:
        deadline: on `clock`, in seconds; `None` is never.
        call_states: what shall be entered around every call of a component, by component name.
        steering: what stands between the pipeline and a component, by component name.
        whose: what traces put before the names of networks that are called now; nothing for the request's own model.
        stand_ins: what answers calls of a component in its place, by component and method.
        placements: when replaying, where each call ran; `None` otherwise.
        turn: when its thread may run Python; given up while it waits for a call.
        step: sampling step now running; set by the scheduler seam.
        share: of the sampling steps, those that are done, 0 to 1; set there too.
        redone: calls that overflowed in half precision and were made again in float32.
    """

    request_id: str = "anonymous"
    image: int = 0
    owner: str = "local"
    priority: int = 0
    exact: bool = False
    deadline: float | None = None
    deadline_seconds: float = 0.0
    clock: Clock = field(default_factory=MonotonicClock)
    cancel: CancelToken = field(default_factory=CancelToken)
    call_states: Mapping[str, tuple[CallState, ...]] = field(default_factory=dict)
    steering: Mapping[str, Steering] = field(default_factory=dict)
    whose: str = ""
    stand_ins: Mapping[tuple[str, str], StandIn] = field(default_factory=dict)
    placements: Placements | None = None
    journal: Journal | None = None
    trace: TraceRecorder = field(default_factory=TraceRecorder)
    meter: Meter = field(default_factory=Meter)
    turn: Turn = field(default_factory=Turn)
    step: int | None = None
    share: float = 0.0
    redone: list[str] = field(default_factory=list)
    _unread: "deque[tuple[bool | _LateFlag, str, int | None, int]]" = field(default_factory=deque)

    @contextmanager
    def elsewhere(self, whose: str, call_states: Mapping[str, tuple[CallState, ...]]) -> Iterator[None]:
        """In the block the networks of another model are called, whose names may be the same. Its own thread only."""
        before = self.whose, self.call_states, self.steering
        self.whose, self.call_states, self.steering = whose, call_states, {}
        try:
            yield
        finally:
            self.whose, self.call_states, self.steering = before

    def check(self) -> None:
        """Raises `CancelledError` or `DeadlineError` if the request shall not go on."""
        if self.cancel.cancelled:
            raise CancelledError
        if self.deadline is not None and self.clock.now() >= self.deadline:
            raise DeadlineError(self.deadline_seconds)

    def check_finite(self, output: Any, *, component: str, call: int, marker: Callable[[], Marker]) -> None:
        """Raises `NonFiniteError` if there is NaN or infinity in `output`.

        On an accelerator the answers of the call before are read, which are there soon: nobody waits for this one.

        Args:
            marker: makes a marker on the device of `output`.
        """
        flags = _finite_flags(output, marker)
        self._unread.extend((flag, component, self.step, call) for flag in flags)
        self.settle(keep=sum(isinstance(flag, _LateFlag) for flag in flags))

    def is_finite(self, output: Any, *, marker: Callable[[], Marker]) -> bool:
        """Whether there is no NaN or infinity in `output`, known at once: waits for the device.

        Raises:
            NonFiniteError: there was one in the output of an earlier call, which this one was made of.
        """
        flags = _finite_flags(output, marker)
        with self.turn.paused():
            self.settle()
            return all(flags)

    def settle(self, *, keep: int = 0) -> None:
        """Read the outstanding answers of `check_finite` but the `keep` newest; raises `NonFiniteError`."""
        while len(self._unread) > keep:
            finite, component, step, call = self._unread.popleft()
            if not finite:
                self._unread.clear()
                raise NonFiniteError(component=component, step=step, call=call)

    def seconds_left(self) -> float | None:
        """Until the deadline; `None` without one."""
        return None if self.deadline is None else max(0.0, self.deadline - self.clock.now())


CURRENT: ContextVar[ImageScope | None] = ContextVar("gesso_current_image", default=None)


@contextmanager
def entered(scope: ImageScope) -> Iterator[ImageScope]:
    """Component calls made on this thread inside the block belong to `scope`."""
    token = CURRENT.set(scope)
    try:
        yield scope
    finally:
        CURRENT.reset(token)
