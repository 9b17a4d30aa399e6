"""What was asked and what was decided: two types, both frozen.

`ImageRequest` is what a person or a program asks for; every field but the prompt may be left open.
`ResolvedImageRequest` is what will be done; nothing in it is open. A resolved request, the weights and the code
determine the pixels; the delivery fields (`priority`, `owner`, `output_format`) do not.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_PROMPT_CHARACTERS = 20_000
MAX_SEED = 2**32 - 1
"""Seeds fit 32 bits, as in every other studio, so that a seed can be carried over."""

ArgumentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Precision(StrEnum):
    """The number format in which the networks compute."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class OutputFormat(StrEnum):
    """The container of a saved picture."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"


class Value(BaseModel):
    """Base of what is stored or sent: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImageRequest(Value):
    """What was asked. A field that is `None` is decided by the model, the machine and the settings."""

    prompt: str = ""
    negative_prompt: str | None = None
    model: str | None = None
    """A name that `gesso models list` shows, a folder, or a hub id that is already on this machine."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    """Pixels."""
    steps: int | None = None
    sampler: str | None = None
    """A name or alias that `gesso samplers` shows; `None` is the scheduler that the model came with."""
    schedule: str | None = None
    guidance: float | None = None
    """Classifier-free guidance scale w in `uncond + w (cond - uncond)`; 1 is none (Ho & Salimans 2022)."""
    guidance_rescale: float | None = None
    """φ of Lin et al. 2023, section 3.4; 0 is none."""
    seed: int | None = None
    """Picture `i` of the request is made from `seed + i`."""
    count: int = 1
    clip_skip: int | None = None
    """1 is the layer that the family normally reads, 2 the layer before it."""
    device: str | None = None
    precision: Precision | None = None
    exact: bool | None = None
    """Bytes that do not depend on what else runs at the time (fixed batch shapes; slower)."""
    arguments: dict[ArgumentName, Any] = Field(default_factory=dict)
    """Further arguments of the pipeline's own `__call__`; one that it does not take is refused."""
    output_format: OutputFormat | None = None
    priority: int = 0
    """Higher goes first, at the next step of what runs. -100 to 100."""
    owner: str = "local"
    deadline_seconds: float | None = None
    """Give up this long after the request was accepted."""


class ResolvedImageRequest(Value):
    """What was decided. Made by `gesso.engine.resolve` as a pure function of request, model facts and settings."""

    prompt: str
    negative_prompt: str
    model: str
    family: str
    """Name of the first-class family, or `other`."""
    pipeline: str
    """Class name of the diffusers pipeline."""
    width: int
    height: int
    steps: int
    sampler: str
    """Canonical name in the table of samplers, or `default` for the model's own scheduler."""
    schedule: str
    guidance: float
    guidance_rescale: float
    seed: int
    count: int
    clip_skip: int
    device: str
    precision: Precision
    vae_precision: Precision
    """Differs from `precision` where the VAE would overflow."""
    exact: bool
    arguments: dict[ArgumentName, Any]
    output_format: OutputFormat
    priority: int
    owner: str

    def for_image(self, index: int) -> "ResolvedImageRequest":
        """The request that makes only picture `index` of this one."""
        return self.model_copy(update={"seed": (self.seed + index) % (MAX_SEED + 1), "count": 1})


DELIVERY_FIELDS = frozenset({"priority", "owner", "output_format", "deadline_seconds"})
"""Fields of a request that do not determine pixels."""
