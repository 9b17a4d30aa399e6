"""Running a batch on a device, and giving every caller its own rows or its own error."""

import logging
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from gesso.components.call import Call, Callee
from gesso.components.exact import rows_keep_to_themselves
from gesso.components.merge import merged
from gesso.components.residency import Residency
from gesso.components.slots import Forward, place, place_again, segments_of
from gesso.components.state import all_entered
from gesso.components.tree import NotUnderstoodError, joined_rows, take_rows
from gesso.core.errors import GessoError, ResourceError, drop_frames
from gesso.devices.base import Device, Marker

logger = logging.getLogger(__name__)

IN_FLIGHT = 2
"""Batches launched and not done on an accelerator: a worker that runs further ahead never finds anything to merge."""


class ComponentError(GessoError):
    """A network raised an error; the original is its cause."""

    def __init__(self, component: str, error: BaseException) -> None:
        said = f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")
        super().__init__(
            f"`{component}` failed: {said}",
            hint="`--debug` shows where; parts of different models in one folder may not fit together",
        )


class OutOfMemoryError(ResourceError):
    """The device could not hold a forward, not even of this request alone."""

    def __init__(self, component: str, device: str) -> None:
        super().__init__(
            f"Out of memory on `{device}` while running `{component}`",
            hint="use a smaller picture or a lower precision, or close other programs that use the device",
        )


