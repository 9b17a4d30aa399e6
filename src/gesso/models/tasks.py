"""What a pipeline makes of what, and which class of diffusers does it for the networks of a text-to-image class.

The pairs of the well-known classes stand here, so that asking is cheap; a test holds them to diffusers' own mappings,
which are asked for all others.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from types import MappingProxyType


class Task(StrEnum):
    """What a pipeline makes of what."""

    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_TO_IMAGE = "image-to-image"
    """A picture, noised as far as the strength says, and a prompt."""
    INPAINT = "inpaint"
    """A picture, a mask and a prompt, by networks that were made for it and read both."""
    EDIT = "edit"
    """A picture and an instruction: the picture is read, not noised."""


def _pair(name: str) -> Mapping[Task, str]:
    return {Task.IMAGE_TO_IMAGE: f"{name}Img2ImgPipeline", Task.INPAINT: f"{name}InpaintPipeline"}


_KNOWN: Mapping[str, Mapping[Task, str]] = MappingProxyType(
    {
        **{
            f"{name}Pipeline": _pair(name)
            for name in (*("StableDiffusion", "StableDiffusionXL", "StableDiffusion3", "Flux", "QwenImage", "ZImage"),)
        },
        "LatentConsistencyModelPipeline": {Task.IMAGE_TO_IMAGE: "LatentConsistencyModelImg2ImgPipeline"},
        "Flux2Pipeline": {Task.EDIT: "Flux2Pipeline"},
        "Flux2KleinPipeline": {Task.EDIT: "Flux2KleinPipeline"},
    }
)
"""Text-to-image class → the class of each further task."""

INSTRUCTED = frozenset(
    {
        *("StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline"),
        *("FluxKontextPipeline", "Flux2Pipeline", "Flux2KleinPipeline"),
        *("QwenImageEditPipeline", "QwenImageEditPlusPipeline"),
    }
)
"""Classes that take a picture and an instruction; those of Flux.2 make pictures of text alone, too."""


MASK_CHANNELS, INSTRUCTION_CHANNELS = 9, 8
"""Channels that a UNet of Stable Diffusion reads, besides 4: latents, mask and masked latents; latents twice."""
_INSTRUCTED_UNETS = MappingProxyType(
    {
        "StableDiffusionPipeline": "StableDiffusionInstructPix2PixPipeline",
        "StableDiffusionXLPipeline": "StableDiffusionXLInstructPix2PixPipeline",
    }
)


def text_class(pipeline: str) -> str:
    """The text-to-image class of the same kind of networks, of a class that inpaints or reads 8 channels; any other as
    it is.
    """
    inpaints = ((text, others.get(Task.INPAINT)) for text, others in _KNOWN.items())
    return next((text for text, name in (*inpaints, *_INSTRUCTED_UNETS.items()) if name == pipeline), pipeline)


def only_task(pipeline: str, channels: int | None) -> tuple[Task, str] | None:
    """The one thing that networks do which cannot begin with text alone, and the class that does it.

    Args:
        pipeline: class name that their folder says.
        channels: that their UNet reads; `None` where there is none.
    """
    text = text_class(pipeline)
    if pipeline == "FluxFillPipeline":  # reads mask and picture beside the latents, and has no other class
        return Task.INPAINT, pipeline
    if channels == MASK_CHANNELS and Task.INPAINT in _KNOWN.get(text, {}):
        return Task.INPAINT, _KNOWN[text][Task.INPAINT]
    if channels == INSTRUCTION_CHANNELS and text in _INSTRUCTED_UNETS:
        return Task.EDIT, _INSTRUCTED_UNETS[text]
    return (Task.EDIT, pipeline) if pipeline in INSTRUCTED and pipeline not in _KNOWN else None


def tasks_of(pipeline: str, channels: int | None) -> Mapping[Task, str]:
    """All that networks do, and the class that does it; see `only_task`."""
    only = only_task(pipeline, channels)
    if only is not None:
        return {only[0]: only[1]}
    return {task: name for task, name in pipelines_for(text_class(pipeline)).items() if task is not Task.INPAINT}


@cache
def pipelines_for(pipeline: str) -> Mapping[Task, str]:
    """The classes that diffusers has for the networks of `pipeline`, by what they do.

    Args:
        pipeline: class name of a text-to-image pipeline.
    """
    known = _KNOWN.get(pipeline)
    return {Task.TEXT_TO_IMAGE: pipeline, **(_asked(pipeline) if known is None else known)}


def _asked(pipeline: str) -> Mapping[Task, str]:
    """What diffusers says, whose answer costs the import of every pipeline there is."""
    from diffusers.pipelines import auto_pipeline as tasks

    key = next(
        (key for key, kind in tasks.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.items() if kind.__name__ == pipeline), None
    )
    mappings = {
        Task.IMAGE_TO_IMAGE: tasks.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        Task.INPAINT: tasks.AUTO_INPAINT_PIPELINES_MAPPING,
    }
    found = {task: mapping[key].__name__ for task, mapping in mappings.items() if key in mapping}
    return {Task.EDIT if name in INSTRUCTED else task: name for task, name in found.items()}
