"""`gesso edit|inpaint|outpaint IMAGE PROMPT...`: a picture, changed as the words say."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gesso.cli.generate import generate

Source = Annotated[str, typer.Argument(metavar="IMAGE", help="The picture to begin with.", show_default=False)]


def _with_picture(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the arguments and options of `generate`, after its picture."""
    parameters = dict(inspect.signature(generate).parameters)
    context = parameters.pop("context")
    picture = inspect.Parameter("image", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Source)
    taken = [context, picture, *(parameter for name, parameter in parameters.items() if name != "image")]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(**given)

    run.__signature__ = inspect.Signature(taken)  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
    return run


@_with_picture
def edit(**given: Any) -> None:
    """Change a picture, or each in a folder, as a prompt says."""
    generate(**given)


@_with_picture
def inpaint(**given: Any) -> None:
    """Change a part of a picture: what is white in its mask."""
    generate(**given)


@_with_picture
def outpaint(**given: Any) -> None:
    """Paint on beyond the sides of a picture."""
    generate(**given)
