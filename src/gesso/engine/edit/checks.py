"""Which requests that begin with a picture make sense, and what is decided of them."""

import math
from dataclasses import dataclass
from typing import Any

from gesso.core.errors import InputError
from gesso.core.requests import MAX_SIDE_PX, Fill, ImageRequest, Inpaint, Outpaint, Resize, ResolvedInpaint
from gesso.core.units import nearest_multiple
from gesso.engine.edit.canvas import painted_over
from gesso.engine.edit.source import SourcePicture, read_mask, read_source
from gesso.engine.edit.strength import steps_made
from gesso.engine.facts import ModelFacts, facts_for
from gesso.models.tasks import Task

MAX_BLUR_PX = 256
MAX_PADDING_PX = 4096
USUAL_PADDING_PX = Inpaint.model_fields["padding"].default
_USUAL_STRENGTH = 0.75
_USUAL_STRENGTH_UNDER_MASK = 1.0


@dataclass(frozen=True, kw_only=True)
class GivenPictures:
    """The pictures of a request, read."""

    source: SourcePicture
    mask: SourcePicture | None


def read_pictures(request: ImageRequest) -> GivenPictures | None:
    """The pictures that a request begins with; `None` if that is noise alone.

    Raises:
        InputError: one of them cannot be used, or the mask is not of the size of the picture or lets nothing change.
    """
    if request.image is None:
        return None
    source = read_source(request.image)
    mask = None if request.inpaint is None else read_mask(request.inpaint.mask)
    if mask is not None and mask.size != source.size:
        found, wanted = (f"{width}x{height}" for width, height in (mask.size, source.size))
        raise InputError(
            f"The mask is {found} px, the picture {wanted}", hint=f"draw it on the picture: white changes, {wanted} px"
        )
    if request.inpaint is not None and mask is not None and 0 <= request.inpaint.blur <= MAX_BLUR_PX:
        painted_over(mask.image, request.inpaint)
    return GivenPictures(source=source, mask=mask)


def facts_of_task(request: ImageRequest, facts: ModelFacts) -> ModelFacts:
    """The facts of the pipeline that does what is asked.

    Raises:
        InputError: the model cannot do it, or something of it has no effect.
    """
    masked = request.inpaint is not None or request.outpaint is not None
    if request.image is None:
        _check_no_picture(request)
        if facts.only is not None:
            masks = " and a mask" if facts.only is Task.INPAINT else ""
            raise InputError(
                f"`{facts.name}` ({facts.pipeline}) changes pictures: give it one{masks}",
                hint=f"`gesso {'inpaint' if masks else 'edit'} IMAGE PROMPT`, or `image` of the request",
            )
        return facts
    tasks = facts.tasks
    if masked:
        if Task.INPAINT not in tasks and Task.IMAGE_TO_IMAGE not in tasks and Task.EDIT in tasks:
            raise InputError(
                f"`{facts.name}` ({tasks[Task.EDIT]}) edits whole pictures as an instruction says, and takes no mask",
                hint="say in the prompt what shall change, or choose a model that is no edit model",
            )
        return facts_for(facts, Task.INPAINT if Task.INPAINT in tasks else Task.IMAGE_TO_IMAGE)
    if facts.only is Task.INPAINT:
        raise InputError(
            f"`{facts.name}` ({facts.pipeline}) paints under a mask, and there is none", hint="add `inpaint`, `--mask`"
        )
    return facts_for(
        facts, Task.EDIT if Task.IMAGE_TO_IMAGE not in tasks and Task.EDIT in tasks else Task.IMAGE_TO_IMAGE
    )


def _check_no_picture(request: ImageRequest) -> None:
    idle: dict[str, tuple[Any, Any]] = {
        "strength": (request.strength, 1.0),
        "resize": (request.resize, Resize.CROP),
        "inpaint": (request.inpaint, None),
        "outpaint": (request.outpaint, None),
        "color_correction": (request.color_correction, False),
    }
    for name, (value, usual) in idle.items():
        if value not in (None, usual):  # a resolved request that is run again says what is usual
            raise InputError(f"`{name}` has no effect without a picture to begin with", hint="add `image`, `--image`")


def check_edit(request: ImageRequest, facts: ModelFacts, steps: int) -> float:
    """Refuse what makes no sense of what begins with a picture, and give its strength.

    Args:
        facts: of the task, see `facts_of_task`.
    """
    if request.image is None:
        return 1.0
    masked = request.inpaint is not None or request.outpaint is not None
    if masked and request.hires is not None:
        raise InputError(
            "A second pass changes every byte of a picture, and a mask keeps some",
            hint="leave one out; `--only-masked` paints a part at a larger size",
        )
    if request.tiling is not None and _paints_a_part(request):
        raise InputError(
            "Edges that fit are those of a whole picture, and only a part of this one is painted",
            hint="leave `tiling`, `--tiling` out",
        )
    if request.inpaint is not None:
        _check_inpaint(request, facts)
    if request.outpaint is not None:
        _check_outpaint(request, request.outpaint)
    _check_fill(request, facts)
    _check_resize(request)
    if "strength" not in facts.accepts:
        if request.strength not in (None, 1.0):
            raise InputError(
                f"`{facts.name}` ({facts.pipeline}) reads the picture whole and takes no strength", hint="leave it out"
            )
        return 1.0
    usual = _USUAL_STRENGTH_UNDER_MASK if masked else _USUAL_STRENGTH
    strength = usual if request.strength is None else request.strength
    if not steps_made(steps, strength, flow=facts.flow):
        raise InputError(
            f"Strength {strength:g} of {steps} steps is less than one step",
            hint=f"use {math.ceil(1 / strength)} steps or more, or a greater strength",
        )
    return strength


