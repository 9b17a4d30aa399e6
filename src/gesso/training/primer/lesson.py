"""What the loop of a training needs to know of that which is learned in it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn


class Lesson(Protocol):
    """Some networks, the pictures that they learn from, and how wrong they are. Chance comes from the plan's seed."""

    network: str
    """Name of the network that is spoken of when the loss is no longer a number."""

    def learning(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that learn, by `network/name`, always in the same order."""
        ...

    def prepare(self, listener: Callable[[int], None]) -> None:
        """Make the pictures, or read those that were kept; before the first step.

        Args:
            listener: told how many pictures there are so far.

        Raises:
            StorageError: the disk is full; what was finished stays.
        """
        ...

    def loss(self, step: int) -> Tensor:
        """How wrong the networks are on the batch of step `step`. The same for the same weights."""
        ...

    def seen(self, steps: int) -> int:
        """How many pictures, or windows of pictures, the first `steps` steps show."""
        ...

    def held_out(self) -> dict[str, float]:
        """How wrong the networks are, as they are now, on pictures never shown: `held_out_loss` and what else tells."""
        ...

    def export(self, folder: Path) -> None:
        """Write a complete pipeline folder with the networks as they are now, float16.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        ...
