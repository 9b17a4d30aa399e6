"""What the clients ask for. Every arm gets the same lists."""

import itertools
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from gesso.core.requests import ImageRequest, Inpaint
from gesso.primer.render import render
from gesso.primer.scene import random_scene

_PROMPTS = (
    "a red circle",
    "a blue star on a white background",
    "two green squares",
    "a yellow triangle left of a black circle",
)
GUIDANCE = 3.5
URGENT_PRIORITY = 50


def homogeneous(model: str, count: int, *, steps: int, size_px: int | None = None) -> list[ImageRequest]:
    """Requests that differ in prompt and seed alone."""
    prompts = itertools.cycle(_PROMPTS)
    return [
        ImageRequest(
            model=model,
            prompt=next(prompts),
            seed=1000 + index,
            steps=steps,
            guidance=GUIDANCE,
            width=size_px,
            height=size_px,
        )
        for index in range(count)
    ]


def mixed(model: str, count: int, *, sizes_px: tuple[int, ...] = (128, 96)) -> list[ImageRequest]:
    """4 to 30 steps, guidance on and off, three samplers, two sizes: no two neighbours alike.

    The order is fixed; long ones are spread, so that no arm is left with the longest at the end by bad luck.
    """
    steps = itertools.cycle((30, 4, 18, 8, 24, 12, 6, 15))
    guidance = itertools.cycle((GUIDANCE, GUIDANCE, 1.0))
    samplers = itertools.cycle(("DDIM", "Euler", "DPM++ 2M", "Euler"))
    sizes = itertools.cycle((sizes_px[0], sizes_px[0], sizes_px[0], sizes_px[-1], sizes_px[-1]))
    prompts = itertools.cycle(_PROMPTS)
    return [
        ImageRequest(
            model=model,
            prompt=next(prompts),
            seed=2000 + index,
            steps=next(steps),
            guidance=next(guidance),
            sampler=next(samplers),
            width=(side := next(sizes)),
            height=side,
        )
        for index in range(count)
    ]


def editing(model: str, count: int, *, folder: Path, steps: int) -> list[ImageRequest]:
    """Pictures of text, of a picture, and under a mask, by turns, as many steps each.

    Args:
        folder: where the pictures are that they begin with; made if they are not there.
        steps: that are really made: of a picture that is changed at a strength, those that are left of more.
    """
    source, mask = (folder / f"{name}.png" for name in ("source", "mask"))
    if not source.exists():
        picture = render(random_scene(Random(1)), Random(1))
        quarter = picture.width // 4
        white = Image.new("L", picture.size)
        ImageDraw.Draw(white).rectangle((quarter, quarter, 2 * quarter, 2 * quarter), 255)
        picture.save(source)
        white.save(mask)
    begins: list[dict[str, Any]] = [
        {"steps": steps},
        {"image": str(source), "strength": 0.75, "steps": round(steps / 0.75)},
        {"image": str(source), "strength": 1.0, "steps": steps, "inpaint": Inpaint(mask=str(mask))},
    ]
    turns = itertools.cycle(begins)
    return [request.model_copy(update=next(turns)) for request in homogeneous(model, count, steps=steps)]


def urgent(model: str, count: int, *, steps: int = 4) -> list[ImageRequest]:
    """Short requests of somebody who waits at the screen."""
    short = homogeneous(model, count, steps=steps)
    return [request.model_copy(update={"priority": URGENT_PRIORITY}) for request in short]


def as_json(requests: list[ImageRequest]) -> list[dict[str, Any]]:
    """As an arm is told them."""
    return [request.model_dump(mode="json", exclude_none=True) for request in requests]
