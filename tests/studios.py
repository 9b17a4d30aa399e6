"""Studios for tests, and the plain diffusers run that a studio's picture is measured against."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import zoo
from conditioned import plainly
from gesso.components.call import Call
from gesso.core.errors import CancelledError
from gesso.core.recipe import Recipe
from gesso.core.registry import load_dotted
from gesso.core.requests import ImageRequest
from gesso.core.settings import Settings, load_settings
from gesso.devices.cpu import CpuDevice
from gesso.engine.facts import facts_of
from gesso.engine.handle import Handle, Result
from gesso.engine.studio import Studio
from gesso.models.folder import describe


def settings(**fields: Any) -> Settings:
    """Settings of one thread, whatever the machine is like."""
    fields.setdefault("threads", 1)
    return load_settings(**fields)


@contextmanager
def studio(**fields: Any) -> Iterator[Studio]:
    with Studio(settings(**fields)) as opened:
        yield opened


def pixels(image: Image.Image) -> NDArray[np.float32]:
    """[H, W, 3] in 0..1."""
    return np.asarray(image.convert("RGB")).astype(np.float32) / np.float32(255)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Largest difference of a value, in 0..1."""
    return float(np.abs(pixels(one) - pixels(other)).max())


def mean_distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of a value, in 0..1."""
    return float(np.abs(pixels(one) - pixels(other)).mean())


def cancel_after(handle: Handle, steps: int) -> None:
    """End a request of one picture once so many steps are done."""
    for event in handle.events():
        if event.kind == "step-completed" and event.completed == steps:
            handle.cancel()
    with pytest.raises(CancelledError):
        handle.result(100)


def foreign_rows(recipe: Recipe) -> int:
    """Rows of others that ran beside this picture's."""
    return sum(segment.batch_rows - segment.rows for entry in recipe.run.trace for segment in entry.segments)


def run_together(opened: Studio, requests: list[ImageRequest], *, timeout: float = 100) -> list[Result]:
    """Submit all, then wait for all."""
    handles: list[Handle] = [opened.submit(request) for request in requests]
    return [handle.result(timeout) for handle in handles]


@contextmanager
def gathered(opened: Studio, component: str, count: int) -> Iterator[None]:
    """The first call of `component` waits until `count` pictures have made theirs: they agree or never will, however
    busy the machine is. The pictures must have no other call to make before."""
    worker = opened._worker(CpuDevice())
    submit, enough, lock = worker.submit, threading.Event(), threading.Lock()
    made = 0

    def counting(call: Call) -> None:
        nonlocal made
        if call.component.name == component:
            with lock:
                made += 1
                if made == 1:
                    worker.run(lambda: enough.wait(60))
        submit(call)
        if made >= count:
            enough.set()

    worker.submit = counting
    try:
        yield
    finally:
        worker.submit = submit


def mixed_requests(model: Path | str, count: int, **fields: Any) -> list[ImageRequest]:
    """Requests that differ in prompt, seed, steps and guidance."""
    shapes = itertools.cycle(["a red circle", "a blue star on white", "two green squares", "one black ring"])
    steps = itertools.cycle([4, 6, 5, 7])
    guidance = itertools.cycle([5.0, 1.0, 3.0])
    return [
        ImageRequest(
            **{
                "model": str(model),
                "prompt": next(shapes),
                "seed": 100 + index,
                "steps": next(steps),
                "guidance": next(guidance),
                "width": None if model == "primer" else zoo.PICTURE_PX,
                "height": None if model == "primer" else zoo.PICTURE_PX,
            }
            | fields
        )
        for index in range(count)
    ]


class PlainModel:
    """What conditioning needs of a model, from a plain pipeline."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.init_options = dict(pipeline.config)
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def network(self, name: str) -> Any:
        return getattr(self.pipeline, name, None)

    tokenizer = processor = network

    def part(self, path: str) -> Any:
        name, _, inner = path.partition(".")
        return getattr(self.pipeline, name).get_submodule(inner)


def plain_embeddings(pipeline: Any, kind: str, prompt: str, *, guidance: float) -> dict[str, Any]:
    """The conditioning of a first-class family, by plain networks, as arguments of its pipelines."""
    description = describe(zoo.saved(kind))
    facts = facts_of(description)
    assert description.family is not None
    with torch.no_grad():
        return plainly(
            load_dotted(description.family.conditioning),
            PlainModel(pipeline),
            prompt=prompt,
            negative_prompt="",
            guided=guidance > facts.guided_above and not facts.distilled,
            clip_skip=1,
        )


def plain_image(kind: str, embeddings: dict[str, Any], *, scheduler: Any, seed: int, **arguments: Any) -> Image.Image:
    """What the unmodified diffusers pipeline makes of the same embeddings, seed and threads."""
    pipeline: Any = zoo.build(kind)
    pipeline.scheduler = scheduler
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(seed)
    with torch.no_grad():
        return pipeline(**embeddings, generator=generator, output_type="pil", **arguments).images[0]
