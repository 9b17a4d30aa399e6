"""Pictures that are made once and kept on the disk, a file for each thousand of them."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from gesso.core.files import write_atomically

_SIZE = 1000
_AHEAD = 2
"""Shards that each process may have drawn before they are wanted."""

Shard = dict[str, Tensor]
"""What is known of some pictures: tensors with one row for each."""
_Arrays = dict[str, NDArray[Any]]
Draw = Callable[[int, int], Shard]
"""Draws the pictures of a shard, given its number and how many they are; it can be sent to another process."""


def kept(
    folder: Path,
    total: int,
    draw: Draw,
    *,
    finish: Callable[[Shard], Shard] = lambda shard: shard,
    workers: int = 0,
    listener: Callable[[int], None],
) -> Shard:
    """The tensors of `total` pictures. What is in `folder` is not made again, unless it is damaged.

    Args:
        finish: makes of what was drawn what is kept; in this process.
        workers: processes that draw, while this one finishes; 0: none.
        listener: told how many pictures there are so far.

    Raises:
        StorageError: the disk is full; what was finished stays.
    """
    counts = [min(_SIZE, total - number * _SIZE) for number in range(-(-total // _SIZE))]
    files = [folder / f"{number:05d}.safetensors" for number in range(len(counts))]
    found = [_read(file, count) for file, count in zip(files, counts, strict=True)]
    missing = [number for number, shard in enumerate(found) if shard is None]
    drawn = _drawn(draw, [(number, counts[number]) for number in missing], workers)
    shards: list[Shard] = []
    for number, shard in enumerate(found):
        if shard is None:
            shard = finish(next(drawn))
            write_atomically(files[number], safetensors.torch.save(shard))
        shards.append(shard)
        listener(number * _SIZE + counts[number])
    return {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}


def _drawn(draw: Draw, asked: Sequence[tuple[int, int]], workers: int) -> Iterator[Shard]:
    """The shards asked for, in their order."""
    if not workers or not asked:
        yield from (draw(number, count) for number, count in asked)
        return
    # Not forked: this process has threads, and perhaps a GPU.
    with ProcessPoolExecutor(min(workers, len(asked)), mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[_Arrays]] = deque()
        try:
            for number, count in asked:
                waiting.append(pool.submit(_as_arrays, draw, number, count))
                if len(waiting) > _AHEAD * workers:
                    yield _as_shard(waiting.popleft().result())
            while waiting:
                yield _as_shard(waiting.popleft().result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _as_arrays(draw: Draw, number: int, count: int) -> _Arrays:
    """What a process sends: torch would send each tensor as an open file, and keep it open."""
    return {name: tensor.numpy() for name, tensor in draw(number, count).items()}


def _as_shard(arrays: _Arrays) -> Shard:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _read(file: Path, count: int) -> Shard | None:
    """The tensors of a shard; `None` if it is not there, damaged, or of another number of pictures."""
    try:
        shard = safetensors.torch.load(file.read_bytes())
    except (FileNotFoundError, safetensors.SafetensorError):
        return None
    return shard if all(len(tensor) == count for tensor in shard.values()) else None
