"""What a device handler answers. Nobody else asks which device it is."""

from typing import Protocol

from gesso.core.budget import MemoryBudget
from gesso.core.requests import Precision


class Marker(Protocol):
    """A point in the work that a device has been given."""

    def wait(self) -> None:
        """Block until the work queued before this point is done."""
        ...

    def seconds_since(self, earlier: "Marker") -> float:
        """Device time from `earlier`, a marker of the same device, to this one. Waits for this one."""
        ...


class Device(Protocol):
    """One device of this machine. Used by one worker thread; answers may be asked from any thread."""

    @property
    def kind(self) -> str:
        """`cpu`, `cuda`: the name in the registry."""
        ...

    @property
    def name(self) -> str:
        """What torch calls it: `cpu`, `cuda:0`."""
        ...

    @property
    def title(self) -> str:
        """The product's name, for people."""
        ...

    @property
    def accelerator(self) -> bool:
        """Whether launches are asynchronous: work is queued, and only a marker tells when it is done."""
        ...

    @property
    def capability(self) -> str:
        """What decides its kernels, for fingerprints: `cpu avx512`, `cuda sm_90`."""
        ...

    def memory(self) -> MemoryBudget:
        """Memory now; what this process holds and could use again counts as free."""
        ...

    def precision(self) -> Precision:
        """The number format in which networks run best here."""
        ...

    def vae_precision(self, precision: Precision, *, force_upcast: bool) -> Precision:
        """The number format for the VAE of networks in `precision`, such that it does not overflow.

        Args:
            force_upcast: the VAE's config says that it overflows in float16.
        """
        ...

    def supports(self, precision: Precision) -> bool:
        """Whether networks can run in `precision` here without being emulated."""
        ...

    def marker(self) -> Marker:
        """A mark behind everything queued so far by this thread."""
        ...

    def empty_cache(self) -> None:
        """Give memory that is held for reuse back to the system."""
        ...

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether `error` means that the device had no room."""
        ...


def finite_vae_precision(precision: Precision, *, force_upcast: bool, bfloat16: bool) -> Precision:
    """float16 overflows in VAEs that say so; bfloat16 has the range of float32 and never does.

    Args:
        bfloat16: whether the device supports it.
    """
    if precision is Precision.FLOAT16 and force_upcast:
        return Precision.BFLOAT16 if bfloat16 else Precision.FLOAT32
    return precision
