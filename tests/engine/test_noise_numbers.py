"""The numbers of the noise sources: published vectors, and what becomes of them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gesso.core.requests import NoiseSource
from gesso.engine.noise.philox import normals, philox4x32
from gesso.engine.noise.source import PhiloxStream, TorchStream, stream_of
from gesso.engine.noise.variation import slerp

# Random123 1.14, `tests/kat_vectors`, rows "philox4x32 10": counter, key, output.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]

# What AUTOMATIC1111 prints of its own generator, seed 0, shape (3, 4), in the docstring of `modules/rng_philox.py`.
AUTOMATIC1111 = [
    *(-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564),
    *(-0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497),
]

# Printed by `torch.randn` on a GPU (compute capability 7.5) after `manual_seed(0)`: three draws, of which the second
# has 10 elements and the others 80. From the notes of a CUDA lecture on fused kernels.
GPU_DRAWS = [
    """-0.9247 -0.4253 -2.6438  0.1452 -0.1209 -0.5797 -0.6229 -0.3284 -1.0745 -0.3631
       -1.6711  2.2655  0.3117 -0.1842  1.2866  1.1820 -0.1271  1.2169  1.4353  1.0605
       -0.4941 -1.4244 -0.7244 -1.2973  0.0697 -0.0074  1.8969  0.6878 -0.0779 -0.8373""",
    "0.1808 -0.5523 0.9238 -0.7350 1.3800 0.8676 0.1297 -0.9406 0.8109 0.8821",
    """2.5441 -0.7163 -0.4934  0.1267  0.1014 -0.4035  0.9023  0.8099 -0.6884  0.1372
       1.0377  0.0925 -0.3752 -0.0908  2.0639 -1.8164 -0.2719  0.2811 -1.0399  0.7765
       0.8814  0.0444 -1.4870  1.1334  1.3268 -1.2616  0.9501 -0.6558  0.9098 -0.6290""",
]


def words(text: str) -> NDArray[np.uint32]:
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers_of_its_authors(counter: str, key: str, output: str) -> None:
    low, high = (int(word) for word in words(key))
    given = np.repeat(words(counter)[:, None], 3, axis=1)
    got = philox4x32(given, high << 32 | low)
    assert (got == words(output)[:, None]).all()


def test_the_numbers_are_those_of_automatic1111() -> None:
    np.testing.assert_allclose(normals(0, draw=0, count=12), AUTOMATIC1111, atol=5e-7, rtol=0)


@pytest.mark.parametrize("draw", [0, 1, 2])
def test_each_draw_is_that_of_a_gpu(draw: int) -> None:
    printed = np.array([float(number) for number in GPU_DRAWS[draw].split()])
    np.testing.assert_allclose(normals(0, draw=draw, count=len(printed)), printed, atol=5.1e-5, rtol=0)


def test_a_number_depends_on_its_place_and_not_on_how_many_are_drawn() -> None:
    many = normals(7, draw=3, count=200_000)
    assert many.dtype == np.float32
    assert (normals(7, draw=3, count=70_000) == many[:70_000]).all()
    assert len(np.unique(many)) > 190_000
    assert normals(7, draw=3, count=0).shape == (0,)


def test_the_numbers_are_normal() -> None:
    numbers = normals(1, draw=0, count=400_000).astype(np.float64)
    moments = [(numbers**power).mean() for power in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.04)
    assert np.isfinite(numbers).all()
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(numbers, normals(1, draw=1, count=400_000))[0, 1]) < 0.01


def test_a_seed_of_more_than_32_bits_is_another_seed() -> None:
    one, other = (normals(seed, draw=0, count=64) for seed in (5, 5 + 2**32))
    assert np.abs(one - other).max() > 0.5


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 5), (2,), ()])
def test_the_cpu_source_is_torchs_own(shape: tuple[int, ...]) -> None:
    stream, generator = TorchStream(11), torch.Generator().manual_seed(11)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        assert torch.equal(
            stream.fill(torch.empty(shape, dtype=dtype)), torch.randn(shape, generator=generator, dtype=dtype)
        )


def test_the_gpu_source_counts_its_draws_and_rounds_to_the_dtype() -> None:
    stream = PhiloxStream(2)
    first, second = stream.fill(torch.empty(3, 4)), stream.fill(torch.empty(3, 4, dtype=torch.bfloat16))
    assert torch.equal(first.flatten(), torch.from_numpy(normals(2, draw=0, count=12)))
    assert torch.equal(second.flatten(), torch.from_numpy(normals(2, draw=1, count=12)).bfloat16())


def test_the_gpu_source_goes_by_the_order_of_indices_whatever_the_layout() -> None:
    plain = PhiloxStream(2).fill(torch.empty(1, 4, 6, 6))
    strided = PhiloxStream(2).fill(torch.empty(1, 4, 6, 6, memory_format=torch.channels_last))
    assert torch.equal(plain, strided)


def test_the_global_state_is_no_source() -> None:
    before = torch.get_rng_state()
    for source in NoiseSource:
        stream_of(source, 3).fill(torch.empty(8))
    assert torch.equal(torch.get_rng_state(), before)


# --- slerp


def two(shape: tuple[int, ...] = (1, 4, 16, 16), dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=dtype), torch.randn(shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (1, 16, 1, 8, 8), (1, 64, 16), (1, 32), (1, 4, 1, 8)])
def test_the_ends_of_a_variation_are_the_two_noises_exactly(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    noise, other = two(shape, dtype)
    assert torch.equal(slerp(0.0, noise, other), noise)
    assert torch.equal(slerp(1.0, noise, other), other)
    between = slerp(0.5, noise, other)
    assert between.dtype == dtype
    assert between.isfinite().all()


def test_a_variation_is_the_formula_of_automatic1111_column_by_column() -> None:
    noise, other = two()
    got = slerp(0.3, noise, other)
    for channel in range(4):
        for x in range(16):
            a, b = (tensor[0, channel, :, x].double().numpy() for tensor in (noise, other))
            angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
            expected = np.sin(0.7 * angle) / np.sin(angle) * a + np.sin(0.3 * angle) / np.sin(angle) * b
            np.testing.assert_allclose(got[0, channel, :, x], expected, atol=1e-5)


def test_the_distance_grows_with_the_strength_and_the_noise_stays_noise() -> None:
    noise, other = two((1, 4, 64, 64))
    steps = [slerp(strength / 10, noise, other) for strength in range(11)]
    from_noise = [(step - noise).norm().item() for step in steps]
    from_other = [(step - other).norm().item() for step in steps]
    assert from_noise == sorted(from_noise)
    assert from_other == sorted(from_other, reverse=True)
    assert len(set(from_noise)) == 11
    assert all(abs(step.std().item() - 1) < 0.03 for step in steps)  # a linear mixture would have 0.71 in the middle


def test_a_seed_varied_towards_itself_stays_itself() -> None:
    noise, _ = two()
    for strength in (0.0, 0.25, 0.5, 1.0):
        assert torch.equal(slerp(strength, noise, noise), noise)
    assert slerp(0.5, noise, -noise).isfinite().all()
