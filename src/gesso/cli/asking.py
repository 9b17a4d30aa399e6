"""What was typed becomes an `ImageRequest`, on its own or on top of what a picture says."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gesso.cli.output import print_warning
from gesso.cli.show import read_picture
from gesso.core.errors import InputError, UsageError
from gesso.core.requests import ImageRequest

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


def request_from(picture: Path | None, asked: dict[str, Any]) -> ImageRequest:
    """The request that the command line stands for.

    Args:
        picture: a picture whose request is taken again with its seed, `asked` on top of it.
        asked: fields of the request, as typed; those that were left out are absent.

    Raises:
        UsageError: a value that its field does not take.
        InputError: the picture does not say how it was made, or says something that cannot be.
    """
    try:
        return ImageRequest(**asked) if picture is None else _again(picture, asked)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        option = _OPTIONS.get(field, f"--{field.replace('_', '-')}")
        if field not in asked:
            said = f"`{picture}` says {field} `{first['input']}`: {first['msg']}"
            raise InputError(said, hint=f"`{option}` sets another") from error
        hint = "`gesso generate --help` tells how it is used"
        raise UsageError(f"`{option}`: {first['msg']} (found `{first['input']}`)", hint=hint) from error


def _again(picture: Path, asked: dict[str, Any]) -> ImageRequest:
    found = read_picture(picture)
    if found.recipe is not None:
        if "arguments" in asked:
            asked = asked | {"arguments": found.recipe.asked.arguments | asked["arguments"]}
        return found.recipe.again(**asked)
    if found.parameters is None:
        raise InputError(f"`{picture}` cannot be made again: {found.problem}", hint="give a prompt instead of `--from`")
    return ImageRequest(**_from_parameters(picture, found.parameters, chosen="model" in asked) | asked)


def _from_parameters(picture: Path, text: str, *, chosen: bool) -> dict[str, Any]:
    """What other studios' text says. A name of a model means something only where it was written."""
    from gesso.engine import infotext

    parameters = infotext.parse(text)
    model = parameters.pairs.get("Model")
    if model is not None and not chosen:
        print_warning(f"`{picture}` was made with a model called `{model}`, another may be used: `--model` chooses")
    return parameters.request_fields()
