"""Reading a picture back into facts, without knowing what was asked for.

The picture is taken apart in the way it was made: what the edge shows is the background, what differs from it in one
piece is a thing, and a thing has the shape whose outline, laid over it, fits best. What fits nothing stays unread: a
fact that cannot be seen is `None`, and a picture that is none of this world is refused. Nothing is guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from gesso.core.errors import InputError
from gesso.primer.scene import COLOURS, Fill, Relation, Size
from gesso.primer.shapes import SHAPES, Outline, Spot

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom; the last two are just outside."""

_SIDE_PX = 128
"""Pictures are read at this size."""
_SMALLEST_SIDE_PX = 64
_EDGE_PX = 4
_EVEN = 40.0
"""Pixels of an even area are this close to its colour (distance in sRGB bytes)."""
_EVEN_SHARE = 0.8
_ONE_COLOUR = 60.0
"""Pixels of a thing are this close to the mixtures of its colour and the background."""
_TEXTURE_SHARE = 0.5
"""Where fewer of them are, it is no flat thing at all."""
_SAME_COLOUR = 60.0
_CLEARLY_NEARER = 0.75
"""A colour is read only this close to one of the world, and if the next one is clearly further away."""
_DIFFERENT = 20.0
"""Pixels this far from the background belong to a thing."""
_COVERED = 0.3
"""Share of a thing's contrast from which a pixel counts as covered: below that of the gaps between stripes (0.4)."""
_FULL = 0.8
"""Share of a thing's contrast from which a pixel has its own colour, not that of a gap."""
_DEEP = 0.25
"""Loss of contrast in the gaps of stripes; 0.6 in a clean picture."""
_SMALLEST_THING_PX = 60
_SMALLEST_CORE_PX = 30
"""Pixels of a thing that are not on thin lines."""
_MOST_THINGS = 4
_FITS = 0.8
"""Overlap with an outline (intersection over union) from which a shape is read."""
_FITS_WELL = 0.9
_AHEAD = 0.01
"""By how much it must fit better than every other."""
_SIZE_BORDER = 0.225
"""Radius, as a share of the side, between small and large."""
_CLEARLY = 1.5
"""Two things are left of or above each other if they are this much further apart in one direction than the other."""


class UnreadableError(InputError):
    """The picture is none of the primer's world."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The picture cannot be read: {reason}",
            hint="only pictures of the primer's world can: flat shapes on an even background",
        )


@dataclass(frozen=True, kw_only=True)
class SeenThing:
    """One thing on a picture; `None` for a fact that cannot be read."""

    shape: str | None
    colour: str | None
    size: Size
    fill: Fill | None
    x: float
    """Middle, as a share of the side from the left."""
    y: float
    radius: float
    """As `Place.radius`; for an unread shape, of the circle with as many pixels."""
    fit: float
    """Overlap with the outline of its shape, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a picture shows."""

    background: str | None
    things: tuple[SeenThing, ...]
    """From left to right, or from top to bottom where one is above the other."""
    relation: Relation | None
    """Where the first of two things stands; `None` for other numbers of things, or if they stand aslant."""


def read(picture: Image.Image, shapes: Mapping[str, Outline] = SHAPES) -> Reading:
    """The facts that `picture` shows.

    Args:
        picture: any mode; it is read as RGB, 128 pixels a side.
        shapes: the outlines to look for, by name.

    Raises:
        UnreadableError: it is no picture of the primer's world: not square, too small, its edge is uneven, there are
            too many pieces on it, one has many colours, or nothing on it has a colour or a shape of the world.
    """
    pixels = _pixels(picture)
    ground = _background(pixels)
    things = [thing for piece in _pieces(pixels, ground) for thing in _things(piece, shapes)]
    if len(things) > _MOST_THINGS:
        raise UnreadableError(f"there are {len(things)} things on it")
    if things and not any(thing.colour or thing.shape for thing in things):
        raise UnreadableError("nothing on it has a shape or a colour of this world")
    relation = _relation(things)
    things.sort(key=lambda thing: thing.y if relation is Relation.ABOVE else thing.x)
    return Reading(background=_named(ground), things=tuple(things), relation=relation)


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A part of the picture that hangs together and is not background. Arrays are of the whole picture's size."""

    covered: Bools
    strength: Floats
    """Contrast of each pixel with the background, 1 where it has the thing's own colour."""
    colour: str | None


def _pixels(picture: Image.Image) -> Floats:
    width, height = picture.size
    if width != height or width < _SMALLEST_SIDE_PX:
        raise UnreadableError(f"it has {width}x{height} pixels, not a square of at least {_SMALLEST_SIDE_PX}")
    rgb = picture.convert("RGB")
    if width != _SIDE_PX:
        rgb = rgb.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BOX if width > _SIDE_PX else Image.Resampling.BICUBIC)
    return np.asarray(rgb, dtype=np.float64)


