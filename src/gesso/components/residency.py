"""Where weights are: on their device for good, or moved in whole when a call needs them.

Only the worker of the device moves anything, between forwards, so there is nothing to lock.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Weights:
    """The parameters and buffers of a network, moved as one.

    Args:
        offloaded: stay on the CPU and go to the device only for calls. The CPU copy is kept meanwhile: going back is
            dropping the device's copy, not copying it.
    """

    def __init__(self, module: torch.nn.Module, *, name: str, offloaded: bool = False) -> None:
        self.module = module
        self.name = name
        self.offloaded = offloaded
        self._at_home: dict[int, torch.Tensor] = {}

    def size_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self._tensors())

    def _tensors(self) -> Iterator[torch.Tensor]:
        yield from self.module.parameters()
        yield from self.module.buffers()

    def move_in(self, device: torch.device) -> None:
        for tensor in self._tensors():
            if tensor.device != device:
                if self.offloaded:
                    self._at_home[id(tensor)] = tensor.data
                tensor.data = tensor.data.to(device)

    def move_out(self) -> None:
        for tensor in self._tensors():
            home = self._at_home.pop(id(tensor), None)
            if home is not None:
                tensor.data = home


class Residency:
    """Which weights are on one device.

    Args:
        room_bytes: for offloaded weights together; `None` if there is room for all.
    """

    def __init__(self, device: torch.device, *, room_bytes: int | None = None) -> None:
        self.device = device
        self.room_bytes = room_bytes
        self._present: OrderedDict[int, Weights] = OrderedDict()
        self.moves = 0

    def allot(self, room_bytes: int | None, *, resident_bytes: int) -> None:
        """Another model was planned for this device.

        Args:
            room_bytes: what was found for offloaded weights now; `None` if none of this model's are.
            resident_bytes: weights of this model that stay: room that those of other models lose.
        """
        if room_bytes is not None:
            self.room_bytes = room_bytes
        elif self.room_bytes is not None:
            self.room_bytes -= resident_bytes

    @contextmanager
    def lease(self, weights: Weights) -> Iterator[None]:
        """`weights` are on the device during the block. Those that were used longest ago make room."""
        self.settle(weights)
        yield

    def settle(self, weights: Weights) -> None:
        """Bring `weights` to the device."""
        if id(weights) in self._present:
            self._present.move_to_end(id(weights))
        else:
            if weights.offloaded:
                self._make_room(weights.size_bytes())
            weights.move_in(self.device)
            self._present[id(weights)] = weights
            self.moves += 1

    def forget(self, weights: Weights) -> None:
        """The network is no longer hosted; its place is free."""
        self._present.pop(id(weights), None)
        weights.move_out()  # also when they were moved in only in part, because the room ran out

    def moved_in_bytes(self) -> int:
        """Offloaded weights that are on the device now."""
        return sum(weights.size_bytes() for weights in self._present.values() if weights.offloaded)

    def _make_room(self, needed_bytes: int) -> None:
        if self.room_bytes is None:
            return
        for key, weights in list(self._present.items()):  # least recently used first
            if self.moved_in_bytes() + needed_bytes <= self.room_bytes:
                break
            if weights.offloaded:
                weights.move_out()
                del self._present[key]
