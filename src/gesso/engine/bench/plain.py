"""The alternative that everything is measured against: the pipeline of diffusers as anybody would call it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from gesso.core.requests import ResolvedImageRequest, ResolvedPicture
from gesso.engine.arguments import fitted_arguments
from gesso.engine.facts import ModelFacts, argument_kinds, facts_of, pipeline_class
from gesso.engine.hosted_model import DTYPES
from gesso.engine.samplers.scheduler import build
from gesso.models.folder import ModelDescription
from gesso.models.load import load
from gesso.models.tasks import Task, pipelines_for


class PlainModel:
    """The networks of a model, not hosted, and pipelines made of them. Used by one thread at a time.

    Args:
        resolved: any request for it; says on which device and in which precision.
    """

    def __init__(self, description: ModelDescription, resolved: ResolvedImageRequest) -> None:
        vae, others = DTYPES[resolved.vae_precision], DTYPES[resolved.precision]
        self.facts = facts_of(description)
        self._loaded = load(
            description,
            dtypes={name: vae if name == "vae" else others for name in description.components},
            device=resolved.device,
        )
        self.modules: Mapping[str, torch.nn.Module] = {
            name: module.to(resolved.device) for name, module in self._loaded.modules.items()
        }

    @property
    def path(self) -> Path:
        return self._loaded.description.path

    def pipeline(self, resolved: ResolvedImageRequest, generator: torch.Generator) -> Any:
        """A pipeline with the scheduler that a request asks for; under a mask, that of diffusers for inpainting."""
        loaded = self._loaded
        parts = {**self.modules, **loaded.others, **loaded.init_options}
        if loaded.scheduler_class is not None:
            parts["scheduler"] = scheduler_of(
                resolved, loaded.scheduler_class, loaded.scheduler_config, generator=generator
            )
        pipeline_of = loaded.pipeline_class
        if resolved.image is not None:
            task = Task.IMAGE_TO_IMAGE if resolved.inpaint is None else Task.INPAINT
            pipeline_of = pipeline_class(pipelines_for(pipeline_of.__name__)[task])
        pipeline: Any = pipeline_of(**parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def make(self, requests: Sequence[ResolvedImageRequest]) -> list[Image.Image]:
        """The pictures of requests that agree in all but prompts and seeds, as one run of the pipeline."""
        generators = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
        return pictures(self.pipeline(requests[0], generators[0]), requests, generators, self.facts)


def scheduler_of(
    resolved: ResolvedImageRequest, scheduler_class: type, config: Mapping[str, Any], *, generator: torch.Generator
) -> Any:
    """The scheduler of a request, so that both sides sample alike and their pictures can be compared."""
    return build(
        resolved.sampler,
        resolved.schedule,
        scheduler_class=scheduler_class,
        scheduler_config=config,
        generator=generator,
    )


def pictures(
    pipeline: Any, requests: Sequence[ResolvedImageRequest], generators: Sequence[torch.Generator], facts: ModelFacts
) -> list[Image.Image]:
    """Call a pipeline with the texts themselves, as anybody would. Computes on the calling thread."""
    first = requests[0]
    alone = len(requests) == 1
    given: dict[str, Any] = {
        "prompt": first.prompt if alone else [request.prompt for request in requests],
        "width": first.width,
        "height": first.height,
        "num_inference_steps": first.steps,
        facts.guidance_argument: first.guidance,
        "generator": generators[0] if alone else list(generators),
        "output_type": "pil",
    }
    if any(request.negative_prompt for request in requests):
        negative = [request.negative_prompt for request in requests]
        given["negative_prompt"] = negative[0] if alone else negative
    if first.guidance_rescale:
        given["guidance_rescale"] = first.guidance_rescale
    if first.image is not None:
        images = [_opened(request.image, "RGB") for request in requests]
        given |= {"image": images[0] if alone else images, "strength": first.strength}
    if first.inpaint is not None:
        masks = [_opened(request.inpaint and request.inpaint.mask, "L") for request in requests]
        given["mask_image"] = masks[0] if alone else masks
    accepts = argument_kinds(type(pipeline).__name__)
    given = {name: value for name, value in given.items() if name in accepts}
    with torch.no_grad():
        return list(pipeline(**given, **fitted_arguments(first.arguments, facts)).images)


def _opened(picture: ResolvedPicture | None, mode: str) -> Image.Image:
    assert picture is not None
    with Image.open(picture.source) as opened:
        return opened.convert(mode)
