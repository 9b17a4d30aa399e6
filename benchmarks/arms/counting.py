"""Counting what a denoiser computes in a pipeline that nobody hosts."""

from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.arms.base import is_denoiser


class DenoiserCount:
    """Rows and forwards of the denoiser among `modules` since they were last taken. One thread."""

    def __init__(self, modules: Mapping[str, torch.nn.Module]) -> None:
        self._rows = self._forwards = 0
        for name, module in modules.items():
            if is_denoiser(name):
                module.register_forward_hook(self._count, with_kwargs=True)

    def take(self) -> tuple[int, int]:
        """(rows, forwards)"""
        found = self._rows, self._forwards
        self._rows = self._forwards = 0
        return found

    def _count(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _output: Any) -> None:
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor) and value.ndim)
        self._rows += first.shape[0]
        self._forwards += 1
