from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gesso.core.errors import DeviceError
from gesso.core.registry import Registry
from gesso.devices.base import Device
from gesso.devices.choose import DEVICES, DeviceClass, choose, discover, unused_gpu
from gesso.devices.cuda import CudaDevice, GpuFacts


class TwoCards:
    """Stands in for the handler of a machine with two GPUs."""

    @classmethod
    def discover(cls) -> Sequence[Device]:
        return [
            CudaDevice(GpuFacts(index=index, title=f"Card {index}", capability=(9, 0), architecture="sm_90"))
            for index in range(2)
        ]


@pytest.fixture
def machine() -> Registry[DeviceClass]:
    here = f"{__name__}:TwoCards"
    return Registry("gesso.devices", builtin={"cpu": "gesso.devices.cpu:CpuDevice", "cuda": here})


def test_accelerators_come_first(machine: Registry[DeviceClass]) -> None:
    assert [device.name for device in discover(machine)] == ["cuda:0", "cuda:1", "cpu"]


@pytest.mark.parametrize(
    ("name", "chosen"),
    [(None, "cuda:0"), ("auto", "cuda:0"), ("cuda", "cuda:0"), ("CUDA:1", "cuda:1"), ("cpu", "cpu")],
)
def test_a_device_is_chosen_by_name_or_kind(machine: Registry[DeviceClass], name: str | None, chosen: str) -> None:
    assert choose(name, machine).name == chosen


@pytest.mark.parametrize("name", ["cuda:2", "mps", "tpu"])
def test_a_device_that_is_not_here_is_refused_with_what_is(machine: Registry[DeviceClass], name: str) -> None:
    with pytest.raises(DeviceError, match=f"no device `{name}`; here: `cuda:0` \\(Card 0\\).*`cpu`") as caught:
        choose(name, machine)
    assert caught.value.hint


def test_every_machine_has_a_cpu() -> None:
    assert choose("cpu").name == "cpu"
    assert discover(DEVICES)[-1].kind == "cpu"


def test_a_broken_handler_takes_only_its_own_kind_away(caplog: pytest.LogCaptureFixture) -> None:
    builtin = {"broken": "gesso.devices.nowhere:Device", "cpu": "gesso.devices.cpu:CpuDevice"}
    assert [device.name for device in discover(Registry("gesso.devices", builtin=builtin))] == ["cpu"]
    assert "`broken`" in caplog.text


# --- a GPU that torch cannot use


def nothing(program: str) -> None:
    return None


def nvidia_smi(program: str) -> str | None:
    return "/usr/bin/nvidia-smi" if program == "nvidia-smi" else None


def built_for(monkeypatch: pytest.MonkeyPatch, *, cuda: str | None = None, hip: str | None = None) -> None:
    suffix = "+cpu" if cuda is None and hip is None else ""
    monkeypatch.setattr(torch, "__version__", f"2.13.0{suffix}")
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_a_machine_without_a_gpu_is_left_in_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda in (None, "13.0"):
        built_for(monkeypatch, cuda=cuda)
        assert unused_gpu(tmp_path, nothing) is None


def test_graphics_of_a_processor_are_no_reason_to_shout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_for(monkeypatch)
    put(tmp_path / "dev/dri/renderD128")
    assert unused_gpu(tmp_path, nothing) is None


@pytest.mark.parametrize("sign", ["driver", "program"])
@pytest.mark.parametrize(
    ("platform", "command"),
    [
        ("linux", "`pip install --force-reinstall torch==2.13.0`"),
        ("win32", "`pip install --force-reinstall torch==2.13.0 --index-url https://download.pytorch.org/whl/cu130`"),
    ],
)
def test_an_nvidia_card_beside_a_cpu_build_is_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: str, platform: str, command: str
) -> None:
    built_for(monkeypatch)
    monkeypatch.setattr("sys.platform", platform)
    if sign == "driver":
        put(tmp_path / "proc/driver/nvidia/version")
    told = unused_gpu(tmp_path, nvidia_smi if sign == "program" else nothing)
    assert told is not None
    assert "NVIDIA GPU" in told
    assert "built without CUDA" in told
    assert told.endswith(command)


def test_an_amd_card_beside_a_build_without_rocm_is_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_for(monkeypatch)
    put(tmp_path / "dev/kfd")
    told = unused_gpu(tmp_path, nothing)
    assert told is not None
    assert "built without ROCm" in told
    assert "torch==2.13.0 --index-url https://download.pytorch.org/whl/rocm" in told
    built_for(monkeypatch, hip="7.2")
    assert unused_gpu(tmp_path, nothing) is None


def simulate(monkeypatch: pytest.MonkeyPatch, *cards: tuple[str, int, int]) -> None:
    properties = [SimpleNamespace(name=name, major=major, minor=minor) for name, major, minor in cards]
    answers: dict[str, Any] = {
        "is_available": lambda: bool(properties),
        "device_count": lambda: len(properties),
        "get_device_properties": lambda index: properties[index],
        "get_arch_list": lambda: ["sm_75", "sm_90", "compute_90"],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)


def test_a_card_too_old_for_this_torch_is_told_with_the_build_that_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_for(monkeypatch, cuda="13.0")
    simulate(monkeypatch, ("NVIDIA GeForce GTX 1080", 6, 1))
    told = unused_gpu(tmp_path, nvidia_smi)
    assert told is not None
    assert "no code for NVIDIA GeForce GTX 1080 (sm_61)" in told
    assert "whl/cu126" in told


def test_a_driver_too_old_for_this_torch_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_for(monkeypatch, cuda="13.0")
    simulate(monkeypatch)
    told = unused_gpu(tmp_path, nvidia_smi)
    assert told is not None
    assert "update its driver to one for CUDA 13.0" in told
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert unused_gpu(tmp_path, nvidia_smi) is None


def test_a_card_in_use_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built_for(monkeypatch, cuda="13.0")
    simulate(monkeypatch, ("NVIDIA H200", 9, 0))
    assert unused_gpu(tmp_path, nvidia_smi) is None
    put(tmp_path / "dev/kfd")  # an AMD processor's own graphics beside it
    assert unused_gpu(tmp_path, nvidia_smi) is None
