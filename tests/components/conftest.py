"""A worker of the real CPU, and a short way to host a network on it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

from callers import HoldableWorker
from gesso.components.hosting import Hosting
from gesso.devices.cpu import CpuDevice

settings.register_profile("components", deadline=None, max_examples=60)  # a busy machine is no reason to fail
settings.load_profile("components")


@pytest.fixture
def worker() -> Iterator[HoldableWorker]:
    worker = HoldableWorker(CpuDevice(), threads=1)
    yield worker
    worker.close()


@pytest.fixture
def hosting() -> Hosting:
    return Hosting()


@pytest.fixture
def host(worker: HoldableWorker, hosting: Hosting) -> Callable[..., Any]:
    """`host(module, **options)` hosts a network and returns it."""

    def hosted(module: torch.nn.Module, *, name: str = "net", **options: Any) -> Any:
        hosting.host(module, name=name, worker=worker, dtype=options.pop("dtype", torch.float32), **options)
        return module

    return hosted
