"""Reading an adapter file: its tensors in float32, and what its header says of scales."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from gesso.core.errors import ModelError
from gesso.models.headers.base import FileFormat
from gesso.models.headers.read import read_weights_header
from gesso.models.single_files.tensors import mapped_file

METADATA_KEY = "lora_adapter_metadata"
"""Under which diffusers writes the configuration of PEFT into the header."""
_AGAIN = "download or copy the file again"


@dataclass(frozen=True, kw_only=True)
class Scales:
    """What the header says of alpha, for files whose tensors do not: PEFT's configuration as diffusers writes it.

    Keys are those of `peft.LoraConfig` behind the name of the network: `transformer.lora_alpha`.
    """

    values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def alpha(self, module: str) -> float | None:
        """Alpha of a layer; `None` if nothing is said."""
        network, _, path = module.partition(".")
        pattern = self.values.get(f"{network}.alpha_pattern")
        alpha = _of_layer(pattern, path) if isinstance(pattern, dict) else None
        found = alpha if alpha is not None else self.values.get(f"{network}.lora_alpha")
        return float(found) if isinstance(found, int | float) else None

    def by_root(self, module: str) -> bool:
        """Whether alpha is divided by the root of the rank (Kalajdzievski 2023, arXiv 2312.03732)."""
        return self.values.get(f"{module.partition('.')[0]}.use_rslora") is True


@dataclass(frozen=True, kw_only=True)
class AdapterFile:
    """What is in an adapter file."""

    path: Path
    tensors: Mapping[str, Tensor] = field(repr=False)
    """As stored; may be mapped from the file."""
    scales: Scales


def read_adapter_file(path: Path) -> AdapterFile:
    """Read all tensors. Of a pickle only tensors are let in (`weights_only`).

    Raises:
        ModelError: it cannot be read, is damaged, or is not to be trusted.
    """
    header = read_weights_header(path)
    if header.format is FileFormat.GGUF:
        raise ModelError(f"`{path}` is a GGUF file, which adapters are not read from", hint="use a safetensors file")
    return AdapterFile(path=path, tensors=mapped_file(path, header), scales=_scales(header.metadata))


def _scales(metadata: Mapping[str, str]) -> Scales:
    text = metadata.get(METADATA_KEY)
    if text is None:
        return Scales()
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"`{METADATA_KEY}` in the header is not JSON: {_first_line(error)}", hint=_AGAIN) from error
    return Scales(values=cast("dict[str, Any]", values) if isinstance(values, dict) else {})


def _of_layer(patterns: Mapping[str, Any], path: str) -> Any:
    """As PEFT reads its patterns: a regular expression that the path ends with."""
    for pattern, value in patterns.items():
        try:
            if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", path):
                return value
        except re.error:  # somebody else's text
            continue
    return None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
