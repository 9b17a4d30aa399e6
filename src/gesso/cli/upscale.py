"""`gesso upscale IMAGE [PROMPT...]`: a picture, larger; with a prompt it is painted once more at that size."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gesso.cli import options
from gesso.cli.destination import check_writable
from gesso.cli.edit import Source
from gesso.cli.fetching import with_models_here
from gesso.cli.generate import generate
from gesso.cli.invocation import settings_of
from gesso.cli.output import AsJson, print_json, print_warning
from gesso.cli.pull import fetch_missing
from gesso.cli.size import parsed_size
from gesso.cli.sources import refuse_empty, refuse_to_replace
from gesso.core.errors import InputError, UsageError
from gesso.core.files import write_atomically

if TYPE_CHECKING:
    from PIL import Image

    from gesso.core.settings import Settings

_STRENGTH = 0.3
_MULTIPLE_PX = 16
"""Sides that nearly every model makes."""

Scale = Annotated[float | None, typer.Option(metavar="N", help="How many times larger; 2.", show_default=False)]
Upscaler = Annotated[
    str | None, typer.Option(metavar="lanczos|nearest", help="What enlarges pixels.", show_default=False)
]


def upscale(
    context: typer.Context,
    image: Source,
    prompt: options.Prompt = None,
    scale: Scale = None,
    size: options.Size = None,
    upscaler: Upscaler = None,
    strength: options.Strength = None,
    model: options.Model = None,
    negative: options.Negative = None,
    steps: options.Steps = None,
    sampler: options.Sampler = None,
    guidance: options.Guidance = None,
    seed: options.Seed = None,
    out: options.Out = None,
    as_json: AsJson = False,
) -> None:
    """Make a picture larger; with a prompt, paint it once more at that size."""
    painting = (strength, model, negative, steps, sampler, guidance, seed)
    if prompt is None and any(value is not None for value in painting):
        raise UsageError("Nothing is painted without a prompt", hint="say what the picture shows, or leave that out")
    refuse_empty(image, words="picture")
    refuse_to_replace([image], out)
    width, height = parsed_size(size)
    settings = settings_of(context)

    from gesso.engine.hires.enlarge import enlarged
    from gesso.engine.hires.upscalers import LANCZOS, upscaler_named

    larger = enlarged(
        image,
        scale=scale,
        size_px=None if width is None or height is None else (width, height),
        multiple_px=1 if prompt is None else _MULTIPLE_PX,
        upscaler=upscaler or LANCZOS,
        warn=print_warning if prompt is None else None,  # who paints tells it
    )
    if prompt is None:
        path = _saved(larger, image, out, settings)
        if as_json:
            print_json({"images": [{"path": str(path), "width": larger.width, "height": larger.height}]})
        else:
            print(path)
        return
    if upscaler is not None and upscaler_named(upscaler) != LANCZOS:
        raise UsageError(
            f"What is painted on was enlarged by `{LANCZOS}`, and `--upscaler {upscaler}` is asked for",
            hint="enlarge it without a prompt, then `gesso edit` the result",
        )
    model = _repainting(model, settings)
    generate(
        context,
        prompt=prompt,
        image=image,
        size=f"{larger.width}x{larger.height}",
        strength=_STRENGTH if strength is None else strength,
        model=model,
        negative=negative,
        steps=steps,
        sampler=sampler,
        guidance=guidance,
        seed=seed,
        out=out,
        as_json=as_json,
    )


def _repainting(model: str | None, settings: "Settings") -> str | None:
    """The same model, fetched if it is not here.

    Raises:
        InputError: it changes pictures in another way.
    """
    from gesso.cli.models import open_store
    from gesso.core.requests import ImageRequest
    from gesso.engine.facts import facts_of
    from gesso.models.tasks import Task

    store = open_store(settings)

    def checked(request: ImageRequest) -> str | None:
        name = request.model or settings.model
        facts = facts_of(store.find(name), asked=name)
        other = facts.tasks.keys() & {Task.EDIT, Task.INPAINT}
        if other and Task.IMAGE_TO_IMAGE not in facts.tasks:
            how = "as an instruction says" if Task.EDIT in other else "under a mask"
            raise InputError(
                f"`{facts.name}` ({facts.pipeline}) changes pictures {how}, and here one is painted once more, larger",
                hint="choose a model that begins with a picture and repaints it, or leave the prompt out",
            )
        return request.model

    return with_models_here(ImageRequest(model=model), checked, partial(fetch_missing, settings=settings, yes=False))


def _saved(larger: "Image.Image", source: str, out: Path | None, settings: "Settings") -> Path:
    """Write an enlarged picture where `--out` says, else under the name of its source and its size, numbered where
    that is taken."""
    from gesso.core.given_pictures import DATA
    from gesso.engine.naming import destination, write_under
    from gesso.engine.pictures import encode_plain

    place = destination(out, settings, count=1, asked=None)
    output_format = place.output_format or settings.output_format
    data = encode_plain(larger, output_format)
    check_writable(place.folder)
    if place.file is not None:
        write_atomically(place.file, data)
        return place.file
    name = "picture" if source.startswith(DATA) else Path(source).stem
    return write_under(place.folder, f"{name}-{larger.width}x{larger.height}", output_format, data)