def _background(pixels: Floats) -> Floats:
    """The colour of the picture's edge."""
    edge = np.ones(pixels.shape[:2], dtype=bool)
    edge[_EDGE_PX:-_EDGE_PX, _EDGE_PX:-_EDGE_PX] = False
    colour = np.median(pixels[edge], axis=0)
    if (_distance(pixels[edge], colour) < _EVEN).mean() < _EVEN_SHARE:
        raise UnreadableError("its edge has no even colour")
    return colour


def _pieces(pixels: Floats, ground: Floats) -> list[_Piece]:
    """What stands on the background, without specks."""
    contrast = _distance(pixels, ground)
    different = contrast > _DIFFERENT
    labels = np.zeros(different.shape, dtype=np.int32)
    ndimage.label(different, structure=np.ones((3, 3)), output=labels)
    solid = np.asarray(
        ndimage.binary_opening(different, structure=np.ones((4, 4))), dtype=np.bool_
    )  # without lines, such as a halo
    pieces: list[_Piece] = []
    for number in range(1, int(labels.max()) + 1):
        inside = labels == number
        if inside.sum() < _SMALLEST_THING_PX or (inside & solid).sum() < _SMALLEST_CORE_PX:
            continue
        strength = np.where(inside, contrast / np.percentile(contrast[inside], 80), 0.0)
        covered = strength > _COVERED
        if covered.sum() >= _SMALLEST_THING_PX:
            pieces.append(_Piece(covered=covered, strength=strength, colour=_colour(pixels, ground, covered, strength)))
    if len(pieces) > 2 * _MOST_THINGS:
        raise UnreadableError(f"there are {len(pieces)} things on it")
    return pieces


def _colour(pixels: Floats, ground: Floats, covered: Bools, strength: Floats) -> str | None:
    """The colour of the pixels inside that are strongest; none if there are others beside it."""
    full = covered & (strength > _FULL)
    inner = full & np.asarray(ndimage.binary_erosion(covered, iterations=2), dtype=np.bool_)
    own = np.median(pixels[inner if inner.sum() >= 20 else full], axis=0)
    # Between the background and the thing's own colour lie its rim and the gaps of its stripes, and nothing else.
    span = own - ground
    share = np.clip((pixels[covered] - ground) @ span / (span @ span), 0, 1)[:, None]
    of_one_colour = (_distance(pixels[covered], ground + share * span) < _ONE_COLOUR).mean()
    if of_one_colour < _TEXTURE_SHARE:
        raise UnreadableError("what stands on it has many colours")
    if of_one_colour < _EVEN_SHARE:
        return None
    return _named(own)


def _named(colour: Floats) -> str | None:
    distances = {name: float(np.linalg.norm(colour - np.array(rgb))) for name, rgb in COLOURS.items()}
    nearest, second = sorted(distances, key=distances.__getitem__)[:2]
    clear = distances[nearest] < _SAME_COLOUR and distances[nearest] < _CLEARLY_NEARER * distances[second]
    return nearest if clear else None


def _distance(pixels: Floats, colour: Floats) -> Floats:
    return np.linalg.norm(pixels - colour, axis=-1)


def _relation(things: list[SeenThing]) -> Relation | None:
    if len(things) != 2:
        return None
    right, down = abs(things[0].x - things[1].x), abs(things[0].y - things[1].y)
    if right > _CLEARLY * down:
        return Relation.LEFT_OF
    return Relation.ABOVE if down > _CLEARLY * right else None


def _things(piece: _Piece, shapes: Mapping[str, Outline]) -> list[SeenThing]:
    """The thing that a piece is; or the two that touch each other in it."""
    whole = _thing(piece, shapes)
    if whole.fit >= _FITS_WELL:
        return [whole]
    halves = [_thing(half, shapes) for half in _split(piece)]
    least = _FITS_WELL if whole.shape else _FITS  # what can be one thing is two only if that is much plainer
    return halves if len(halves) == 2 and all(half.shape and half.fit >= least for half in halves) else [whole]


def _split(piece: _Piece) -> list[_Piece]:
    """A piece cut across its longer side, where it is thinnest; nothing if one part would be a speck."""
    left, top, right, bottom = _box(piece.covered)
    along = 1 if right - left >= bottom - top else 0
    start, end = (left, right) if along == 1 else (top, bottom)
    third = (end - start) // 3
    thickness = piece.covered.sum(axis=1 - along)
    cut = start + third + int(np.argmin(thickness[start + third : end - third]))
    first: Bools = np.arange(_SIDE_PX) < cut
    side = first[None, :] if along == 1 else first[:, None]
    parts = [piece.covered & side, piece.covered & ~side]
    if min(part.sum() for part in parts) < _SMALLEST_THING_PX:
        return []
    return [_Piece(covered=part, strength=np.where(part, piece.strength, 0), colour=piece.colour) for part in parts]


