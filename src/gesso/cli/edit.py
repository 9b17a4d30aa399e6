"""`gesso edit IMAGE PROMPT...`: a picture, changed as the words say."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from gesso.cli.generate import generate

Source = Annotated[str, typer.Argument(metavar="IMAGE", help="The picture to begin with.", show_default=False)]


def _with_picture(command: Callable[..., None], *, without: frozenset[str] = frozenset()) -> Callable[..., None]:
    """`command` with the arguments and options of `generate`, after its picture."""
    parameters = dict(inspect.signature(generate).parameters)
    context = parameters.pop("context")
    picture = inspect.Parameter("image", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Source)
    others = [parameter for name, parameter in parameters.items() if name not in {"image", *without}]

    def run(**given: Any) -> None:
        command(**given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([context, picture, *others])  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [context, picture, *others]}
    return run


@_with_picture
def edit(**given: Any) -> None:
    """Change a picture as a prompt says."""
    generate(**given)
