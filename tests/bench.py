"""A component on a bench: its calls are made, queued and run one by one by the test, on its own thread."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from gesso.components.batcher import Batcher
from gesso.components.call import Call
from gesso.components.component import Component
from gesso.components.execute import Executor
from gesso.components.layouts import CallLayout
from gesso.components.residency import Residency, Weights
from gesso.components.scope import ImageScope
from gesso.components.worker import DeviceWorker
from toys import FakeDevice, VirtualClock


class BenchWorker:
    """What a component asks of its worker, without a thread: the test is on the worker's thread all the time."""

    def __init__(self, device: FakeDevice | None = None) -> None:
        self.device = device or FakeDevice()
        self.clock: VirtualClock = self.device.clock
        self.residency = Residency(torch.device(self.device.name))
        self.batcher = Batcher()
        self.executor = Executor(self.device, self.residency)

    def is_current(self) -> bool:
        return True


class Bench:
    """One component. Its module keeps its own class: tests here are about calls, not about faces."""

    def __init__(
        self,
        module: nn.Module,
        *,
        layouts: Mapping[str, CallLayout] | None = None,
        worker: BenchWorker | None = None,
        name: str = "net",
        dtype: torch.dtype = torch.float32,
        **options: Any,
    ) -> None:
        self.worker = worker or BenchWorker()
        self.said: list[str] = []
        module.eval().requires_grad_(False)
        self.component = Component(
            module,
            name=name,
            worker=cast(DeviceWorker, self.worker),
            weights=Weights(module, name=name),
            dtype=dtype,
            layouts=layouts,
            listener=self.said.append,
            **options,
        )

    def call(self, *args: Any, scope: ImageScope | None = None, method: str = "forward", **kwargs: Any) -> Call:
        """A call as a picture's thread would make it, not queued yet."""
        return self.component._capture(scope or ImageScope(), method, args, kwargs)

    def run(self, *calls: Call) -> list[Any]:
        """Run `calls` as one batch; what each gave, or raises what the first that failed got."""
        self.worker.executor.run(calls)
        return [call.answer.result(timeout=0) for call in calls]

    def finish(self, call: Call) -> Any:
        """What the caller's thread does with an answer: check it, trace it, deliver it."""
        output = call.answer.result(timeout=0)
        self.component._record(call, output)
        return self.component._delivered(output)

    def agree(self, one: Call, other: Call) -> bool:
        """Whether the two would run as one forward: asked of the queue, not of the key."""
        batcher = Batcher()
        batcher.add(one)
        batcher.add(other)
        taken = batcher.take(now=0.0)
        assert isinstance(taken, list)
        return len(taken) == 2


def rows(*values: float, width: int = 3) -> torch.Tensor:
    """[len(values), width]: each row is filled with its value."""
    return torch.tensor(values).unsqueeze(1).expand(-1, width).clone()
