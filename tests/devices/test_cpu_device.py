import pytest
import torch
from torch.nn import functional

from gesso.core.requests import Precision
from gesso.devices.base import Device
from gesso.devices.cpu import CpuDevice

TORCH = {
    Precision.FLOAT32: torch.float32,
    Precision.BFLOAT16: torch.bfloat16,
    Precision.FLOAT16: torch.float16,
}


@pytest.fixture
def cpu() -> Device:
    [device] = CpuDevice.discover()
    return device


def test_it_says_what_it_is(cpu: Device) -> None:
    assert (cpu.kind, cpu.name, cpu.accelerator) == ("cpu", "cpu", False)
    assert torch.device(cpu.name).type == "cpu"
    assert cpu.title
    assert cpu.capability == f"cpu {torch.backends.cpu.get_cpu_capability().lower()}"


def test_it_says_how_much_memory_there_is(cpu: Device) -> None:
    budget = cpu.memory()
    assert budget.device == "cpu"
    assert 0 < budget.free_bytes <= budget.total_bytes


def test_networks_run_in_full_precision_unless_asked_otherwise(cpu: Device) -> None:
    assert cpu.precision() is Precision.FLOAT32


@pytest.mark.parametrize("precision", Precision)
def test_every_precision_it_supports_computes(cpu: Device, precision: Precision) -> None:
    assert cpu.supports(precision)
    numbers = torch.Generator().manual_seed(0)
    x = torch.randn(1, 8, 8, 8, generator=numbers).to(TORCH[precision])
    weight = torch.randn(8, 8, 3, 3, generator=numbers).to(TORCH[precision])
    x = functional.silu(functional.group_norm(functional.conv2d(x, weight, padding=1), 2))
    tokens = x.flatten(2).transpose(1, 2)
    assert functional.scaled_dot_product_attention(tokens, tokens, tokens).isfinite().all()


@pytest.mark.parametrize(
    ("precision", "force_upcast", "vae"),
    [
        (Precision.FLOAT32, True, Precision.FLOAT32),
        (Precision.BFLOAT16, True, Precision.BFLOAT16),
        (Precision.FLOAT16, True, Precision.BFLOAT16),
        (Precision.FLOAT16, False, Precision.FLOAT16),
    ],
)
def test_a_vae_that_overflows_in_half_precision_gets_a_wider_range(
    cpu: Device, precision: Precision, force_upcast: bool, vae: Precision
) -> None:
    assert cpu.vae_precision(precision, force_upcast=force_upcast) is vae


def test_markers_measure_the_time_between_them(cpu: Device) -> None:
    first = cpu.marker()
    second = cpu.marker()
    second.wait()
    assert second.seconds_since(first) >= 0
    assert first.seconds_since(second) == -second.seconds_since(first)
    cpu.empty_cache()


def test_running_out_of_memory_is_told_from_other_errors(cpu: Device) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert cpu.is_out_of_memory(caught.value)
    assert cpu.is_out_of_memory(MemoryError())
    assert cpu.is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not cpu.is_out_of_memory(RuntimeError("could not create a primitive descriptor for a convolution"))
    assert not cpu.is_out_of_memory(RuntimeError("shapes do not match"))
