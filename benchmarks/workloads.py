"""What the clients ask for. Every arm gets the same lists."""

import itertools
from typing import Any

from gesso.core.requests import ImageRequest

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


def urgent(model: str, count: int, *, steps: int = 4) -> list[ImageRequest]:
    """Short requests of somebody who waits at the screen."""
    short = homogeneous(model, count, steps=steps)
    return [request.model_copy(update={"priority": URGENT_PRIORITY}) for request in short]


def as_json(requests: list[ImageRequest]) -> list[dict[str, Any]]:
    """As an arm is told them."""
    return [request.model_dump(mode="json", exclude_none=True) for request in requests]
