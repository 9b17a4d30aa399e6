"""Running a picture again exactly as it ran: same rows, same slots, same shapes. Same bytes?"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image

from gesso.components.trace import first_difference, placements, trace_checksum
from gesso.core.errors import DeviceError, ReplayError
from gesso.core.recipe import Recipe
from gesso.core.requests import ResolvedImageRequest
from gesso.devices import choose
from gesso.engine import pictures
from gesso.engine.studio import Studio
from gesso.models.identity import PENDING


class Verdict(StrEnum):
    """What a replay found."""

    IDENTICAL = "identical"
    DIFFERENT = "different"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, kw_only=True)
class ReplayReport:
    """The verdict and what it rests on, in lines for people.

    Attributes:
        distance: largest difference of a pixel value, 0 to 255, between the file and the picture made again.
    """

    verdict: Verdict
    lines: tuple[str, ...]
    distance: int


def replay(studio: Studio, path: Path) -> ReplayReport:
    """Make the picture of `path` again and compare every component call, then every pixel.

    Raises:
        ReplayError: the file holds no recipe with a trace.
        GessoError: the model is not here, or the run failed.
    """
    recipe = pictures.read_recipe(path).recipe
    if recipe is None:
        raise ReplayError(f"`{path}` holds no recipe of Gesso", hint="`gesso show` prints what it does hold")
    run = recipe.run
    lines: list[str] = []
    if trace_checksum(run.trace) != run.trace_checksum:
        lines.append("the recorded trace was altered after the picture was made")
    resolved = _on_a_device_that_is_here(recipe.resolved)
    handle = studio.run_again(recipe.asked, resolved, placements(run.trace), index=run.index)
    again = handle.result().pictures[0]
    distance = _distance(path, again.image, recipe)
    difference = first_difference(run.trace, again.recipe.run.trace)
    was, now = run.fingerprint, again.recipe.run.fingerprint
    if was.weights == PENDING and difference is None:
        was = was.model_copy(update={"weights": now.weights})  # the bytes of every call say that they are the same
    if changed := was.differences(now):
        lines.append(f"not comparable: {', '.join(changed)}")
        lines.append(f"largest difference of a pixel value: {distance} of 255")
        return ReplayReport(verdict=Verdict.NOT_COMPARABLE, lines=tuple(lines), distance=distance)
    if difference is not None:
        lines.append(f"first difference: {difference}")
    elif again.recipe.run.pixels_sha256 != run.pixels_sha256:
        lines.append("every component call gave the same bytes, the picture made of them did not")
    if distance:
        lines.append(f"the file's pixels differ from the picture made again: by up to {distance} of 255")
    if lines:
        return ReplayReport(verdict=Verdict.DIFFERENT, lines=tuple(lines), distance=distance)
    calls = f"{len(run.trace)} component calls and every pixel"
    return ReplayReport(verdict=Verdict.IDENTICAL, lines=(f"{calls} are the same",), distance=0)


def _on_a_device_that_is_here(resolved: ResolvedImageRequest) -> ResolvedImageRequest:
    """`resolved` on its own device, else on the best there is: then the fingerprints differ, and the report says so."""
    try:
        choose.choose(resolved.device)
    except DeviceError:
        return resolved.model_copy(update={"device": choose.choose(None).name})
    return resolved


def _distance(path: Path, again: Image.Image, recipe: Recipe) -> int:
    with Image.open(path) as opened:
        found = np.asarray(opened.convert("RGB"), dtype=np.int16)
    made = np.asarray(
        pictures.compared_pixels(again, recipe.resolved.output_format, path).convert("RGB"), dtype=np.int16
    )
    if found.shape != made.shape:
        return 255
    return int(np.abs(found - made).max())
