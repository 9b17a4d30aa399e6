"""`gesso score IMAGE PROMPT`: what a picture of the primer's world shows, beside what was asked for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesso.cli.output import AsJson, print_columns, print_json
from gesso.cli.show import check_picture

if TYPE_CHECKING:
    from PIL import Image

    from gesso.primer.reading import Reading
    from gesso.primer.score import Score


def score(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture; what it says about itself is not read.")],
    prompt: Annotated[list[str], typer.Argument(metavar="PROMPT", help="What was asked for; words are joined.")],
    as_json: AsJson = False,
) -> None:
    """Read the facts of a picture of the primer's world and compare them with those of a prompt."""
    from gesso.primer.prompt import parse
    from gesso.primer.reading import read
    from gesso.primer.score import compare

    asked = parse(" ".join(prompt))
    reading = read(_opened(image))
    found = compare(asked, reading)
    if as_json:
        print_json(_entry(found, reading))
        return
    rows = [
        (
            str(fact.kind) if fact.thing is None else f"{fact.kind} {fact.thing}",
            fact.asked,
            fact.seen or "cannot be seen",
            "right" if fact.right else "wrong",
        )
        for fact in found.facts
    ]
    print_columns(("fact", "asked", "seen", ""), rows)
    print(f"{found.right} of {len(found.facts)} facts are right")


def _opened(path: Path) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError

    from gesso.core.errors import InputError

    check_picture(path)
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(
            f"`{path}` cannot be read as a picture", hint="it may be damaged, or of another kind"
        ) from error


def _entry(found: "Score", reading: "Reading") -> dict[str, Any]:
    return {
        "all_right": found.all_right,
        "right": found.right,
        "asked": len(found.facts),
        "facts": [
            {"fact": fact.kind, "thing": fact.thing, "asked": fact.asked, "seen": fact.seen, "right": fact.right}
            for fact in found.facts
        ],
        "seen": {
            "background": reading.background,
            "relation": reading.relation,
            "things": [
                {
                    "shape": thing.shape,
                    "colour": thing.colour,
                    "size": thing.size,
                    "fill": thing.fill,
                    "x": round(thing.x, 4),
                    "y": round(thing.y, 4),
                    "radius": round(thing.radius, 4),
                    "fit": round(thing.fit, 4),
                }
                for thing in reading.things
            ],
        },
    }
