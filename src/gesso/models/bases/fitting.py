"""What suits a base: sizes of pictures, guidance, sizes to train at, adapters."""

from math import ceil, floor, sqrt

from gesso.core.errors import InputError
from gesso.core.units import nearest_multiple
from gesso.models.bases.base import Base, TrainingSizes
from gesso.models.bases.registry import BASES
from gesso.models.recognition.kinds import Kind, Recognition

LEAST_SHARE, MOST_SHARE = 0.6, 1.8
"""Of the native pixels: outside, most bases repeat themselves or lose the whole."""
_FITTED = frozenset(
    {
        *(Kind.LORA, Kind.TEXTUAL_INVERSION, Kind.HYPERNETWORK),
        *(Kind.CONTROLNET, Kind.T2I_ADAPTER, Kind.IP_ADAPTER, Kind.MOTION_MODULE),
    }
)


def unusual_size(base: Base, width: int, height: int) -> str | None:
    """What to tell of a picture of a size that the base was not trained for; `None` for one that it was."""
    if (width, height) in base.native_sizes:
        return None
    native = base.native_px**2
    least, most = base.usual_pixels or (LEAST_SHARE * native, MOST_SHARE * native)
    if least <= width * height <= most:
        return None
    return (
        f"{width}x{height} px is unusual for {base.title}, which was trained at {base.native_px}x{base.native_px}: "
        f"{_of_shape(base, width, height)} has that shape"
    )


def burning_guidance(base: Base, guidance: float) -> str | None:
    """What to tell of a guidance that a distilled base was not made for."""
    if base.burns_above is None or guidance <= base.burns_above:
        return None
    usual = f"{base.defaults.guidance:g}" if base.defaults else f"at most {base.burns_above:g}"
    return f"Guidance {guidance:g} burns pictures of {base.title}, which is distilled: {usual} is usual"


def check_training_size(base: Base, width: int, height: int) -> None:
    """Refuse a size that the base cannot be trained at.

    Raises:
        InputError: the hint names the nearest size that it can.
    """
    training = base.training
    if training is None:
        return
    multiple = training.multiple_px
    if training.least_px**2 <= width * height <= training.most_px**2 and not (width % multiple or height % multiple):
        return
    raise InputError(
        f"{base.title} cannot be trained at {width}x{height} px: it takes {training.least_px}x{training.least_px} to "
        f"{training.most_px}x{training.most_px}, in multiples of {multiple}",
        hint="nearest: {}x{}".format(*_nearest(training, width, height)),
    )


def check_adapter(adapter: Recognition, *, name: str, model: str, family: str, variant: str | None = None) -> None:
    """Refuse an adapter or ControlNet that was made for another family than that of a model.

    A family that was only guessed refuses nothing.

    Args:
        variant: of the model's family, if it is known.

    Raises:
        InputError: the hint names bases that it does fit.
    """
    made_for = adapter.family
    if adapter.kind.value not in _FITTED or made_for is None or made_for.guess or not adapter.families:
        return
    asked = adapter.variant.value if adapter.variant else None
    if family in adapter.families and (None in (asked, variant) or asked == variant):
        return
    raise InputError(
        f"The {adapter.kind.value} `{name}` is made for {_told(made_for.value, asked)}, "
        f"`{model}` is {_told(family, variant)}",
        hint=_fitting(adapter.families, asked),
    )


def _told(family: str, variant: str | None) -> str:
    return f"{family}, {variant}" if variant else family


def _nearest(training: TrainingSizes, width: int, height: int) -> tuple[int, int]:
    """A size of about that shape that can be trained at."""
    side = sqrt(max(width, 1) * max(height, 1))
    scale = min(max(side, training.least_px), training.most_px) / side
    down, near, up = (
        tuple(max(1, step(length * scale / training.multiple_px)) * training.multiple_px for length in (width, height))
        for step in (floor, round, ceil)
    )
    for found_width, found_height in (near, down, up):
        if training.least_px**2 <= found_width * found_height <= training.most_px**2:
            return found_width, found_height
    return training.most_px, training.most_px  # no such shape, however it is rounded


def _fitting(families: tuple[str, ...], variant: str | None) -> str:
    names = [
        base.name
        for base in BASES
        if base.family in families and (None in (variant, base.variant) or variant == base.variant)
    ]
    if not names:
        return "no base that is known fits it"
    return f"it fits {', '.join(names)}, and models made from them"


def _of_shape(base: Base, width: int, height: int) -> str:
    """A size of the native area and about that shape, in multiples of 64 px as most are trained in."""
    scale = base.native_px / sqrt(width * height)
    return f"{nearest_multiple(width * scale, 64)}x{nearest_multiple(height * scale, 64)}"
