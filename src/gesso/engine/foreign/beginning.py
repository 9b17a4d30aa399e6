"""The picture that a picture of another program began with, once it is given."""

import re
from dataclasses import replace

from gesso.engine.foreign.comfyui.levels import DENOISE
from gesso.engine.foreign.numbers import between, number
from gesso.engine.foreign.pairs import DENOISING
from gesso.engine.foreign.values import ForeignRecipe, Program
from gesso.engine.resolve import LEAST_STRENGTH

_BEGINNING = re.compile(r"(LoadImage|VAEEncode) #|Init image")
"""Names of what is the picture that another began with."""


def with_beginning(recipe: ForeignRecipe) -> ForeignRecipe:
    """Of a picture that began with another, which is given now. ComfyUI makes all its steps at any strength."""
    recipe = replace(recipe, left_out=tuple(one for one in recipe.left_out if not _BEGINNING.match(one.name)))
    for one in recipe.left_out:
        if one.name != DENOISING and not one.name.endswith(DENOISE):
            continue
        try:
            strength = between(number, LEAST_STRENGTH, 1)(one.value)
        except ValueError:
            continue
        recipe = replace(recipe, left_out=tuple(other for other in recipe.left_out if other is not one))
        if recipe.program is not Program.COMFYUI:
            return recipe.with_fields(one.name, one.value, "one step more is made there", strength=strength)
        steps = int(recipe.fields.get("steps", 1) / strength)
        return recipe.with_fields(one.name, one.value, strength=strength, steps=steps)
    return recipe
