"""Where a training stands, in one file that is always whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from safetensors import safe_open
from torch import Tensor

from gesso.core.errors import InputError, ModelError
from gesso.core.files import write_atomically

FILE = "checkpoint.safetensors"
_KEY = "gesso.training"
_UNSAID = {"part": "denoiser"}
"""What holds of a checkpoint that does not say it: it was written when nothing else could be trained."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that the next step depends on, apart from the plan and the pictures.

    Chance is not in it: it is a function of the seed and the step.
    """

    step: int
    """Steps done."""
    seconds: float
    """Time spent in steps so far."""
    fixed: dict[str, Any]
    """What the plan said of that which must not change."""
    tensors: Mapping[str, Mapping[str, Tensor]]
    """By kind (`weights`, `average`, and what the optimizer keeps) and by parameter."""

    def write(self, folder: Path) -> None:
        """Replace the checkpoint of `folder`. Until it is complete on the disk, the old one stays.

        Raises:
            StorageError: the disk is full or the folder cannot be written; the old one is still there.
        """
        told = json.dumps({"step": self.step, "seconds": self.seconds, "fixed": self.fixed})
        flat = {
            f"{kind}/{name}": tensor.detach().cpu().contiguous()
            for kind, named in self.tensors.items()
            for name, tensor in named.items()
        }
        write_atomically(folder / FILE, safetensors.torch.save(flat, metadata={_KEY: told}))


def read_checkpoint(folder: Path, *, fixed: Mapping[str, Any]) -> Checkpoint | None:
    """The checkpoint of `folder`; `None` if there is none yet.

    Args:
        fixed: what the plan says now of that which must not change.

    Raises:
        ModelError: the file is damaged.
        InputError: it belongs to a training of another kind.
    """
    path = folder / FILE
    if not path.exists():
        return None
    tensors: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads(file.metadata()[_KEY])
            for key in file.keys():  # noqa: SIM118 (not a mapping)
                kind, _, name = key.partition("/")
                tensors.setdefault(kind, {})[name] = file.get_tensor(key)
        checkpoint = Checkpoint(step=told["step"], seconds=told["seconds"], fixed=told["fixed"], tensors=tensors)
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"`{path}` is no checkpoint, or a damaged one: {error}",
            hint="bring back a good copy, or delete it to begin anew",
        ) from error
    for key, value in fixed.items():
        begun_with = checkpoint.fixed.get(key, _UNSAID.get(key))
        if begun_with != value:
            raise InputError(
                f"`{path}` was begun with `{key}: {begun_with}`; found in the plan: `{value}`",
                hint="set it back, or choose another folder with `out`",
            )
    return checkpoint


def remove_unfinished(folder: Path) -> None:
    """Delete what a run that was killed in the middle of writing left in `folder`."""
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
