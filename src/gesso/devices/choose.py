"""Which device a request runs on, and which GPU of this machine lies idle."""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from gesso.core.errors import DeviceError
from gesso.core.registry import Registry
from gesso.devices.base import Device

logger = logging.getLogger(__name__)


class DeviceClass(Protocol):
    """What the registry holds: a class that finds the devices of its kind."""

    def discover(self) -> Sequence[Device]: ...


DEVICES: Registry[DeviceClass] = Registry(
    "gesso.devices", builtin={"cuda": "gesso.devices.cuda:CudaDevice", "cpu": "gesso.devices.cpu:CpuDevice"}
)

CUDA_INDEX = "https://download.pytorch.org/whl/cu130"
ROCM_INDEX = "https://download.pytorch.org/whl/rocm7.2"
OLD_CUDA_INDEX = "https://download.pytorch.org/whl/cu126"
"""The last builds that have code for GPUs before Turing."""


def discover(registry: Registry[DeviceClass] = DEVICES) -> list[Device]:
    """All devices of this machine that can be used, accelerators first."""
    found: list[Device] = []
    for kind in registry.names():
        try:
            found += registry.get(kind).discover()
        except (ImportError, AttributeError) as error:  # a broken plugin takes its own kind away, nothing else
            logger.warning("Devices of kind `%s` are left out: %s", kind, error)
    return sorted(found, key=lambda device: not device.accelerator)


def choose(name: str | None, registry: Registry[DeviceClass] = DEVICES) -> Device:
    """The device called `name`: its name (`cuda:1`), its kind (`cuda`, then the first), or `None` for the best.

    Raises:
        DeviceError: it is not here; the message lists what is.
    """
    devices = discover(registry)
    if name is None or name == "auto":
        return devices[0]
    wanted = name.strip().lower()
    for device in devices:
        if wanted in (device.name, device.kind):
            return device
    here = ", ".join(f"`{device.name}` ({device.title})" for device in devices)
    raise DeviceError(f"There is no device `{name}`; here: {here}", hint=unused_gpu() or "leave `--device` out")


def unused_gpu(root: Path = Path("/"), which: Callable[[str], str | None] = shutil.which) -> str | None:
    """A GPU that this machine has and this torch cannot use, in words, with the command that changes it.

    NVIDIA's is known by its driver, AMD's by the driver of its compute interface. Others are not looked for: that a
    graphics chip is there does not mean that torch could compute on it.

    Args:
        root: where `/proc` and `/dev` are.
        which: finds a program on the path.
    """
    import torch

    nvidia = (root / "proc/driver/nvidia/version").exists() or which("nvidia-smi") is not None
    if nvidia and torch.version.cuda is None and torch.version.hip is None:
        return f"An NVIDIA GPU is here, and torch {torch.__version__} is built without CUDA: {_cuda_install()}"
    if (root / "dev/kfd").exists() and torch.version.hip is None and not nvidia:
        version = _plain(torch.__version__)
        install = f"`pip install --force-reinstall torch=={version} --index-url {ROCM_INDEX}`"
        return f"An AMD GPU is here, and torch {torch.__version__} is built without ROCm: {install}"
    if torch.version.cuda is not None and nvidia:
        return _unused_by_cuda_build()
    return None


def _unused_by_cuda_build() -> str | None:
    import torch

    handler: Any = DEVICES.get("cuda")
    if left_out := handler.left_out():
        version = _plain(torch.__version__)
        install = f"`pip install --force-reinstall torch=={version} --index-url {OLD_CUDA_INDEX}`"
        return f"torch {torch.__version__} has no code for {', '.join(left_out)}: {install}"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None  # hidden on purpose
    if not handler.discover():
        return (
            f"An NVIDIA GPU is here, and torch {torch.__version__} cannot use it: update its driver to one for "
            f"CUDA {torch.version.cuda} (`nvidia-smi` shows which it has); in a container, pass the GPU through"
        )
    return None


def _cuda_install() -> str:
    """PyPI's torch has CUDA on Linux; for Windows PyTorch's own index has it."""
    import torch

    version = _plain(torch.__version__)
    index = "" if sys.platform == "linux" else f" --index-url {CUDA_INDEX}"
    return f"`pip install --force-reinstall torch=={version}{index}`"


def _plain(version: str) -> str:
    return version.partition("+")[0]
