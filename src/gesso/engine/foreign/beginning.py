"""The picture and the mask that a picture of another program began with, once they are given."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gesso.core.merging import given_fields
from gesso.core.requests import LEAST_STRENGTH, Fill
from gesso.engine.edit.checks import MAX_BLUR_PX, MAX_PADDING_PX
from gesso.engine.edit.strength import planned_steps, strength_making
from gesso.engine.foreign.comfyui.levels import DENOISE
from gesso.engine.foreign.numbers import between, number, whole
from gesso.engine.foreign.values import ForeignRecipe, LeftOut, Program
from gesso.engine.infotext import DENOISING, FILLS

_PICTURE = re.compile(r"(LoadImage|VAEEncode) #|Init image")
"""Names of what is the picture that another began with."""
_MASK = re.compile(r"(LoadImageMask|ImageToMask) #")
"""Names of what is the mask."""
_AREA, _ONLY_MASKED, _PADDING = "Inpaint area", "Only masked", "Masked area padding"
_STRENGTH = re.compile(rf"{DENOISING}$|.*{re.escape(DENOISE)}$")
"""Names of what says how much of the picture may change."""


def with_beginning(recipe: ForeignRecipe, given: Mapping[str, Any], *, flow: bool) -> ForeignRecipe:
    """With what hangs on a picture and a mask, as far as these are among the fields that are `given`.

    Args:
        flow: whether the model that makes it is a rectified flow.
    """
    if given.get("image") is None:
        return recipe
    recipe = _without(recipe, _PICTURE)
    inpaint = given_fields(given.get("inpaint") or {})
    if inpaint.get("mask") is not None:
        recipe = _masked(_without(recipe, _MASK), inpaint)
    return _without(recipe, _STRENGTH) if given.get("strength") is not None else _strength(recipe, flow=flow)


def _without(recipe: ForeignRecipe, names: re.Pattern[str]) -> ForeignRecipe:
    return replace(recipe, left_out=tuple(one for one in recipe.left_out if not names.match(one.name)))


def _strength(recipe: ForeignRecipe, *, flow: bool) -> ForeignRecipe:
    """ComfyUI and SD.Next make all their steps at any strength."""
    for one in recipe.left_out:
        if not _STRENGTH.match(one.name):
            continue
        try:
            strength = between(number, LEAST_STRENGTH, 1)(one.value)
        except ValueError as error:
            recipe = _because(recipe, one, str(error))
            continue
        recipe = _taking(recipe, one)
        made = recipe.fields.get("steps", 1)
        if recipe.program is Program.SDNEXT:
            return recipe.with_fields(one.name, one.value, strength=strength, steps=int(made // strength) + 1)
        if recipe.program is not Program.COMFYUI:
            return recipe.with_fields(one.name, one.value, "one step more is made there", strength=strength)
        steps = planned_steps(made, strength)
        share = strength_making(made, steps, near=strength, flow=flow)
        return recipe.with_fields(one.name, one.value, strength=share, steps=steps)
    return recipe


def _masked(recipe: ForeignRecipe, given: Mapping[str, Any]) -> ForeignRecipe:
    """What is said of the mask. A padding shapes nothing where the whole picture is painted."""
    inpaint: dict[str, Any] = {"mask": given["mask"]}
    said = {(one.name, one.value) for one in recipe.left_out}
    whole = not given.get("only_masked", (_AREA, _ONLY_MASKED) in said)
    for one in recipe.left_out:
        if whole and one.name == _PADDING:
            recipe = replace(_taking(recipe, one), described=(*recipe.described, (one.name, one.value)))
            continue
        rule = _RULES.get(one.name.partition(" #")[0])
        if rule is None:
            continue
        try:
            found = rule(one.value)
        except ValueError as error:
            recipe = _because(recipe, one, str(error))
            continue
        inpaint |= found
        recipe = _taking(recipe, one).with_fields(one.name, one.value, inpaint=dict(inpaint))
    return recipe


def _because(recipe: ForeignRecipe, refused: LeftOut, why: str) -> ForeignRecipe:
    """What hangs on it is there, and the value is none that could be used."""
    left_out = tuple(replace(one, why=why) if one is refused else one for one in recipe.left_out)
    return replace(recipe, left_out=left_out)


def _taking(recipe: ForeignRecipe, taken: LeftOut) -> ForeignRecipe:
    return replace(recipe, left_out=tuple(one for one in recipe.left_out if one is not taken))


def _one_of(choices: Mapping[str, Any], text: str) -> Any:
    if text not in choices:
        raise ValueError(f"it is none of {', '.join(choices)}")
    return choices[text]


_Rule = Callable[[str], dict[str, Any]]
_MODES = {"Inpaint masked": False, "Inpaint not masked": True}
_AREAS = {"Whole picture": False, _ONLY_MASKED: True}
_FILLS = {"original": Fill.ORIGINAL} | {name: fill for fill, name in FILLS.items()}
_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "Mask mode": lambda text: {"invert": _one_of(_MODES, text)},
        "Mask blur": lambda text: {"blur": between(number, 0, MAX_BLUR_PX)(text)},
        _AREA: lambda text: {"only_masked": _one_of(_AREAS, text)},
        _PADDING: lambda text: {"padding": between(whole, 0, MAX_PADDING_PX)(text)},
        "Masked content": lambda text: {"fill": _one_of(_FILLS, text)},
        # ComfyUI decodes the whole picture, what is outside the mask too.
        "SetLatentNoiseMask": lambda _: {"keep_outside": False},
    }
)
"""What AUTOMATIC1111 and a node of ComfyUI say of a mask, by their names."""