def _thing(piece: _Piece, shapes: Mapping[str, Outline]) -> SeenThing:
    shape, spot, fit = _best_outline(piece.covered, shapes)
    radius = spot.radius if shape else float(np.sqrt(piece.covered.sum() / np.pi))
    return SeenThing(
        shape=shape,
        colour=piece.colour,
        size=Size.LARGE if radius / _SIDE_PX > _SIZE_BORDER else Size.SMALL,
        fill=_fill(piece),
        x=spot.x / _SIDE_PX,
        y=spot.y / _SIDE_PX,
        radius=radius / _SIDE_PX,
        fit=fit,
    )


def _fill(piece: _Piece) -> Fill | None:
    """Stripes are gaps right across the thing, with its own colour above and below; ripples are shallower."""
    inner = ndimage.binary_erosion(piece.covered, iterations=2)
    rows = np.array([np.median(piece.strength[row][inner[row]]) for row in range(_SIDE_PX) if inner[row].sum() >= 3])
    if not len(rows):
        return None
    peak, gap = rows[0], np.inf  # the strongest row so far, and the weakest after a fall from it
    for strength in rows:
        if strength - gap > _DEEP:
            return Fill.STRIPED
        peak = max(peak, strength)
        if peak - strength > _DEEP:
            gap = min(gap, strength)
    return Fill.SOLID


def _best_outline(covered: Bools, shapes: Mapping[str, Outline]) -> tuple[str | None, Spot, float]:
    """The shape that overlaps most with the covered pixels, where, and by how much; no shape if it is not clear."""
    left, top, right, bottom = _box(covered)
    margin = 3
    window: Box = (
        max(0, left - margin),
        max(0, top - margin),
        min(_SIDE_PX, right + margin),
        min(_SIDE_PX, bottom + margin),
    )
    seen = covered[window[1] : window[3], window[0] : window[2]]
    first_guesses = {name: _guess((left, top, right, bottom), outline) for name, outline in shapes.items()}
    fits = {name: _overlap(seen, window, shapes[name], spot) for name, spot in first_guesses.items()}
    candidates = sorted(fits, key=fits.__getitem__, reverse=True)[:5]
    refined = {name: _refine(seen, window, shapes[name], first_guesses[name], fits[name]) for name in candidates}
    best, *others = sorted(refined, key=lambda name: refined[name][1], reverse=True)
    spot, fit = refined[best]
    clear = fit >= _FITS and (not others or fit - refined[others[0]][1] >= _AHEAD)
    return best if clear else None, spot, fit


def _refine(seen: Bools, window: Box, outline: Outline, spot: Spot, fit: float) -> tuple[Spot, float]:
    """Move and resize the outline by ever smaller amounts as long as it fits better."""
    step = 1.0
    while step > 0.2:
        moves = [
            Spot(x=spot.x + right, y=spot.y + down, radius=spot.radius + grown)
            for right, down, grown in np.vstack([np.eye(3), -np.eye(3)]) * step
        ]
        scored = [(move, _overlap(seen, window, outline, move)) for move in moves]
        better, better_fit = max(scored, key=lambda pair: pair[1])
        if better_fit > fit:
            spot, fit = better, better_fit
        else:
            step /= 2
    return spot, fit


def _overlap(seen: Bools, window: Box, outline: Outline, spot: Spot) -> float:
    """Intersection over union of the covered pixels and an outline laid over them."""
    left, top, right, bottom = window
    canvas = Image.new("L", (2 * (right - left), 2 * (bottom - top)), 0)
    outline(ImageDraw.Draw(canvas), Spot(x=2 * (spot.x - left), y=2 * (spot.y - top), radius=2 * spot.radius))
    drawn = np.asarray(canvas.reduce(2)) > _COVERED * 255
    return float((seen & drawn).sum() / (seen | drawn).sum())


def _guess(box: Box, outline: Outline) -> Spot:
    """Where the outline would lie if it filled the box."""
    reach_left, reach_up, reach_right, reach_down = _reach(outline)
    left, top, right, bottom = box
    radius = (right - left + bottom - top) / (reach_left + reach_right + reach_up + reach_down)
    return Spot(
        x=(left + right) / 2 - radius * (reach_right - reach_left) / 2,
        y=(top + bottom) / 2 - radius * (reach_down - reach_up) / 2,
        radius=max(radius, 1.0),
    )


@cache
def _reach(outline: Outline) -> tuple[float, float, float, float]:
    """How far an outline goes to the left, up, right and down of its spot, in radii."""
    radius = 100
    canvas = Image.new("L", (4 * radius, 4 * radius), 0)
    outline(ImageDraw.Draw(canvas), Spot(x=2 * radius, y=2 * radius, radius=radius))
    box = canvas.getbbox() or (radius, radius, 3 * radius, 3 * radius)
    return (2 - box[0] / radius, 2 - box[1] / radius, box[2] / radius - 2, box[3] / radius - 2)


def _box(covered: Bools) -> Box:
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
