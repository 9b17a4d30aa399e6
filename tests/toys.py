"""Networks small enough to be understood at a glance, a device and a clock that tests control."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from gesso.components.layouts import DECODE, ENCODE, FORWARD, CallLayout
from gesso.core.budget import MemoryBudget
from gesso.core.requests import Precision
from gesso.devices.base import Marker

TIMEOUT_SECONDS = 20.0
"""How long a test waits for what must happen; nothing ever waits so long unless it is broken."""


class VirtualClock:
    """Time that goes on only when a test says so."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


@dataclass
class Control:
    """What a test sees of a network and does to it; the network itself is frozen while it is hosted.

    Attributes:
        batches: for each forward the first value of each of its rows, by which tests know rows.
        threads: the thread of each forward.
        torch_threads: the number of threads that torch had in each forward.
        fails_for: rows that make a forward raise `error()`.
        gate: forwards wait for it.
        started: released when a forward begins.
        grad: whether gradients were recorded in each forward.
    """

    batches: list[list[float]] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    torch_threads: list[int] = field(default_factory=list)
    grad: list[bool] = field(default_factory=list)
    fails_for: set[float] = field(default_factory=set)
    error: Callable[[], BaseException] = field(default=lambda: ValueError("a bad row"))
    gate: threading.Event | None = None
    started: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def forward_calls(self) -> int:
        return len(self.batches)

    def visit(self, rows: torch.Tensor) -> None:
        """Called by a network at the begin of its forward."""
        names = [round(float(value), 4) for value in rows.reshape(len(rows), -1)[:, 0]]
        self.batches.append(names)
        self.threads.append(threading.get_ident())
        self.torch_threads.append(torch.get_num_threads())
        self.grad.append(torch.is_grad_enabled())
        self.started.release()
        if self.gate is not None:
            assert self.gate.wait(TIMEOUT_SECONDS), "nobody opened the gate"
        if self.fails_for.intersection(names):
            raise self.error()


