"""Pictures that are made once and kept on the disk, a file for each thousand of them."""

from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from gesso.core.files import write_atomically

_SIZE = 1000

Shard = dict[str, Tensor]
"""What is known of some pictures: tensors with one row for each."""


def kept(folder: Path, total: int, make: Callable[[int, int], Shard], *, listener: Callable[[int], None]) -> Shard:
    """The tensors of `total` pictures. What is in `folder` is not made again, unless it is damaged.

    Args:
        make: makes the pictures of a shard, given its number and how many they are.
        listener: told how many pictures there are so far.

    Raises:
        StorageError: the disk is full; what was finished stays.
    """
    shards: list[Shard] = []
    for number in range(-(-total // _SIZE)):
        file = folder / f"{number:05d}.safetensors"
        count = min(_SIZE, total - number * _SIZE)
        shard = _read(file)
        if shard is None or any(len(tensor) != count for tensor in shard.values()):
            shard = make(number, count)
            write_atomically(file, safetensors.torch.save(shard))
        shards.append(shard)
        listener(number * _SIZE + count)
    return {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}


def _read(file: Path) -> Shard | None:
    """The tensors of a shard; `None` if it is not there or damaged."""
    try:
        return safetensors.torch.load(file.read_bytes())
    except (FileNotFoundError, safetensors.SafetensorError):
        return None
