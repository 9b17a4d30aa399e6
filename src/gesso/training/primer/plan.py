"""What a training shall do, as its YAML file says it."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gesso.core.errors import InputError, UnknownNameError
from gesso.primer import weights_folder


class Part(StrEnum):
    """What of the model learns; all else stays as it is in `start`."""

    DENOISER = "denoiser"
    """The UNet and the text encoder together."""
    DECODER = "decoder"
    """The half of the VAE that makes pictures of latents. The latents stay, and so the denoiser stays good."""
    VAE = "vae"
    """All of the VAE. The latents become others, and a denoiser of the old ones is of no use with it."""


_MEANT_FOR: dict[str, frozenset[Part]] = {
    "unet_channels": frozenset({Part.DENOISER}),
    "text_layers": frozenset({Part.DENOISER}),
    "vae_channels": frozenset({Part.VAE}),
    "caption_dropout": frozenset({Part.DENOISER}),
    "whole_pictures_steps": frozenset({Part.DECODER, Part.VAE}),
    "edge_weight": frozenset({Part.DECODER, Part.VAE}),
    "kl_weight": frozenset({Part.VAE}),
}
"""Keys that are of use for some parts only."""
_FORMS = ("unet_channels", "text_layers", "vae_channels")
"""Keys of the form of fresh networks."""


class Validation(BaseModel):
    """How the model is tried out while it learns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_steps: int = Field(default=2000, ge=1)
    prompts: int = Field(default=80, ge=2)
    """Held-out prompts that a denoiser draws, half of them with one thing and half with two; for the other parts,
    renders that go through the VAE. What comes of them is read and scored."""
    pictures: int = Field(default=256, ge=1)
    """Held-out renders, for the loss."""
    seed: int = Field(default=0, ge=0)


class TrainingPlan(BaseModel):
    """All that a training depends on; together with its checkpoint it decides every further step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path
    """Folder of the checkpoint, the encoded pictures, the log and the model that comes of it."""
    start: Path = Field(default_factory=weights_folder)
    """A `StableDiffusionPipeline` folder, where training begins. What does not learn is kept."""
    part: Part = Part.DENOISER
    fresh: bool = False
    """Forget what the part that learns knows in `start`: begin with random weights of its form."""
    unet_channels: tuple[int, ...] | None = Field(default=None, min_length=2)
    """Widths of the UNet's levels, if not those of `start`; for fresh weights only."""
    text_layers: int | None = Field(default=None, ge=1)
    """Layers of the text encoder, likewise."""
    vae_channels: tuple[int, ...] | None = Field(default=None, min_length=2)
    """Widths of the VAE's levels, likewise."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)

    pictures: int = Field(default=30_000, ge=1)
    """Distinct pictures, rendered and encoded once, then seen again and again."""
    workers: int = Field(default=0, ge=0)
    """Processes that draw them; 0: the training does it by itself. A GPU learns faster than one process draws."""
    compile: bool = False
    """Let `torch.compile` make kernels for the networks: a minute or two before the first step, which a GPU gains back.
    """
    share_of_two_things: float = Field(default=0.5, ge=0, le=1)
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the captions that are left empty, so that guidance has something to compare with."""

    whole_pictures_steps: int = Field(default=1000, ge=0)
    """Steps at the end in which the VAE sees whole pictures. Before, it sees windows around the things, in which nearly
    all is that can be lost; a batch of whole pictures is a quarter of `batch_size`, as many pixels as of windows."""
    edge_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """How much the differences between neighbouring pixels count, beside the pixels themselves."""
    kl_weight: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """What keeps the latents small and smooth: the weight of their divergence from normal noise."""

    steps: int = Field(default=10_000, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    warmup_steps: int = Field(default=200, ge=0)
    cooldown_steps: int = Field(default=10_000, ge=0)
    """Steps at the end over which the learning rate falls to zero; all of them by default."""
    cooldown: Literal["linear", "cosine"] = "linear"
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    """How much of the averaged weights (EMA) each step keeps; the average is what is tried out and saved."""

    checkpoint_every_seconds: float = Field(default=300, gt=0)
    log_every_steps: int = Field(default=50, ge=1)
    validation: Validation = Validation()

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingPlan":
        for key in sorted(self.model_fields_set & _MEANT_FOR.keys()):
            if self.part not in _MEANT_FOR[key]:
                raise ValueError(f"`{key}` has no meaning for `part: {self.part}`")
        if self.pictures < self.batch_size:
            raise ValueError(f"`pictures` must be at least one batch: {self.pictures} < {self.batch_size}")
        for key in _FORMS:
            if getattr(self, key) is not None and not self.fresh:
                raise ValueError(f"`{key}` needs `fresh: true`: trained weights have their form already")
        return self

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of step `step` (from 0): a rise, a plain, and a fall to zero at `steps`.

        Where the fall begins is not known before one knows how long one can train: it can be set when going on.
        """
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        left = min(1.0, max(0, self.steps - step) / max(1, self.cooldown_steps))
        if self.cooldown == "cosine":
            from math import cos, pi

            left = (1 - cos(pi * left)) / 2
        return self.learning_rate * rise * left

    def fixed(self) -> dict[str, Any]:
        """What must not change between a checkpoint and the run that goes on from it."""
        names = {"part", "seed", "pictures", "share_of_two_things", "batch_size", "fresh", *_FORMS}
        return self.model_dump(mode="json", include=names)


def read_plan(path: Path) -> TrainingPlan:
    """Read and check a YAML file. Relative paths in it are seen from its own folder.

    Raises:
        InputError: there is no such file, it is not YAML, a key is unknown, or a value is out of range; one line that
            names the key.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise InputError(f"`{path}` is not a YAML file{where}", hint="write one `key: value` a line") from error
    except OSError as error:
        raise InputError(
            f"`{path}` could not be read: {error.strerror}", hint="give the path of a YAML file"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"`{path}` holds no keys", hint="the least is `out: FOLDER`")
    try:
        plan = TrainingPlan.model_validate(values)
    except ValidationError as error:
        raise _unusable(path, error) from error
    return plan.model_copy(update={"out": path.parent / plan.out, "start": path.parent / plan.start})


def _unusable(path: Path, error: ValidationError) -> InputError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = sorted((Validation if len(first["loc"]) > 1 else TrainingPlan).model_fields)
        nearest = UnknownNameError("key", key.rpartition(".")[2], known)
        return InputError(f"`{path}` has an unknown key: `{key}`", hint=nearest.hint)
    reason = first["msg"].removeprefix("Value error, ")
    if not key:
        return InputError(f"`{path}` is not usable: {reason}")
    if first["type"] == "missing":
        return InputError(f"`{path}` lacks `{key}`", hint=f"add `{key}: …`")
    return InputError(f"`{key}` in `{path}` is not usable: {reason} (found `{first['input']}`)")
