"""Pictures of the primer's world, drawn from a scene.

Drawing has two halves: `place` decides by chance where each thing stands, `draw` puts them there. Whoever needs the
truth behind the pixels (a mask, the place of a thing) keeps the places and asks for it.
"""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageChops, ImageDraw

from gesso.primer.scene import COLOURS, RGB, Fill, Relation, Scene, Size, Thing
from gesso.primer.shapes import INK, OUTLINES, Spot

SIZE_PX = 128
"""Side of the pictures that the weights were trained on."""

_RADIUS = {Size.SMALL: 0.16, Size.LARGE: 0.30}
_FREE_PLAY = {Size.SMALL: 0.18, Size.LARGE: 0.08}
"""How far a lone thing may stand from the middle, so that all of it stays inside."""
_NEAR, _MIDDLE, _FAR = 0.28, 0.5, 0.72
_SUPERSAMPLING = 2
_STRIPES = 6
_STRIPE_GAP_COLOUR = 0.4
"""Share of the thing's own colour in the gaps between its stripes; the rest is background."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a thing stands. Fractions of the picture's side, from the left and from the top."""

    x: float
    y: float
    radius: float

    def spot(self, side_px: int) -> Spot:
        """The place in a mask of `side_px` pixels."""
        return Spot(x=self.x * side_px, y=self.y * side_px, radius=self.radius * side_px)


def render(scene: Scene, rng: Random, size_px: int = SIZE_PX) -> Image.Image:
    """A picture of `scene`, RGB, `size_px` on each side. The same state of `rng` gives the same picture."""
    return draw(scene, place(scene, rng), size_px)


def place(scene: Scene, rng: Random) -> tuple[Place, ...]:
    """A place for each thing of `scene`, in their order: near to what the relation says, with a little play."""
    match scene.relation:
        case None:
            play = _FREE_PLAY[scene.things[0].size]
            middles = [(_MIDDLE, _MIDDLE)]
        case Relation.LEFT_OF:
            play = 0.03
            middles = [(_NEAR, _MIDDLE), (_FAR, _MIDDLE)]
        case Relation.ABOVE:
            play = 0.03
            middles = [(_MIDDLE, _NEAR), (_MIDDLE, _FAR)]
    spots = [(x + rng.uniform(-play, play), y + rng.uniform(-play, play)) for x, y in middles]
    return tuple(
        Place(x=x, y=y, radius=_RADIUS[thing.size] * rng.uniform(0.94, 1.06))
        for thing, (x, y) in zip(scene.things, spots, strict=True)
    )


def draw(scene: Scene, places: tuple[Place, ...], size_px: int = SIZE_PX) -> Image.Image:
    """The picture of `scene` with its things at `places`. No chance is left in it."""
    side_px = size_px * _SUPERSAMPLING
    canvas = Image.new("RGB", (side_px, side_px), COLOURS[scene.background])
    for thing, where in zip(scene.things, places, strict=True):
        _paint(canvas, thing, where, background=COLOURS[scene.background])
    return canvas.resize((size_px, size_px), Image.Resampling.LANCZOS)


def mask(thing: Thing, where: Place, side_px: int) -> Image.Image:
    """The pixels that `thing` covers: an `L` image, 255 inside and 0 outside, edges not smoothed."""
    image = Image.new("L", (side_px, side_px), 0)
    OUTLINES[thing.shape](ImageDraw.Draw(image), where.spot(side_px))
    return image


def _paint(canvas: Image.Image, thing: Thing, where: Place, *, background: RGB) -> None:
    colour = COLOURS[thing.colour]
    covered = mask(thing, where, canvas.width)
    match thing.fill:
        case Fill.SOLID:
            canvas.paste(colour, mask=covered)
        case Fill.STRIPED:
            bars = _bars(canvas.size, where.spot(canvas.width))
            canvas.paste(_mixed(colour, background), mask=covered)
            canvas.paste(colour, mask=ImageChops.multiply(covered, bars))


def _bars(size: tuple[int, int], spot: Spot) -> Image.Image:
    """Horizontal stripes, as wide as the gaps between them, from just above the spot to just below it."""
    bars = Image.new("L", size, 0)
    pen = ImageDraw.Draw(bars)
    width_px = max(3, round(spot.radius / 3.5))
    top = spot.y - 1.25 * spot.radius
    for stripe in range(_STRIPES):
        start = top + 2 * stripe * width_px
        pen.rectangle((0, start, size[0], start + width_px - 1), fill=INK)
    return bars


def _mixed(colour: RGB, background: RGB) -> RGB:
    def mixed(mine: int, theirs: int) -> int:
        return int(_STRIPE_GAP_COLOUR * mine + (1 - _STRIPE_GAP_COLOUR) * theirs)

    red, green, blue = (mixed(mine, theirs) for mine, theirs in zip(colour, background, strict=True))
    return (red, green, blue)
