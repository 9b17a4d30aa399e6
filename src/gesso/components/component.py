"""A hosted network: what calls of its face become."""

from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch

from gesso.backends.base import Backend
from gesso.backends.eager import EagerBackend
from gesso.components.arguments import agreement_key, bind, canonical, refuse_gradients
from gesso.components.call import Call
from gesso.components.layouts import FORWARD, CallLayout, hosted_methods, layouts_of
from gesso.components.residency import Weights
from gesso.components.scope import CURRENT, ImageScope
from gesso.components.slots import fits
from gesso.components.state import HALF_PRECISION, InFloat32
from gesso.components.trace import digest
from gesso.components.tree import mapped, tensors
from gesso.components.worker import DeviceWorker
from gesso.core.errors import DeadlineError, NonFiniteError
from gesso.core.recipe import TraceEntry
from gesso.core.registry import load_dotted

Listener = Callable[[str], None]
"""Is told, once, of what a component cannot do; called on whatever thread finds out."""


_ONE_BY_ONE = 1
"""Rows of an autoencoder's forward: in company a picture is no cheaper, and all must fit the memory (decision 0008)."""


class Component:
    """A network with a home.

    Args:
        name: what traces and errors call it, for example `unet` or `text_encoder.final_layer_norm`.
        device: where it computes.
        latents_device: where pipelines keep its inputs and expect its outputs; usually the same.
        dtype: in which it computes; also what its face answers, whatever its weights are stored in.
        weights: what must be on the device during a call; several components may share them.
        max_rows: rows of one forward at most.
        exact_rows: rows of every forward in exact mode.
        layouts: how calls of each method split into rows; by default what is known of the module's class.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        name: str,
        worker: DeviceWorker,
        weights: Weights,
        dtype: torch.dtype,
        device: torch.device | None = None,
        latents_device: torch.device | None = None,
        backend: Backend | None = None,
        max_rows: int = 16,
        exact_rows: int = 4,
        layouts: Mapping[str, CallLayout] | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.module = module
        self.module_class = type(module)
        self.name = name
        self.worker = worker
        self.weights = weights
        self.dtype = dtype
        self.device = device or torch.device(worker.device.name)
        self.latents_device = latents_device or self.device
        self.backend = backend or EagerBackend()
        self.max_rows = max_rows
        self.methods = hosted_methods(self.module_class)
        self._exact_rows = exact_rows
        self._layouts: dict[str, CallLayout] = dict(layouts_of(self.module_class) if layouts is None else layouts)
        self._listener = listener
        self._told: set[str] = set()
        self._stopped: set[str] = set()
        self._durations: dict[str, deque[float]] = {}

    def layout(self, method: str) -> CallLayout | None:
        """How calls of `method` split into rows; `None` if they run alone."""
        return self._layouts.get(method)

    def stop_merging(self, method: str, reason: str) -> None:
        """From now on calls of `method` run alone. Said once."""
        self._layouts.pop(method, None)
        self._stopped.add(method)
        self.tell(f"Calls of `{self.name}` are not merged with others: {reason}")

    def tell(self, message: str) -> None:
        """Report something about this component once in its life."""
        if message not in self._told:
            self._told.add(message)
            if self._listener is not None:
                self._listener(message)

    def shared_rows(self, method: str) -> int:
        """Rows that calls of `method` fill one forward with at most."""
        return self.max_rows if method == FORWARD else _ONE_BY_ONE

    def bucket_rows(self, method: str) -> int:
        """Rows of every forward of `method` in exact mode."""
        return self._exact_rows if method == FORWARD else _ONE_BY_ONE

    def pace(self, method: str) -> float:
        """Median seconds of a forward lately; 0 before the first."""
        durations = self._durations.get(method)
        return median(durations) if durations else 0.0

    def took(self, method: str, seconds: float) -> None:
        """A forward of `method` took so long. Worker thread only."""
        self._durations.setdefault(method, deque(maxlen=31)).append(seconds)

    def call(self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run one call of the picture that this thread makes. Blocks until its rows are done.

        A call of an autoencoder that overflows in half precision is made again in float32, and answered in it.

        Raises:
            CancelledError, DeadlineError: the request shall not go on.
            NonFiniteError: NaN or infinity came out.
            ComponentError: the network itself failed.
            ClosedError: the worker is gone.
            TypeError: the arguments do not fit the method.
        """
        scope = CURRENT.get() or ImageScope(clock=self.worker.clock)
        known = self._layouts.get(method)
        if known is not None and known.output is not None and kwargs.get("return_dict", True):
            output = self._steered(scope, method, args, {**kwargs, "return_dict": False})
            return load_dotted(known.output)(output[0])
        return self._steered(scope, method, args, kwargs)

    def _steered(self, scope: ImageScope, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        steering = scope.steering.get(self.name) if method == FORWARD else None
        if steering is None:
            return self._call(scope, method, args, kwargs)
        named = bind(self.module_class, method, args, kwargs)
        layout = layouts_of(self.module_class).get(method)
        if named is None or layout is None:
            raise TypeError(f"The rows of `{self.module_class.__name__}` are not known, so they cannot be changed")
        return steering(named, lambda given: self._call(scope, method, (), given), layout=layout, step=scope.step)

    def _call(self, scope: ImageScope, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        scope.check()
        if (stand_in := scope.stand_ins.get((self.name, method))) is not None:
            return stand_in(args, kwargs)
        call = self._capture(scope, method, args, kwargs)
        if scope.journal is not None:
            found = scope.journal.find(call.name, call.number, call.arguments, call.states, scope.exact)
            if found is not None:
                scope.trace.add(found.entry)
                if self._is_autoencoding(method) and _computed_in_float32(found.output):
                    scope.redone.append(call.name)
                return self._delivered(found.output)
        output = self._answer(call)
        if self._is_autoencoding(method) and not scope.is_finite(output, marker=self.worker.device.marker):
            again = self._capture(scope, method, args, kwargs, overflowed=call)
            output = self._answer_in_float32(again)
            call.segments = again.segments
        self._record(call, output)
        return self._delivered(output)

    def _is_autoencoding(self, method: str) -> bool:
        """Whether a call of `method` may overflow in half precision, as those of autoencoders do."""
        return method != FORWARD and self.dtype in HALF_PRECISION

    def _answer_in_float32(self, call: Call) -> Any:
        self.tell(f"`{call.name}` overflows in {_spelt(self.dtype)}: what does is made again in float32")
        output = self._answer(call)
        if not call.scope.is_finite(output, marker=self.worker.device.marker):
            raise NonFiniteError(component=call.name, step=call.scope.step, call=call.number, also_in_float32=True)
        call.scope.redone.append(call.name)
        return output

    def _capture(
        self,
        scope: ImageScope,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        overflowed: Call | None = None,
    ) -> Call:
        """
        Args:
            overflowed: the same call in half precision, which this one repeats in float32.
        """
        named = bind(self.module_class, method, args, kwargs)
        if named is None:
            raise TypeError(f"`{self.name}.{method}` takes positional arguments only and cannot be hosted")
        refuse_gradients(self.name, named)
        states = tuple(scope.call_states.get(self.name, ()))
        dtype = self.dtype
        if overflowed is not None:
            dtype, states = torch.float32, (*states, InFloat32())
            named = mapped(named, lambda _, leaf: _in_float32(leaf))
        layout = self._layouts.get(method)
        alone = layout is not None and not named.keys().isdisjoint(layout.alone)
        arguments = None if layout is None or alone else canonical(named, layout, device=self.device, dtype=dtype)
        if layout is None and method not in self._stopped:
            self.tell(f"`{self.module_class.__name__}` has no row data: its calls run alone")
        elif layout is not None and arguments is None and not alone:
            self.tell(f"A call of `{self.name}` has arguments that are not understood and runs alone")
        whole_name = f"{scope.whose}{self.name}"
        number = scope.trace.number(whole_name, method) if overflowed is None else overflowed.number
        mergeable = layout is not None and arguments is not None
        rows = _rows(arguments, layout) if mergeable else 1
        placement = None if scope.placements is None else scope.placements.get((whole_name, method, number))
        if placement is not None and not fits(placement, rows):
            placement = None  # recorded of another call, or altered since: run as it comes, its bytes will tell
        return Call(
            component=self,
            method=method,
            arguments=arguments if arguments is not None else _moved(named, self.device),
            layout=layout if mergeable else None,
            rows=rows,
            # What is run again runs as it ran: by itself, in the recorded slots.
            key=(id(self), method, states, scope.exact, agreement_key(arguments, layout))
            if layout is not None and arguments is not None and scope.placements is None
            else None,
            states=states,
            scope=scope,
            number=number,
            whose=scope.whose,
            placement=placement,
        )

    def _answer(self, call: Call) -> Any:
        scope = call.scope

        def wake() -> None:
            self.worker.withdraw(scope)

        self.worker.submit(call)
        scope.cancel.on_cancel(wake)
        try:
            with scope.turn.paused():
                return call.answer.result(timeout=scope.seconds_left())
        except TimeoutError:
            if call.answer.done():  # it came while the time ran out
                return call.answer.result()
            self.worker.withdraw(scope)
            raise DeadlineError(scope.deadline_seconds) from None
        finally:
            scope.cancel.forget(wake)

    def _record(self, call: Call, output: Any) -> None:
        scope = call.scope
        found = tensors(output)
        scope.check_finite(found, component=call.name, call=call.number, marker=self.worker.device.marker)
        if scope.journal is not None:
            scope.settle()  # now: what is kept is not looked at again
        entry = TraceEntry(
            component=f"{call.whose}{self.name}",
            method=call.method,
            call=call.number,
            step=scope.step,
            segments=call.segments,
            digest="",
        )
        late = digest(found)
        if scope.journal is not None:
            entry = entry.model_copy(update={"digest": late.hex()})
            with scope.turn.paused():  # until it is on the disk
                scope.journal.keep(call.name, call.number, call.arguments, call.states, scope.exact, entry, output)
        scope.trace.add(entry, late)

    def _delivered(self, output: Any) -> Any:
        if all(leaf.device == self.latents_device for leaf in tensors(output)):
            return output
        return _moved(output, self.latents_device)


def _rows(arguments: Mapping[str, Any] | None, layout: CallLayout | None) -> int:
    assert arguments is not None
    assert layout is not None
    return len(arguments[layout.rows[0]])


def _spelt(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _in_float32(leaf: Any) -> Any:
    return leaf.float() if isinstance(leaf, torch.Tensor) and leaf.dtype in HALF_PRECISION else leaf


def _computed_in_float32(output: Any) -> bool:
    return any(leaf.dtype is torch.float32 for leaf in tensors(output))


def _moved(tree: Any, device: torch.device) -> Any:
    return mapped(tree, lambda _, leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf)
