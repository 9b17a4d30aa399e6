"""What a picture begins with besides noise."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gesso.core.requests import Fill, ImageRequest, ResolvedImageRequest
from gesso.engine.edit.canvas import Canvas, canvas_of
from gesso.engine.edit.colours import with_colours_of
from gesso.engine.edit.keeper import LatentKeeper
from gesso.engine.edit.source import picture_given, read_mask, read_source
from gesso.engine.edit.strength import steps_made
from gesso.engine.facts import ModelFacts
from gesso.models.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Start:
    """A picture that the pipeline begins with, and how much of it may change.

    Attributes:
        image: RGB of the size of the request; or latents as the pipeline itself has them [1, C, H/8, W/8], as another
            pass of the same model left them.
        strength: share of the steps that is made.
        mask: L, of the size of the request: white may change; `None`: all of it.
        gray: its gray is how much.
        fill: what lies under it at the beginning.
        canvas: what the result is put into; `None`: it is the picture itself.
        warnings: what could not be read of the pictures.
    """

    image: Image.Image | Tensor
    strength: float
    task: Task = Task.IMAGE_TO_IMAGE
    mask: Image.Image | None = None
    gray: bool = False
    fill: Fill = Fill.ORIGINAL
    canvas: Canvas | None = None
    color_correction: bool = False
    warnings: tuple[str, ...] = ()

    def keeper(self) -> LatentKeeper | None:
        """What keeps the latents outside the mask during one picture; networks that read the mask do so themselves."""
        if self.mask is None or self.task is Task.INPAINT:
            return None
        mask = torch.from_numpy(np.asarray(self.mask, np.float32) / np.float32(255))
        return LatentKeeper(mask, gray=self.gray, fill=self.fill)

    def finished(self, painted: Image.Image, resolved: ResolvedImageRequest, facts: ModelFacts) -> Image.Image:
        """The result, of what the pipeline made."""
        if self.color_correction and isinstance(self.image, Image.Image):
            painted = with_colours_of(self.image, painted)
        if self.canvas is None:
            return painted
        return self.canvas.finished(painted, steps=steps_made(resolved.steps, self.strength, flow=facts.flow))


def start_of(asked: ImageRequest, resolved: ResolvedImageRequest, facts: ModelFacts) -> Start | None:
    """What all pictures of a request begin with; `None` where that is noise alone.

    Args:
        asked: has the pictures themselves where they came with the request.
        facts: of the model.

    Raises:
        InputError: a picture is not there any more, or was changed since.
    """
    if resolved.image is None:
        return None
    read = read_source(picture_given(asked.image, resolved.image))
    mask, fill = None, Fill.ORIGINAL
    if resolved.inpaint is not None:
        given = picture_given(asked.inpaint.mask if asked.inpaint else None, resolved.inpaint.mask)
        mask, fill = read_mask(given).image, resolved.inpaint.fill
    if resolved.outpaint is not None:
        fill = resolved.outpaint.fill
    canvas = canvas_of(read.image, mask, resolved, multiple_px=facts.size_multiple_px)
    return Start(
        image=canvas.seen(fill),
        strength=resolved.strength,
        task=next(task for task, name in facts.tasks.items() if name == resolved.pipeline),
        mask=canvas.seen_mask(),
        gray=canvas.gray,
        fill=fill,
        canvas=canvas if canvas.mask is not None else None,
        color_correction=resolved.color_correction,
        warnings=read.warnings,
    )
