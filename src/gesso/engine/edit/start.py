"""What a picture begins with besides noise."""

from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from gesso.core.requests import ImageRequest, ResolvedImageRequest
from gesso.engine.edit.fit import fitted
from gesso.engine.edit.source import picture_given, read_source
from gesso.models.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Start:
    """A picture that the pipeline begins with, and how much of it may change.

    Attributes:
        image: RGB of the size of the request; or latents as the pipeline itself has them [1, C, H/8, W/8], as another
            pass of the same model left them.
        strength: share of the steps that is made.
    """

    image: Image.Image | Tensor
    strength: float
    task: Task = Task.IMAGE_TO_IMAGE


def start_of(asked: ImageRequest, resolved: ResolvedImageRequest) -> Start | None:
    """What all pictures of a request begin with; `None` where that is noise alone.

    Args:
        asked: has the picture itself where it came with the request.

    Raises:
        InputError: the picture is not there any more, or was changed since.
    """
    if resolved.image is None:
        return None
    source = read_source(picture_given(asked.image, resolved.image))
    image = fitted(source.image, (resolved.width, resolved.height), resolved.resize)
    return Start(image=image, strength=resolved.strength)
