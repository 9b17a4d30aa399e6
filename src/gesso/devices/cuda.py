"""NVIDIA GPUs, and AMD ones under a ROCm build of torch, which answers to the same names."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gesso.core.budget import MemoryBudget
from gesso.core.requests import Precision
from gesso.devices.base import Device, Marker, finite_vae_precision

_NO_ROOM = ("CUDA out of memory", "CUDA error: out of memory", "HIP out of memory", "CUBLAS_STATUS_ALLOC_FAILED")

FLOAT16_FAULTS = ("GTX 1650", "GTX 1660")
"""Cards on which float16 networks produce NaN (the reason for `--no-half` in AUTOMATIC1111's wiki, "Command Line
Arguments and Settings"): they run in float32."""


@dataclass(frozen=True, kw_only=True)
class GpuFacts:
    """What decides how a GPU is used."""

    index: int
    title: str
    capability: tuple[int, int]
    """CUDA compute capability; of AMD GPUs what torch reports in its place."""
    architecture: str
    """`sm_90`, `gfx1100`."""
    rocm: bool = False
    rocm_bfloat16: bool = False


def best_precision(facts: GpuFacts) -> Precision:
    """bfloat16 from Ampere (8.0) on, float16 on Volta and Turing (7.x), float32 on older cards.

    Before Volta float16 arithmetic is a fraction of the speed of float32 on most cards.
    """
    if supports_bfloat16(facts):
        return Precision.BFLOAT16
    if any(fault in facts.title for fault in FLOAT16_FAULTS):
        return Precision.FLOAT32
    return Precision.FLOAT16 if facts.rocm or facts.capability >= (7, 0) else Precision.FLOAT32


def supports_bfloat16(facts: GpuFacts) -> bool:
    """In hardware: torch emulates it on older cards, slower than float32."""
    return facts.rocm_bfloat16 if facts.rocm else facts.capability >= (8, 0)


def is_built_for(facts: GpuFacts, architectures: Sequence[str]) -> bool:
    """Whether a torch built for `architectures` has code for this GPU.

    Binary code (`sm_86`) runs on GPUs of the same major number and the same or a higher minor one; intermediate code
    (`compute_90`) is compiled for any later GPU. AMD code must match exactly.
    """
    if not architectures:
        return True  # a build that does not say
    if facts.rocm:
        return any(facts.architecture == name.partition(":")[0] for name in architectures)
    for name in architectures:
        form, _, digits = name.partition("_")
        number = digits.rstrip("af")  # sm_100f: for this major number; sm_90a: for exactly this architecture
        if not number.isdecimal():
            continue
        built = (int(number[:-1]), int(number[-1]))
        exact = digits.endswith("a")
        if form == "compute" and not exact and facts.capability >= built:
            return True
        same_major = facts.capability[0] == built[0] and facts.capability[1] >= built[1]
        if form == "sm" and (facts.capability == built if exact else same_major):
            return True
    return False


class CudaMarker:
    """An event in the stream that this thread's work goes to."""

    def __init__(self, index: int) -> None:
        with torch.cuda.device(index):
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record(torch.cuda.current_stream(index))

    def wait(self) -> None:
        self._event.synchronize()

    def seconds_since(self, earlier: Marker) -> float:
        assert isinstance(earlier, CudaMarker), "markers of different devices have no common clock"
        self.wait()
        return earlier._event.elapsed_time(self._event) / 1000


class CudaDevice:
    """One GPU. Launches are asynchronous; memory freed by tensors stays with this process until `empty_cache`."""

    kind = "cuda"
    accelerator = True

    def __init__(self, facts: GpuFacts) -> None:
        self.facts = facts

    @classmethod
    def discover(cls) -> Sequence[Device]:
        """The GPUs that this torch can use."""
        return [cls(facts) for facts in _all_facts() if is_built_for(facts, torch.cuda.get_arch_list())]

    @classmethod
    def left_out(cls) -> Sequence[str]:
        """GPUs that this torch sees and has no code for, in words."""
        return [
            f"{facts.title} ({facts.architecture})"
            for facts in _all_facts()
            if not is_built_for(facts, torch.cuda.get_arch_list())
        ]

    @property
    def name(self) -> str:
        return f"cuda:{self.facts.index}"

    @property
    def title(self) -> str:
        return self.facts.title

    @property
    def capability(self) -> str:
        return f"{'rocm' if self.facts.rocm else 'cuda'} {self.facts.architecture}"

    def memory(self) -> MemoryBudget:
        index = self.facts.index
        free, total = torch.cuda.mem_get_info(index)
        reusable = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
        return MemoryBudget(device=self.name, total_bytes=total, free_bytes=free + reusable)

    def precision(self) -> Precision:
        return best_precision(self.facts)

    def vae_precision(self, precision: Precision, *, force_upcast: bool) -> Precision:
        return finite_vae_precision(precision, force_upcast=force_upcast, bfloat16=supports_bfloat16(self.facts))

    def supports(self, precision: Precision) -> bool:
        return precision is not Precision.BFLOAT16 or supports_bfloat16(self.facts)

    def marker(self) -> CudaMarker:
        return CudaMarker(self.facts.index)

    def empty_cache(self) -> None:
        with torch.cuda.device(self.facts.index):
            torch.cuda.empty_cache()

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_ROOM)


def _all_facts() -> list[GpuFacts]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a driver too old for torch is reported by `unused_gpu`, with the cure
        if not torch.cuda.is_available():
            return []
        return [_facts(index) for index in range(torch.cuda.device_count())]


def _facts(index: int) -> GpuFacts:
    properties: Any = torch.cuda.get_device_properties(index)
    rocm = torch.version.hip is not None
    architecture = f"sm_{properties.major}{properties.minor}"
    return GpuFacts(
        index=index,
        title=properties.name,
        capability=(properties.major, properties.minor),
        architecture=properties.gcnArchName.partition(":")[0] if rocm else architecture,
        rocm=rocm,
        rocm_bfloat16=rocm and torch.cuda.is_bf16_supported(),
    )
