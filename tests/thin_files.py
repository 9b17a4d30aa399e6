"""Thin weight files under names of their own, as they lie in people's folders."""

from collections.abc import Mapping
from pathlib import Path

from specimens import SPECIMENS
from specimens.base import write_safetensors

LORA = "lora of sdxl, kohya"
CHECKPOINT = "sd1 checkpoint"
VAE = "vae of 4 channels"


def thin(path: Path | str, what: str = LORA, metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file of the specimen `what` at `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_safetensors(path, SPECIMENS[what].shapes(), metadata)
