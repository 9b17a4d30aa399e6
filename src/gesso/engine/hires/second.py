"""What a second pass needs besides the request: its text, read, and what stands around the networks meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from gesso.components.state import CallState
from gesso.components.steering import Steering
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.edit.start import Start
from gesso.engine.edit.strength import strength_making
from gesso.engine.hires.upscalers import UPSCALERS, larger_latents, larger_picture
from gesso.engine.previews import Preview


@dataclass(frozen=True, kw_only=True)
class SecondPass:
    """The second pass of a picture.

    Attributes:
        arguments: of the pipeline, made of the prompts.
        steering: what stands between the pipeline and its networks.
        states: of the components, from step to step.
    """

    arguments: Mapping[str, Any]
    steering: Mapping[str, Steering]
    states: Callable[[float], Mapping[str, tuple[CallState, ...]]]
    preview: Preview | None


def begins_with_latents(resolved: ResolvedImageRequest) -> bool:
    """Whether the second pass wants the latents of the first, not its picture."""
    return resolved.hires is not None and UPSCALERS[resolved.hires.upscaler].latent_mode is not None


def start_of_second(first: Any, resolved: ResolvedImageRequest, *, flow: bool) -> Start:
    """What the second pass begins with.

    Args:
        first: what the first one made: a picture, or its latents [1, C, h, w].
        resolved: the whole request.
        flow: whether the model is a rectified flow.
    """
    hires = resolved.hires
    assert hires is not None
    strength = strength_making(hires.steps, hires.planned_steps, near=hires.strength, flow=flow)
    upscaler, size_px = UPSCALERS[hires.upscaler], (hires.width, hires.height)
    if isinstance(first, Tensor):
        cell_px = resolved.height // first.shape[-2]
        larger = larger_latents(first, (hires.width // cell_px, hires.height // cell_px), upscaler)
        return Start(image=larger, strength=strength)
    assert isinstance(first, Image.Image)
    return Start(image=larger_picture(first, size_px, upscaler), strength=strength)
