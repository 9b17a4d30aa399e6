"""What a runtime must do to execute a hosted network."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch


class Backend(Protocol):
    """Runs one method of one network. Called on the worker's thread only, under `no_grad`."""

    name: str

    def run(self, module: torch.nn.Module, method: str, arguments: Mapping[str, Any]) -> Any:
        """Call `method` with keyword `arguments`; tensors are on the device of the network's weights."""
        ...
