"""What a training shall do, as its YAML file says it."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gesso.core.errors import InputError, UnknownNameError
from gesso.primer import weights_folder


class Validation(BaseModel):
    """How the model is tried out while it learns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_steps: int = Field(default=2000, ge=1)
    prompts: int = Field(default=80, ge=2)
    """Held-out prompts, half of them with one thing and half with two."""
    pictures: int = Field(default=256, ge=1)
    """Held-out renders, for the loss."""
    seed: int = Field(default=0, ge=0)


class TrainingPlan(BaseModel):
    """All that a training depends on; together with its checkpoint it decides every further step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    out: Path
    """Folder of the checkpoint, the encoded pictures, the log and the model that comes of it."""
    start: Path = Field(default_factory=weights_folder)
    """A `StableDiffusionPipeline` folder. Its tokenizer and its VAE are kept; the rest is where training begins."""
    fresh: bool = False
    """Forget what the UNet and the text encoder of `start` know: begin with random weights of their form."""
    unet_channels: tuple[int, ...] | None = Field(default=None, min_length=2)
    """Widths of the UNet's levels, if not those of `start`; for fresh weights only."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)

    pictures: int = Field(default=30_000, ge=1)
    """Distinct pictures, rendered and encoded once, then seen again and again."""
    share_of_two_things: float = Field(default=0.5, ge=0, le=1)
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the captions that are left empty, so that guidance has something to compare with."""

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
        if self.pictures < self.batch_size:
            raise ValueError(f"`pictures` must be at least one batch: {self.pictures} < {self.batch_size}")
        if self.unet_channels is not None and not self.fresh:
            raise ValueError("`unet_channels` needs `fresh: true`: trained weights have their form already")
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
        names = ("seed", "pictures", "share_of_two_things", "batch_size", "fresh", "unet_channels")
        return self.model_dump(mode="json", include=set(names))


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
