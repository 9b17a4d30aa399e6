"""The normal numbers that CUDA's `torch.randn` draws, computed on the CPU.

A counter-based generator has no state: a number is a function of a key and a counter. CUDA uses Philox4x32-10 (Salmon,
Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", doi 10.1145/2063384.2063405). ATen's
`DistributionTemplates.h` gives each thread a counter of its own,

    key = seed (low word, high word),   counter = (draw, draw >> 32, thread, thread >> 32)

where `draw` counts the calls of `torch.randn` made with the generator, and thread `i` writes element `i` from the first
two words of its four by the Box-Muller transform of cuRAND. That is also what AUTOMATIC1111 computes for its noise
source "NV".

Bound: a GPU starts at most `multiprocessors * threads a multiprocessor holds` threads (40,960 on a T4, 125,952 on an
RTX 3090, 221,184 on an A100). In a draw of more elements than that, its threads write several elements each, from words
that are not used here, so beyond it the numbers are AUTOMATIC1111's but not that GPU's. The latents of a 512x512
picture of Stable Diffusion are 16,384 elements, those of 1024x1024 are 65,536, of Flux 262,144. Within the bound a GPU
differs in the last digits of a float32, for it takes its sines and logarithms from fast approximations.
"""

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
"""Added to the two words of the key after each round: the golden ratio, and the root of 3 less 1, times 2^32."""
ROUNDS = 10

_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)
# cuRAND's constants, which it keeps in float32: 2^-32, and 2 pi times that.
_UNIT = float(np.float32(2.0**-32))
_TURN = float(np.float32(2.0**-32) * np.float32(2.0 * np.pi))
_AT_ONCE = 1 << 16
"""Numbers computed together: their words stay in a core's cache, and the memory of a large draw stays small."""


def philox4x32(counters: NDArray[np.uint32], key: int) -> NDArray[np.uint32]:
    """The Philox4x32-10 bijection of each counter.

    Args:
        counters: [4, n], the low word first.
        key: 64 bits, the low word first.

    Returns:
        [4, n]
    """
    low, high = key & 0xFFFFFFFF, key >> 32
    c0, c1, c2, c3 = counters.astype(np.uint64)
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]  # whole 64-bit products of 32-bit words
        c0, c1 = (second >> _WORD_BITS) ^ c1 ^ np.uint64(low), second & _LOW_WORD
        c2, c3 = (first >> _WORD_BITS) ^ c3 ^ np.uint64(high), first & _LOW_WORD
        low, high = (low + KEY_STEPS[0]) & 0xFFFFFFFF, (high + KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack((c0, c1, c2, c3)).astype(np.uint32)


def normals(seed: int, *, draw: int, count: int) -> NDArray[np.float32]:
    """Draw number `draw`, from 0, of `count` standard normal numbers of the generator seeded with `seed`. [count]"""
    starts = range(0, count, _AT_ONCE)
    parts = [_normals(seed, draw, np.arange(start, min(start + _AT_ONCE, count), dtype=np.uint64)) for start in starts]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _normals(seed: int, draw: int, threads: NDArray[np.uint64]) -> NDArray[np.float32]:
    counters = np.empty((4, len(threads)), np.uint32)
    counters[0], counters[1] = draw & 0xFFFFFFFF, draw >> 32
    counters[2], counters[3] = threads & _LOW_WORD, threads >> _WORD_BITS
    return box_muller(*philox4x32(counters, seed)[:2])


def box_muller(x: NDArray[np.uint32], y: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The first of the two normal numbers that cuRAND makes of two words: `sqrt(-2 ln u) sin v`.

    `u` in (0, 1] and `v` in (0, 2 pi] are the words scaled, half a unit up. Computed in float64.
    """
    u = x.astype(np.float64) * _UNIT + _UNIT / 2
    v = y.astype(np.float64) * _TURN + _TURN / 2
    return (np.sqrt(-2.0 * np.log(u)) * np.sin(v)).astype(np.float32)
