"""The truth behind a picture, for everything that takes or gives more than pixels: masks, edges, layers."""

from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter

from gesso.primer.render import SIZE_PX, Place, draw, mask
from gesso.primer.scene import Scene

_SUPERSAMPLING = 2
_NEAREST = 255


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A picture and all that is known of it; every image has its size."""

    scene: Scene
    places: tuple[Place, ...]
    picture: Image.Image
    """RGB."""
    masks: tuple[Image.Image, ...]
    """For each thing an `L` image: 255 where it covers the picture, soft at its rim."""
    edges: Image.Image
    """`L`: white lines, one or two pixels wide, along the rims of the things; black elsewhere."""
    depth: Image.Image
    """`L`: 0 is the background; the further in front, the brighter. Of two things the second lies in front."""


def truth(scene: Scene, places: tuple[Place, ...], size_px: int = SIZE_PX) -> Truth:
    """Draw `scene` and everything that is known of its picture. No chance is in it.

    Args:
        places: one for each thing, from `gesso.primer.render.place` or chosen.
        size_px: side of all images.
    """
    masks = tuple(_soft_mask(scene, number, places, size_px) for number in range(len(scene.things)))
    edges = Image.new("L", (size_px, size_px), 0)
    depth = Image.new("L", (size_px, size_px), 0)
    for number, covered in enumerate(masks):
        hard = covered.point([255 * (value >= 128) for value in range(256)])
        rim = ImageChops.subtract(hard, hard.filter(ImageFilter.MinFilter(3)))
        edges = ImageChops.lighter(edges, rim)
        depth.paste(_NEAREST * (number + 1) // len(masks), mask=hard)
    return Truth(
        scene=scene, places=places, picture=draw(scene, places, size_px), masks=masks, edges=edges, depth=depth
    )


def _soft_mask(scene: Scene, number: int, places: tuple[Place, ...], size_px: int) -> Image.Image:
    large = mask(scene.things[number], places[number], size_px * _SUPERSAMPLING)
    return large.resize((size_px, size_px), Image.Resampling.BOX)
