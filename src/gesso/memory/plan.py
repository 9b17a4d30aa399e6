"""Where the networks of a model live: a pure function of their sizes and of the memory at hand. All sizes in bytes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gesso.core.budget import MemoryBudget
from gesso.core.errors import DoesNotFitError


class Residence(StrEnum):
    """Where the weights of a network are between calls."""

    RESIDENT = "resident"
    """On the device."""
    OFFLOADED = "offloaded"
    """On the host; moved in whole when called."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one network needs on the device."""

    name: str
    weight_bytes: int
    activation_bytes: int
    """For one forward, besides the weights."""

    def __post_init__(self) -> None:
        if self.weight_bytes < 0 or self.activation_bytes < 0:
            raise ValueError(f"sizes are 0 or more, found {self}")


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What was decided."""

    residence: Mapping[str, Residence]
    workspace_bytes: int
    """Kept free for the activations of whichever network runs."""
    needed_bytes: int
    """At the peak, with this plan."""

    @property
    def offloads(self) -> bool:
        return Residence.OFFLOADED in self.residence.values()


def plan(footprints: Iterable[Footprint], budget: MemoryBudget) -> MemoryPlan:
    """All networks resident if all fit; else none, and each is moved in when it is called.

    One forward runs at a time, so the workspace is that of the hungriest network. A plan that keeps some resident
    would be faster, and needs to know how often each is called; it is not made here yet.

    Raises:
        DoesNotFitError: the largest network and the workspace do not fit by themselves.
    """
    needs = list(footprints)
    workspace = max((need.activation_bytes for need in needs), default=0)
    together = sum(need.weight_bytes for need in needs) + workspace
    if together <= budget.free_bytes:
        residence = dict.fromkeys((need.name for need in needs), Residence.RESIDENT)
        return MemoryPlan(residence=residence, workspace_bytes=workspace, needed_bytes=together)
    one_by_one = max((need.weight_bytes for need in needs), default=0) + workspace
    if one_by_one > budget.free_bytes:
        raise DoesNotFitError(needed_bytes=one_by_one, free_bytes=budget.free_bytes, device=budget.device)
    residence = dict.fromkeys((need.name for need in needs), Residence.OFFLOADED)
    return MemoryPlan(residence=residence, workspace_bytes=workspace, needed_bytes=one_by_one)


# Values alive at the peak of a forward, for each row, place (latent pixel, token or pixel) and feature of the network's
# full resolution. Counted over live tensors in diffusers 0.42 and transformers 5.23, float32, fused attention, at a
# tenth of the released widths: SD 1 UNet 26.2, SDXL UNet 15.9; SD 3 13.1, Flux 15.8; AutoencoderKL decode 6.0,
# encode 5.2; CLIP with all hidden states 18.0; T5 9.2 plus its attention scores.
_UNET_VALUES = 27.0
_TRANSFORMER_VALUES = 16.0
_VAE_VALUES = 6.1
_TEXT_VALUES = 19.0
_SCORE_VALUES = 1 / 32
"""T5 keeps scores before and after softmax: 2 for each pair of tokens and head of 64 features."""
TEXT_TOKENS = 512
"""The longest text that a first-class family usually reads; transformers carry it beside the picture."""
IMAGE_TOKENS = 257
LIBRARY_BYTES = 64 * 2**20
"""Work space that matrix and convolution libraries take for themselves."""


def activation_estimate(
    role: str,
    *,
    width_px: int,
    height_px: int,
    rows: int,
    channels: int,
    bytes_per_value: int,
    vae_factor: int = 8,
    patch: int = 1,
) -> int:
    """Bytes that one forward needs besides the weights: values x rows x places x channels, from the table above.

    A law, not a measurement: float32 islands in half precision, and convolution algorithms that trade memory for time,
    come on top.

    Args:
        role: a `models.families.Role`: `denoiser`, `vae`, `text`; anything else reads pictures as tokens.
        channels: features at the network's full resolution.
        bytes_per_value: 4 for float32, 2 for the half formats.
        vae_factor: pixels a latent stands for along each side.
        patch: latents that a token of the denoiser stands for along each side; 1 for UNets.
    """
    pixels = width_px * height_px
    match role:
        case "vae":
            places, values = pixels, _VAE_VALUES
        case "denoiser" if patch == 1:
            places, values = pixels / vae_factor**2, _UNET_VALUES
        case "denoiser":
            places, values = pixels / (vae_factor * patch) ** 2 + TEXT_TOKENS, _TRANSFORMER_VALUES
        case "text":
            places, values = TEXT_TOKENS, _TEXT_VALUES + TEXT_TOKENS * _SCORE_VALUES
        case _:
            places, values = IMAGE_TOKENS, _TEXT_VALUES
    return LIBRARY_BYTES + round(values * rows * places * channels * bytes_per_value)
