"""`gesso prompt`: how a prompt is read, and the styles and wildcards that it may name."""

from typing import TYPE_CHECKING, Any

import typer

from gesso.cli import options
from gesso.cli.commands import Commands
from gesso.cli.invocation import settings_of
from gesso.cli.output import AsJson, one_line, print_columns, print_json, print_warning
from gesso.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gesso.core.requests import ResolvedImageRequest
    from gesso.engine.explaining import ExplainedPiece, ExplainedText, Explanation

_SHOWN_SPANS = 3
_SHOWN_CHARACTERS = 60
_STYLE_FIELDS = ("name", "prompt", "negative_prompt", "path")

app = typer.Typer(cls=Commands, help="The language of prompts.", no_args_is_help=False)


@app.callback()
def prompt() -> None:
    """The language of prompts."""


@app.command()
def explain(
    context: typer.Context,
    prompt: options.Prompt = None,
    negative: options.Negative = None,
    dialect: options.Dialect = None,
    weighting: options.Weighting = None,
    style: options.Style = None,
    dynamic: options.Dynamic = None,
    wildcard_seed: options.WildcardSeed = None,
    seed: options.Seed = None,
    count: options.Count = None,
    model: options.Model = None,
    steps: options.Steps = None,
    as_json: AsJson = False,
) -> None:
    """Show which words are read at which steps, in which chunk and at which weight; and what was chosen for that."""
    if prompt is None:
        raise UsageError("There is no prompt", hint='say which: `gesso prompt explain "a (red:1.2) circle"`')
    asked = {
        "prompt": " ".join(prompt),
        "negative_prompt": negative,
        "dialect": dialect,
        "weighting": weighting,
        "styles": tuple(style) if style else None,
        "dynamic": dynamic,
        "wildcard_seed": wildcard_seed,
        "seed": seed,
        "count": count,
        "model": model,
        "steps": steps,
    }
    settings = settings_of(context)

    from gesso.cli.asking import request_from
    from gesso.engine.studio import Studio

    request = request_from(None, {name: value for name, value in asked.items() if value is not None}, settings)
    with Studio(settings) as studio:
        found = studio.explain(request)
    for tag in found.resolved.missing:
        print_warning(f"`{tag}` is left out: there is no such network here")
    if as_json:
        print_json(_entry(found))
        return
    if found.resolved.styles or found.resolved.dynamic:
        print_columns(("picture", "seed", "prompt", "negative prompt"), [_wording(*each) for each in _pictures(found)])
        print()
    print_columns(("text", "steps", "chunk", "tokens", "weight", "words"), _rows(found))
    for adapter in found.adapters:
        text, denoiser = adapter.text_encoder_weight, adapter.weight
        print(f"adapter {adapter.name}: {denoiser:g} in the denoiser, {text:g} in the text encoders")
    size = "" if found.chunk_size is None else f", chunks of {found.chunk_size} tokens"
    print(f"dialect {found.resolved.dialect}, weighting {found.resolved.weighting}{size}")


@app.command()
def styles(context: typer.Context, as_json: AsJson = False) -> None:
    """List the styles that `--style` takes."""
    from gesso.engine.texts.styles import Styles

    known = Styles(settings_of(context).style_files)
    found = known.all().values()
    _warn_of(known.broken())
    if as_json:
        print_json([{field: getattr(style, field) for field in _STYLE_FIELDS} for style in found])
        return
    rows = [(style.name, one_line(style.prompt), one_line(style.negative_prompt), str(style.path)) for style in found]
    print_columns(("name", "prompt", "negative prompt", "file"), rows)


@app.command()
def wildcards(context: typer.Context, as_json: AsJson = False) -> None:
    """List what `__name__` in a prompt chooses from."""
    from gesso.engine.texts.wildcards import Wildcards

    known = Wildcards(settings_of(context).wildcard_folders)
    found = known.lists().values()
    _warn_of(known.broken())
    if as_json:
        print_json([{"name": each.name, "values": list(each.values), "path": each.path} for each in found])
        return
    rows = [
        (each.name, str(len(each.values)), one_line(", ".join(each.values))[:_SHOWN_CHARACTERS], str(each.path))
        for each in found
    ]
    print_columns(("name", "values", "which", "file"), rows)


def _warn_of(broken: "Mapping[Path, str]") -> None:
    for path, reason in broken.items():
        print_warning(f"`{path}` could not be read: {reason}")


def _pictures(found: "Explanation") -> "Iterator[tuple[int, ResolvedImageRequest]]":
    for index in range(found.resolved.count):
        yield index, found.resolved.for_image(index)


def _wording(index: int, image: "ResolvedImageRequest") -> tuple[str, str, str, str]:
    seed = image.seed if image.wildcard_seed is None else image.wildcard_seed
    return str(index), str(seed), one_line(image.prompt), one_line(image.negative_prompt)


def _rows(found: "Explanation") -> list[tuple[str, ...]]:
    """A line for each piece; what is as in the line above is left blank. A text that comes again is told once."""
    spans: dict[tuple[str, Any], list[str]] = {}
    for text in found.texts:
        first, last = text.first_step, text.last_step
        span = str(first) if first == last else f"{first}-{last}"
        spans.setdefault((_name(text, found), text.chunks), []).append(span)
    rows: list[tuple[str, ...]] = []
    for (name, chunks), steps in spans.items():
        cells = [name, ", ".join(steps if len(steps) <= _SHOWN_SPANS else [*steps[:_SHOWN_SPANS], "…"])]
        for index, chunk in enumerate(chunks):
            cells.append(str(index))
            for piece in chunk or [None]:
                rows.append((*cells, *(("0", "", "") if piece is None else _cells(piece))))
                cells = ["", "", ""]
            cells = ["", ""]
    return rows


def _cells(piece: "ExplainedPiece") -> tuple[str, str, str]:
    return str(piece.tokens), f"{piece.weight:.4g}", one_line(piece.text)


def _name(text: "ExplainedText", found: "Explanation") -> str:
    if text.part is None:
        return "negative"
    several = any(other.part for other in found.texts)
    share = f" x{text.share:g}" if several or text.share != 1 else ""
    return f"part {text.part}{share}" if several else f"prompt{share}"


def _entry(found: "Explanation") -> dict[str, Any]:
    resolved = found.resolved
    return {
        "dialect": resolved.dialect,
        "weighting": resolved.weighting,
        "steps": resolved.steps,
        "prompt": resolved.prompt,
        "negative_prompt": resolved.negative_prompt,
        "pictures": [
            {"seed": image.seed, "prompt": image.prompt, "negative_prompt": image.negative_prompt}
            for _, image in _pictures(found)
        ],
        "chunk_size": found.chunk_size,
        "texts": [
            {
                "part": text.part,
                "share": text.share,
                "first_step": text.first_step,
                "last_step": text.last_step,
                "chunks": [
                    [{"words": piece.text, "weight": piece.weight, "tokens": piece.tokens} for piece in chunk]
                    for chunk in text.chunks
                ],
            }
            for text in found.texts
        ],
        "adapters": [
            {"name": adapter.name, "weight": adapter.weight, "text_encoder_weight": adapter.text_encoder_weight}
            for adapter in found.adapters
        ],
        "missing": list(resolved.missing),
    }
