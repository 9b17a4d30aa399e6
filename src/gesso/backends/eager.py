"""Plain PyTorch: the module as it is."""

from collections.abc import Mapping
from typing import Any

import torch


class EagerBackend:
    """Calls the module itself; on the worker's thread its face lets the call straight through."""

    name = "eager"

    def run(self, module: torch.nn.Module, method: str, arguments: Mapping[str, Any]) -> Any:
        if method == "forward":
            return module(**arguments)  # through __call__, so that hooks inside the network run
        return getattr(module, method)(**arguments)