class Executor:
    """Runs batches one after another. Used by one thread only."""

    def __init__(self, device: Device, residency: Residency) -> None:
        self.device = device
        self.residency = residency
        # Components are held weakly: a model that was let go must not stay in memory for a measurement.
        self._in_flight: deque[tuple[weakref.ref[Callee], str, Marker, Marker]] = deque()
        self._exact_shapes: weakref.WeakKeyDictionary[Callee, dict[Any, bool]] = weakref.WeakKeyDictionary()

    def run(self, calls: Sequence[Call]) -> None:
        """Answer all `calls`, which agree. Never raises what a network raises."""
        live = [call for call in calls if not _answered_already(call)]
        if not live:
            return
        try:
            outputs, forwards = self._outputs(live)
        except NotUnderstoodError as error:
            component = live[0].component
            component.stop_merging(live[0].method, f"of its output, {error}")
            for call in live:
                call.layout = None
                self.run([call])
        except Exception as error:  # the boundary: whatever a network raises belongs to its caller
            self._failed(live, error)
        else:
            for index, (call, output) in enumerate(zip(live, outputs, strict=True)):
                call.segments = segments_of(index, forwards)
                call.answer.set_result(output)

    def _failed(self, calls: Sequence[Call], error: Exception) -> None:
        drop_frames(error)
        out_of_memory = self.device.is_out_of_memory(error)
        if len(calls) > 1:
            del error
            if out_of_memory:
                self.device.empty_cache()
            for call in calls:  # apart: the error finds the request that caused it, and no other
                self.run([call])
            return
        name = calls[0].name
        answer: GessoError
        if isinstance(error, GessoError):
            answer = error.fresh()  # a network may raise one object again and again
        elif out_of_memory:
            answer = OutOfMemoryError(name, self.device.name)
        else:
            answer = ComponentError(name, error)
            answer.__cause__ = error
        calls[0].answer.set_exception(answer)

    def _outputs(self, calls: Sequence[Call]) -> tuple[list[Any], list[Forward]]:
        component = calls[0].component
        with self.residency.lease(component.weights), torch.no_grad(), all_entered(calls[0].states, component.module):
            forwards = self._forwards(calls)
            if forwards is None:
                return [self._alone(calls[0])], _one_forward(calls[0])
            assert calls[0].layout is not None
            listed = calls[0].layout.listed_outputs
            parts: list[list[Any]] = [[] for _ in calls]
            for forward in forwards:
                output = self._forward(calls, forward)
                whole = len(forward.pieces) == 1 and forward.live_rows == forward.batch_rows
                for piece in forward.pieces:
                    stop = piece.slot + piece.rows
                    part = output if whole else take_rows(output, piece.slot, stop, forward.batch_rows, listed=listed)
                    parts[piece.call].append(part)
            return [joined_rows(part, listed=listed) for part in parts], forwards

    def _forwards(self, calls: Sequence[Call]) -> list[Forward] | None:
        """Where the rows go; `None` for a call that runs as it came."""
        first = calls[0]
        if first.layout is None:
            return None
        if first.placement is not None:
            return place_again(first.placement)
        rows = [call.rows for call in calls]
        if not first.exact or first.key is None:
            return place(rows, max_rows=first.component.max_rows, bucket_rows=None)
        if self._may_share(first):
            return place(rows, max_rows=0, bucket_rows=first.component.bucket_rows(first.method))
        # Alone in its own shape its bytes cannot depend on company either; calls of a batch follow one another.
        return [
            replace(forward, pieces=tuple(replace(piece, call=index) for piece in forward.pieces))
            for index, count in enumerate(rows)
            for forward in place([count], max_rows=first.component.max_rows, bucket_rows=None)
        ]

    def _may_share(self, call: Call) -> bool:
        """Whether rows of this component, in this shape, keep to themselves; tried at the first use of each shape."""
        assert call.layout is not None
        assert call.key is not None
        rows = call.component.bucket_rows(call.method)
        if rows == 1:
            return True
        shapes = self._exact_shapes.setdefault(call.component, {})
        known = shapes.get(call.key)
        if known is None:
            known = rows_keep_to_themselves(
                lambda arguments: call.component.backend.run(call.component.module, call.method, arguments),
                call.arguments,
                call.layout,
                rows=rows,
            )
            shapes[call.key] = known
            if not known:
                call.component.tell(
                    f"`{call.component.name}`: bytes depend on the slot at {rows} rows; not shared in exact mode"
                )
        return known

    def _forward(self, calls: Sequence[Call], forward: Forward) -> Any:
        layout = calls[0].layout
        assert layout is not None
        arguments = merged([call.arguments for call in calls], layout, forward)
        start, output, end = self._timed(calls[0], arguments)
        for piece in forward.pieces:
            calls[piece.call].scope.meter.add(
                lambda: end.seconds_since(start),
                rows=piece.rows,
                live_rows=forward.live_rows,
                batch_rows=forward.batch_rows,
            )
        return output

    def _alone(self, call: Call) -> Any:
        start, output, end = self._timed(call, call.arguments)
        call.scope.meter.add(
            lambda: end.seconds_since(start), rows=call.rows, live_rows=call.rows, batch_rows=call.rows
        )
        return output

    def _timed(self, call: Call, arguments: Mapping[str, Any]) -> tuple[Marker, Any, Marker]:
        self.make_room()
        start = self.device.marker()
        output = call.component.backend.run(call.component.module, call.method, arguments)
        end = self.device.marker()
        self._in_flight.append((weakref.ref(call.component), call.method, start, end))
        if not self.device.accelerator:
            self._retire()
        return start, output, end

    def make_room(self) -> None:
        """Wait until another batch may be launched. Whoever waits before he chooses one chooses among more calls."""
        while len(self._in_flight) >= IN_FLIGHT:
            self._retire()

    def _retire(self) -> None:
        component, method, start, end = self._in_flight.popleft()
        end.wait()
        if (found := component()) is not None:
            found.took(method, end.seconds_since(start))


def _answered_already(call: Call) -> bool:
    """Whether the request of a call was cancelled or ran out of time while the call waited; answers it then."""
    if call.answer.done():
        return True
    try:
        call.scope.check()
    except GessoError as error:
        call.answer.set_exception(error)
        return True
    return False


def _one_forward(call: Call) -> list[Forward]:
    return place([call.rows], max_rows=call.rows, bucket_rows=None)
