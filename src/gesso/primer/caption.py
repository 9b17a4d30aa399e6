"""Captions of the primer's world: a scene in words, as its pictures were described in training.

    caption    = article thing [ relation " a " thing ] background
    article    = "a " | "one "
    thing      = [ "small " | "large " | "big " ] [ "striped " | "solid " ] colour shape
    relation   = " left of" | " above"
    background = " on a " colour " background" | " on " colour | ", " colour " background"

The size is named only where a thing is alone, and not always; stripes are always named.
"""

from random import Random

from gesso.primer.scene import Fill, Scene, Size, Thing


def caption(scene: Scene, rng: Random) -> str:
    """One of the ways to describe `scene`."""
    article = rng.choice(["a", "a", "one"])
    first, *others = scene.things
    name_size = scene.relation is None and rng.random() < 0.8
    words = f"{article} {_thing(first, rng, name_size=name_size)}"
    for other in others:
        words += f" {scene.relation} a {_thing(other, rng, name_size=False)}"
    return words + _background(scene.background, rng)


def _thing(thing: Thing, rng: Random, *, name_size: bool) -> str:
    words = [_size(thing.size, rng) if name_size else "", _fill(thing.fill, rng), thing.colour, thing.shape]
    return " ".join(word for word in words if word)


def _size(size: Size, rng: Random) -> str:
    match size:
        case Size.SMALL:
            return "small"
        case Size.LARGE:
            return rng.choice(["large", "big"])


def _fill(fill: Fill, rng: Random) -> str:
    match fill:
        case Fill.STRIPED:
            return "striped"
        case Fill.SOLID:
            return rng.choice(["solid", ""]) if rng.random() < 0.3 else ""


def _background(colour: str, rng: Random) -> str:
    chance = rng.random()
    if chance < 0.7:
        return f" on a {colour} background"
    if chance < 0.85:
        return f" on {colour}"
    return f", {colour} background"
