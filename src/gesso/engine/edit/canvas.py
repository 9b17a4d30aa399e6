"""The picture that is painted on: which part of it the networks see, where they may paint, and how it is put back."""

from dataclasses import dataclass
from typing import cast

from PIL import Image, ImageChops, ImageFilter

from gesso.core.errors import InputError
from gesso.core.requests import Fill, Inpaint, ResolvedImageRequest, ResolvedInpaint
from gesso.core.units import nearest_multiple
from gesso.engine.edit.fit import extended, fitted

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two not included."""

_HALF = 128
_BLURS_PX = (256, 64, 16, 8, 4, 2, 1)


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """A picture and what may happen to it.

    Attributes:
        picture: RGB; what the result is where nothing is painted.
        mask: L, of the same size: how far each pixel may be painted over; `None`: all of it, wholly.
        region: what the networks see of it.
        size: width, height at which they see it.
        gray: the gray of the mask is how much may change, not how much of the paint covers.
        keep_outside: nothing is painted outside of the mask.
    """

    picture: Image.Image
    mask: Image.Image | None
    region: Box
    size: tuple[int, int]
    gray: bool = False
    keep_outside: bool = True

    def seen(self, fill: Fill) -> Image.Image:
        """What the networks see."""
        picture = self.picture
        if self.mask is not None and fill is Fill.BLUR:
            picture = blurred_under(picture, self.mask)
        return _scaled(picture.crop(self.region), self.size)

    def seen_mask(self) -> Image.Image | None:
        """How far each pixel that they see may change."""
        return None if self.mask is None else _scaled(self.mask.crop(self.region), self.size)

    def finished(self, painted: Image.Image, *, steps: int) -> Image.Image:
        """The picture with `painted` (of `size`) in its place.

        Args:
            steps: that were made; of a gray mask, what may change for less than one of them is blended.
        """
        left, top, right, bottom = self.region
        paint = _scaled(painted.convert("RGB"), (right - left, bottom - top))
        if self.mask is None or not self.keep_outside:
            covers = Image.new("L", paint.size, 255)
        else:
            covers = self.mask.crop(self.region)
            if self.gray:
                covers = covers.point([min(255, value * steps) for value in range(256)])
        result = self.picture.copy()
        result.paste(paint, (left, top), covers)
        return result


def canvas_of(
    source: Image.Image, mask: Image.Image | None, resolved: ResolvedImageRequest, *, multiple_px: int
) -> Canvas:
    """The canvas of a resolved request.

    Args:
        source: its picture, RGB.
        mask: of the size of the picture, RGB, as it was given.
        multiple_px: of which the model makes sides.

    Raises:
        InputError: the mask lets nothing change.
    """
    size = resolved.width, resolved.height
    if resolved.outpaint is not None:
        asked = resolved.outpaint
        sides = {"left": asked.left, "top": asked.up, "right": asked.right, "bottom": asked.down}
        picture = extended(source, **sides)
        new = Image.new("L", picture.size, 255)
        new.paste(0, (asked.left, asked.up, asked.left + source.width, asked.up + source.height))
        return Canvas(picture=picture, mask=new, region=(0, 0, *picture.size), size=size)
    asked = resolved.inpaint
    if asked is None:
        return Canvas(picture=fitted(source, size, resolved.resize), mask=None, region=(0, 0, *size), size=size)
    assert mask is not None
    picture = source
    rounded = tuple(nearest_multiple(side, multiple_px) for side in source.size)
    if not asked.only_masked and size != rounded:  # else it keeps its own size, which the model cannot make
        picture, mask = (fitted(image, size, resolved.resize) for image in (source, mask))
    white = painted_over(mask, asked)
    box = white.getbbox()
    assert box is not None
    region = around(box, asked.padding, picture.size, size) if asked.only_masked else (0, 0, *picture.size)
    return Canvas(
        picture=picture, mask=white, region=region, size=size, gray=asked.soft, keep_outside=asked.keep_outside
    )


def painted_over(mask: Image.Image, asked: Inpaint | ResolvedInpaint) -> Image.Image:
    """L: how far each pixel may be painted over.

    Raises:
        InputError: none may.
    """
    white = mask.convert("L")
    white = ImageChops.invert(white) if asked.invert else white
    lightest = cast(int, white.getextrema()[1])
    covers = white if asked.soft else white.point([255 * (value >= _HALF) for value in range(256)])
    if asked.blur:
        covers = covers.filter(ImageFilter.GaussianBlur(asked.blur))
    if covers.getbbox() is None:
        raise _nothing(lightest, asked)
    return covers


def _nothing(lightest: int, asked: Inpaint | ResolvedInpaint) -> InputError:
    """Why a mask lets nothing change, whose lightest value is that where it is painted over."""
    if not lightest:
        found, other = (
            ("white", "leave `--invert-mask` out") if asked.invert else ("black", "`--invert-mask` turns it round")
        )
        reason, hint = f"it is {found} everywhere", f"{'black' if asked.invert else 'white'} changes; {other}"
    elif lightest < _HALF and not asked.soft:
        reason, hint = "nothing of it is lighter than half", "`--soft-mask` takes its gray for how much may change"
    else:
        reason, hint = f"a blur of {asked.blur:g} px leaves nothing of it", "use less blur, or a larger mask"
    return InputError(f"The mask lets nothing change: {reason}", hint=hint)


def around(box: Box, padding: int, whole: tuple[int, int], wanted: tuple[int, int]) -> Box:
    """`box` and `padding` pixels around it, widened to the proportions of `wanted` as far as the picture goes."""
    spans: list[tuple[int, int]] = []
    for axis in (0, 1):
        spans.append((max(box[axis] - padding, 0), min(box[axis + 2] + padding, whole[axis])))
    scale = max((end - start) / side for (start, end), side in zip(spans, wanted, strict=True))
    widened = [
        _widened(span, min(round(side * scale), limit), limit)
        for span, side, limit in zip(spans, wanted, whole, strict=True)
    ]
    return widened[0][0], widened[1][0], widened[0][1], widened[1][1]


def _widened(span: tuple[int, int], length: int, limit: int) -> tuple[int, int]:
    start = (span[0] + span[1] - length) // 2
    start = min(max(start, 0), limit - length)
    return start, start + length


def blurred_under(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """`picture` where the mask is black, and its colours running into what is white: finer the nearer they are."""
    known = picture.convert("RGBA")
    known.putalpha(ImageChops.invert(mask))
    filled = picture.convert("RGBA")
    for radius in _BLURS_PX:
        spread = known.convert("RGBa").filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        filled.alpha_composite(spread)
    filled.alpha_composite(known)
    return filled.convert("RGB")


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
