"""Decisions of the GPU handler, on a simulated `torch.cuda`: nothing here runs on a GPU but the test marked so."""

from types import SimpleNamespace

import pytest
import torch

from gesso.core.requests import Precision
from gesso.devices.base import Device
from gesso.devices.cuda import CudaDevice, GpuFacts, best_precision, is_built_for, supports_bfloat16

ARCHITECTURES = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


def gpu(title: str, major: int, minor: int) -> GpuFacts:
    return GpuFacts(index=0, title=title, capability=(major, minor), architecture=f"sm_{major}{minor}")


def radeon(architecture: str, *, bfloat16: bool = True) -> GpuFacts:
    return GpuFacts(
        index=0,
        title="AMD Radeon",
        capability=(11, 0),
        architecture=architecture,
        rocm=True,
        rocm_bfloat16=bfloat16,
    )


@pytest.mark.parametrize(
    ("facts", "precision"),
    [
        (gpu("NVIDIA H200", 9, 0), Precision.BFLOAT16),
        (gpu("NVIDIA GeForce RTX 5090", 12, 0), Precision.BFLOAT16),
        (gpu("NVIDIA GeForce RTX 3060", 8, 6), Precision.BFLOAT16),
        (gpu("NVIDIA GeForce RTX 2080", 7, 5), Precision.FLOAT16),
        (gpu("Tesla V100", 7, 0), Precision.FLOAT16),
        (gpu("NVIDIA GeForce GTX 1660 SUPER", 7, 5), Precision.FLOAT32),
        (gpu("NVIDIA GeForce GTX 1080", 6, 1), Precision.FLOAT32),
        (radeon("gfx1100"), Precision.BFLOAT16),
        (radeon("gfx900", bfloat16=False), Precision.FLOAT16),
    ],
    ids=lambda value: value.title if isinstance(value, GpuFacts) else value,
)
def test_the_precision_follows_from_what_the_card_computes_in(facts: GpuFacts, precision: Precision) -> None:
    assert best_precision(facts) is precision
    assert CudaDevice(facts).precision() is precision
    assert CudaDevice(facts).supports(precision)


def test_a_vae_that_overflows_gets_the_widest_range_that_the_card_has() -> None:
    turing, ampere = CudaDevice(gpu("RTX 2080", 7, 5)), CudaDevice(gpu("RTX 3060", 8, 6))
    assert turing.vae_precision(Precision.FLOAT16, force_upcast=True) is Precision.FLOAT32
    assert ampere.vae_precision(Precision.FLOAT16, force_upcast=True) is Precision.BFLOAT16
    assert turing.vae_precision(Precision.FLOAT16, force_upcast=False) is Precision.FLOAT16
    assert ampere.vae_precision(Precision.BFLOAT16, force_upcast=True) is Precision.BFLOAT16
    assert not turing.supports(Precision.BFLOAT16)
    assert not supports_bfloat16(turing.facts)


@pytest.mark.parametrize(
    ("facts", "architectures", "runs"),
    [
        (gpu("H200", 9, 0), ARCHITECTURES, True),
        (gpu("RTX 4090", 8, 9), ARCHITECTURES, True),  # by the code for 8.6
        (gpu("next year's", 13, 0), ARCHITECTURES, True),  # by the intermediate code
        (gpu("GTX 1080", 6, 1), ARCHITECTURES, False),
        (gpu("V100", 7, 0), ARCHITECTURES, False),
        (gpu("next year's", 13, 0), ["sm_90", "sm_120"], False),
        (gpu("H200", 9, 0), ["sm_90a"], True),
        (gpu("Jetson", 10, 1), ["sm_100a"], False),
        (gpu("Jetson", 10, 1), ["sm_100f"], True),
        (gpu("H200", 9, 0), [], True),
        (radeon("gfx1100"), ["gfx1030", "gfx1100"], True),
        (radeon("gfx90a"), ["gfx90a:sramecc+:xnack-"], True),
        (radeon("gfx803"), ["gfx1030", "gfx1100"], False),
    ],
)
def test_a_card_is_used_only_if_torch_has_code_for_it(facts: GpuFacts, architectures: list[str], runs: bool) -> None:
    assert is_built_for(facts, architectures) is runs


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """A machine with an H200 and a GTX 1080, as torch would tell of it."""
    cards = [
        SimpleNamespace(name="NVIDIA H200", major=9, minor=0),
        SimpleNamespace(name="NVIDIA GeForce GTX 1080", major=6, minor=1),
    ]
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: len(cards),
        "get_device_properties": lambda index: cards[index],
        "get_arch_list": lambda: ARCHITECTURES,
        "mem_get_info": lambda index: (100, 1000),
        "memory_reserved": lambda index: 50,
        "memory_allocated": lambda index: 30,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    return list(CudaDevice.discover())


def test_a_machine_is_searched_for_cards_that_can_be_used(two_cards: list[Device]) -> None:
    [card] = two_cards
    assert (card.kind, card.name, card.title) == ("cuda", "cuda:0", "NVIDIA H200")
    assert card.capability == "cuda sm_90"
    assert card.accelerator
    assert CudaDevice.left_out() == ["NVIDIA GeForce GTX 1080 (sm_61)"]


def test_what_the_process_holds_for_reuse_counts_as_free(two_cards: list[Device]) -> None:
    budget = two_cards[0].memory()
    assert (budget.device, budget.total_bytes, budget.free_bytes) == ("cuda:0", 1000, 120)


def test_running_out_of_memory_is_told_from_other_errors() -> None:
    device = CudaDevice(gpu("H200", 9, 0))
    assert device.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert device.is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not device.is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


@pytest.mark.gpu
def test_a_real_card_measures_its_own_time() -> None:
    for device in CudaDevice.discover():
        start = device.marker()
        x = torch.randn(512, 512, device=device.name)
        for _ in range(20):
            x = x @ x / 512
        end = device.marker()
        assert end.seconds_since(start) > 0
        budget = device.memory()
        assert 0 < budget.free_bytes <= budget.total_bytes
        device.empty_cache()
