"""What a training left in its folder, and how to stop it."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from gesso.training.primer.checkpoint import FILE
from gesso.training.primer.trainer import Progress


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Those of the checkpoint."""
    return load_file(folder / FILE)


def curve(folder: Path) -> list[dict[str, Any]]:
    """The log without the times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def stop_after(step: int) -> Callable[[Progress], None]:
    """Sends SIGTERM to this process as soon as `step` is logged."""

    def watch(news: Progress) -> None:
        if news.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return watch


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Both hold the same, bit for bit."""
    assert set(one) == set(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