class CountingNetwork(nn.Module):
    """Doubles its rows and adds their times and contexts; says what it was given. Its rows keep to themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.control = Control()
        self.given: list[dict[str, Any]] = []

    def forward(
        self,
        sample: torch.Tensor,
        timestep: Any = None,
        context: torch.Tensor | None = None,
        *,
        residuals: Any = None,
        shared: torch.Tensor | None = None,
        flag: Any = None,
        generator: Any = None,
        **more: Any,
    ) -> torch.Tensor:
        self.given.append({"sample": sample, "timestep": timestep, "shared": shared, "flag": flag, "more": more})
        self.control.visit(sample)
        output = sample * self.weight
        for added in (timestep, context, *(residuals or ())):
            if isinstance(added, torch.Tensor):
                per_row = added.reshape(len(added), -1).sum(1).to(output.dtype)
                output = output + per_row.view(-1, *[1] * (sample.ndim - 1))
        return output


COUNTING = {
    FORWARD: CallLayout(
        rows=("sample", "context", "residuals.*"),
        timesteps=("timestep",),
        unbatched=("shared",),
        ignored=("generator",),
    )
}
SAMPLE = {FORWARD: CallLayout(rows=("sample",))}


class CenteredNetwork(nn.Module):
    """Rows influence each other: each loses the mean of all."""

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        return sample - sample.mean(0)


class SlotNetwork(nn.Module):
    """Rows depend on the slot that they are in, as vectorised kernels at odd sizes do."""

    def __init__(self) -> None:
        super().__init__()
        self.control = Control()

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        self.control.visit(sample)
        return sample + 1e-6 * torch.arange(len(sample)).view(-1, *[1] * (sample.ndim - 1))


class KeyValueCache:
    """What language models return beside their output: it belongs to all rows at once."""


class CachingNetwork(nn.Module):
    """Returns a leaf that nobody can split into rows."""

    def __init__(self) -> None:
        super().__init__()
        self.control = Control()

    def forward(self, sample: torch.Tensor) -> dict[str, Any]:
        self.control.visit(sample)
        return {"sample": sample * 2, "cache": KeyValueCache()}


class OuterNetwork(nn.Module):
    """Calls a network inside it that may be hosted itself, as `MultiControlNetModel` does."""

    def __init__(self, inner: CountingNetwork) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        return self.inner(sample) + 1


class ToyTextEncoder(nn.Module):
    """[B, L] ids to [B, L, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.control = Control()
        self.table = nn.Embedding(32, 16)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        self.control.visit(input_ids)
        return torch.tanh(self.table(input_ids))


class ToyDenoiser(nn.Module):
    """[B, 4, H, W], times [B] and texts [B, L, 16] to [B, 4, H, W]: two convolutions with a time embedding between."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.control = Control()
        self.into = nn.Conv2d(4, width, 3, padding=1)
        self.time = nn.Linear(16, width)
        self.text = nn.Linear(16, width)
        self.out = nn.Conv2d(width, 4, 3, padding=1)

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        self.control.visit(sample)
        frequencies = torch.exp(-torch.arange(8, dtype=torch.float32))
        angles = timestep.float()[:, None] * frequencies  # [B, 8]
        added = self.time(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.text(encoder_hidden_states.sum(1))
        return self.out(torch.tanh(self.into(sample) + added[:, :, None, None]))


class ToyDecoder(nn.Module):
    """An autoencoder by its methods: [B, 4, H, W] to [B, 3, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.control = Control()
        self.mix = nn.Conv2d(4, 3, 1)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def decode(self, z: torch.Tensor, return_dict: bool = True, generator: Any = None) -> tuple[torch.Tensor]:
        self.control.visit(z)
        return (self.mix(z),)


TOY_LAYOUTS: Mapping[type[nn.Module], Mapping[str, CallLayout]] = {
    ToyTextEncoder: {FORWARD: CallLayout(rows=("input_ids",))},
    ToyDenoiser: {FORWARD: CallLayout(rows=("sample", "encoder_hidden_states"), timesteps=("timestep",))},
    ToyDecoder: {ENCODE: CallLayout(rows=("x",)), DECODE: CallLayout(rows=("z",), ignored=("generator",))},
}


def seeded(module: nn.Module, seed: int = 0) -> Any:
    """`module` with weights that depend on nothing but the seed."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        spread = (parameter.numel() / len(parameter)) ** -0.5 if parameter.ndim > 1 else 0.1
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return module.requires_grad_(False)


class ToyOutOfMemoryError(RuntimeError):
    """What `FakeDevice` raises and recognises."""


@dataclass
class FakeMarker:
    """A point in the queue of a `FakeDevice`."""

    device: "FakeDevice"
    time: float
    done: threading.Event

    def wait(self) -> None:
        self.device.waited.release()
        assert self.done.wait(TIMEOUT_SECONDS), "the device never got there"

    def seconds_since(self, earlier: Marker) -> float:
        assert isinstance(earlier, FakeMarker)
        self.wait()
        return self.time - earlier.time


class FakeDevice:
    """A device whose clock is virtual and whose work is done when a test says so.

    Args:
        accelerator: launches are asynchronous: `finish` must be called before anything is done.
    """

    kind = "fake"
    name = "cpu"  # where its tensors are
    title = "A device of tests"
    capability = "fake"

    def __init__(self, *, accelerator: bool = False, clock: VirtualClock | None = None) -> None:
        self.accelerator = accelerator
        self.clock = clock or VirtualClock()
        self.pending: list[FakeMarker] = []
        self.emptied = 0
        self.waited = threading.Semaphore(0)
        self.full_for: Callable[[BaseException], bool] = lambda error: isinstance(error, ToyOutOfMemoryError)

    def memory(self) -> MemoryBudget:
        return MemoryBudget(device=self.name, total_bytes=2**30, free_bytes=2**30)

    def precision(self) -> Precision:
        return Precision.FLOAT32

    def vae_precision(self, precision: Precision, *, force_upcast: bool) -> Precision:
        return precision

    def supports(self, precision: Precision) -> bool:
        return True

    def marker(self) -> FakeMarker:
        marker = FakeMarker(self, self.clock.now(), threading.Event())
        if self.accelerator:
            self.pending.append(marker)
        else:
            marker.done.set()
        return marker

    def finish(self, forwards: int = 1) -> None:
        """The oldest `forwards` launched forwards are done."""
        for marker in self.pending[: 2 * forwards]:  # each has a marker before and one behind it
            marker.done.set()
        del self.pending[: 2 * forwards]

    def empty_cache(self) -> None:
        self.emptied += 1

    def is_out_of_memory(self, error: BaseException) -> bool:
        return self.full_for(error)
