"""Call state: what a network shall be like during one call, as a value.

Adapters, attention processors and tiling live on the module that everybody shares, so they cannot be set and left. A
`CallState` is hashable, is part of what makes two calls agree, and is entered and left by the worker around a forward.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch


class CallState(Protocol):
    """A hashable value; equal values are the same state."""

    def __hash__(self) -> int: ...

    def entered(self, module: torch.nn.Module) -> AbstractContextManager[None]:
        """Put `module` into this state for the block, and back afterwards whatever happens. Worker thread only."""
        ...


@contextmanager
def all_entered(states: Sequence[CallState], module: torch.nn.Module) -> Iterator[None]:
    """Enter `states` in order, leave them in reverse."""
    with ExitStack() as stack:
        for state in states:
            stack.enter_context(state.entered(module))
        yield


HALF_PRECISION = frozenset({torch.float16, torch.bfloat16})


@dataclass(frozen=True)
class InFloat32:
    """Compute in float32 with weights that are kept in half precision: for calls that overflow in it."""

    @contextmanager
    def entered(self, module: torch.nn.Module) -> Iterator[None]:
        tensors = (*module.parameters(), *module.buffers())
        halves = [(tensor, tensor.data) for tensor in tensors if tensor.dtype in HALF_PRECISION]
        try:
            for tensor, half in halves:
                tensor.data = half.float()
            yield
        finally:
            for tensor, half in halves:
                tensor.data = half


@dataclass(frozen=True)
class VaeTiling:
    """Encode and decode large pictures in overlapping tiles: bounded memory, slightly different pixels."""

    @contextmanager
    def entered(self, module: torch.nn.Module) -> Iterator[None]:
        before = module.use_tiling  # pyright: ignore[reportAttributeAccessIssue]  (autoencoders of diffusers have it)
        module.enable_tiling()  # pyright: ignore[reportCallIssue]
        try:
            yield
        finally:
            module.use_tiling = before
