"""What was typed becomes an `ImageRequest`, on its own or on top of what a picture says."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gesso.cli.nested import checked, option_of
from gesso.cli.output import print_warning
from gesso.cli.show import read_picture
from gesso.core.errors import InputError, UsageError
from gesso.core.merging import NESTED
from gesso.core.requests import HiresPass, ImageRequest
from gesso.core.settings import Settings

MOST_WARNINGS = 20
"""About one picture; `gesso show` has no limit."""

_OPTIONS = {
    "parts": "--part",
    "negative_prompt": "--negative",
    "width": "--size",
    "height": "--size",
    "arguments": "--set",
    "adapters": "--lora",
    "styles": "--style",
    "embeddings": "--embedding",
    "output_format": "--format",
    "deadline_seconds": "--deadline",
}
"""Options whose name differs from the field of the request."""


_NEEDED = {
    "inpaint": ("There is no mask", "`--mask MASK.png`: white changes, black stays"),
    "outpaint": ("Nothing is added to a side", "`--left 64`, `--right`, `--up` or `--down`"),
}
"""Commands that are named as the field of the request without which they would do something else."""


def request_from(picture: Path | None, asked: dict[str, Any], settings: Settings) -> ImageRequest:
    """The request that the command line stands for.

    Args:
        picture: a picture whose request is taken again with its seed, `asked` on top of it.
        asked: fields of the request, as typed; those that were left out are absent.
        settings: tell where models are looked for.

    Raises:
        UsageError: a value that its field does not take.
        InputError: the picture does not say how it was made, or says something that cannot be.
    """
    try:
        return ImageRequest(**checked(asked, {})) if picture is None else _again(picture, asked, settings)
    except ValidationError as error:
        first = error.errors()[0]
        field, option = _field_and_option(error)
        if field not in asked:
            said = f"`{picture}` says {field} `{first['input']}`: {first['msg']}"
            raise InputError(said, hint=f"`{option}` sets another") from error
        hint = "`gesso generate --help` tells how it is used"
        raise UsageError(f"`{option}`: {first['msg']} (found `{first['input']}`)", hint=hint) from error


def check_needed(request: ImageRequest, *, command: str | None) -> None:
    """Raises `UsageError` for a request that does something else than the command, named so, is for."""
    if command in _NEEDED and getattr(request, command) is None:
        missing, hint = _NEEDED[command]
        raise UsageError(missing, hint=hint)


def _field_and_option(error: ValidationError) -> tuple[str, str]:
    """Of the first value that is refused: its field of the request, and the option that says it."""
    place = error.errors()[0]["loc"]
    if error.title == HiresPass.__name__:  # it is also read on its own, for its prompts
        place = ("hires", *place)
    field = str(place[0])
    if field in NESTED:
        return field, option_of(field, str(place[1]))
    return field, _OPTIONS.get(field, f"--{field.replace('_', '-')}")


def _again(picture: Path, asked: dict[str, Any], settings: Settings) -> ImageRequest:
    found = read_picture(picture)
    if found.recipe is not None:
        if "arguments" in asked:
            asked = asked | {"arguments": found.recipe.asked.arguments | asked["arguments"]}
        return found.recipe.again(**checked(asked, dict(found.recipe.asked)))
    recipe = found.foreign
    if recipe is None:
        problem = found.problem or "nothing of it is understood"
        raise InputError(f"`{picture}` cannot be made again: {problem}", hint="give a prompt instead of `--from`")
    from gesso.cli.models import open_store
    from gesso.engine.foreign.fitting import fitted

    recipe = fitted(recipe, open_store(settings), asked, usual=settings.model)
    asked = checked(asked, recipe.fields)
    warnings = recipe.warnings()
    for line in warnings[:MOST_WARNINGS]:
        print_warning(f"`{picture}` by {recipe.made_by}: {line}")
    if len(warnings) > MOST_WARNINGS:
        print_warning(f"`{picture}`: {len(warnings) - MOST_WARNINGS} more such lines; `gesso show` tells them all")
    return recipe.again(**asked)