def _paints_a_part(request: ImageRequest) -> bool:
    """Whether what is painted is put into a picture that keeps its size and shape."""
    return request.outpaint is not None or (request.inpaint is not None and request.inpaint.only_masked)


def _check_inpaint(request: ImageRequest, facts: ModelFacts) -> None:
    inpaint = request.inpaint
    assert inpaint is not None
    if request.outpaint is not None:
        raise InputError(
            "Asked to inpaint and to outpaint at once", hint="do one of them, then the other on its result"
        )
    for name, value, most in (("mask blur", inpaint.blur, MAX_BLUR_PX), ("padding", inpaint.padding, MAX_PADDING_PX)):
        if not 0 <= value <= most:
            raise InputError(f"Asked for a {name} of {value:g} px", hint=f"{name} is 0 to {most}")
    if not inpaint.only_masked and inpaint.padding not in (0, USUAL_PADDING_PX):  # 0: none is seen, as is so
        raise InputError(
            f"A padding of {inpaint.padding} px is around what is masked, and the whole picture is painted",
            hint="add `only_masked`, `--only-masked`, or leave it out",
        )
    if inpaint.soft and facts.only is Task.INPAINT:
        raise InputError(
            f"`{facts.name}` reads the mask itself, as black and white: a soft one has no effect",
            hint="leave `soft` out, or use a model that is not made for inpainting",
        )


def _check_resize(request: ImageRequest) -> None:
    """What a resolved request says of a picture that is not resized is `crop`."""
    if request.resize in (None, Resize.CROP):
        return
    if _paints_a_part(request):
        done = "outpainted" if request.outpaint is not None else "painted under the mask only"
        raise InputError(
            f"Asked to {request.resize.value} a picture that is {done}: it keeps its size and shape",
            hint="leave `resize`, `--resize` out",
        )


def _check_fill(request: ImageRequest, facts: ModelFacts) -> None:
    """Networks that read the mask are given the picture under it, whose latents are then their own affair."""
    area = request.inpaint or request.outpaint
    if area is not None and facts.only is Task.INPAINT and area.fill in (Fill.NOISE, Fill.ZERO):
        raise InputError(
            f"`{facts.name}` reads picture and mask itself: to fill it with `{area.fill.value}` has no effect",
            hint=f"use `{Fill.ORIGINAL.value}` or `{Fill.BLUR.value}`, or a model that is not made for inpainting",
        )


def _check_outpaint(request: ImageRequest, outpaint: Outpaint) -> None:
    sides = {name: getattr(outpaint, name) for name in ("left", "right", "up", "down")}
    for name, value in sides.items():
        if not 0 <= value <= MAX_SIDE_PX:
            raise InputError(f"Asked for {value} px {name}", hint=f"0 to {MAX_SIDE_PX} px are added to a side")
    if not any(sides.values()):
        raise InputError("Asked to outpaint by nothing", hint="say how many pixels `left`, `right`, `up` or `down`")


def usual_size(request: ImageRequest, facts: ModelFacts, given: GivenPictures | None) -> tuple[int, int]:
    """The size of the picture, or its proportions where one side is asked for, in multiples that the model makes."""
    if given is None or (request.inpaint is not None and request.inpaint.only_masked):
        return facts.default_size_px
    width, height = given.source.size
    if (added := request.outpaint) is not None:
        width, height = width + added.left + added.right, height + added.up + added.down
    scale = 1.0
    multiple = facts.size_multiple_px
    if added is not None:
        usual = nearest_multiple(width, multiple), nearest_multiple(height, multiple)
        if (request.width or usual[0], request.height or usual[1]) != usual:
            raise InputError(
                "A size and an outpaint were asked for: the size is that of the picture and what is added",
                hint="leave the size out",
            )
    if request.width is not None and request.height is None:
        scale = request.width / width
    elif request.height is not None and request.width is None:
        scale = request.height / height
    return nearest_multiple(width * scale, multiple), nearest_multiple(height * scale, multiple)


def decided(request: ImageRequest, given: GivenPictures | None) -> dict[str, Any]:
    """The fields of a resolved request that say what it begins with."""
    if given is None:
        return {}
    inpaint = None
    if request.inpaint is not None and given.mask is not None:
        inpaint = ResolvedInpaint.model_validate(dict(request.inpaint) | {"mask": given.mask.resolved})
    return {
        "image": given.source.resolved,
        "resize": request.resize or Resize.CROP,
        "inpaint": inpaint,
        "outpaint": request.outpaint,
        "color_correction": request.color_correction,
    }
