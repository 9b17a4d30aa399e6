"""`gesso prompt explain`: how a prompt is read."""

from typing import TYPE_CHECKING, Any

import typer

from gesso.cli import options
from gesso.cli.commands import Commands
from gesso.cli.invocation import settings_of
from gesso.cli.output import AsJson, one_line, print_columns, print_json, print_warning
from gesso.core.errors import UsageError

if TYPE_CHECKING:
    from gesso.engine.explaining import ExplainedPiece, ExplainedText, Explanation

_SHOWN_SPANS = 3

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
    model: options.Model = None,
    steps: options.Steps = None,
    as_json: AsJson = False,
) -> None:
    """Show which words are read at which steps, in which chunk and at which weight."""
    if prompt is None:
        raise UsageError("There is no prompt", hint='say which: `gesso prompt explain "a (red:1.2) circle"`')
    asked = {
        "prompt": " ".join(prompt),
        "negative_prompt": negative,
        "dialect": dialect,
        "weighting": weighting,
        "model": model,
        "steps": steps,
    }
    settings = settings_of(context)

    from gesso.cli.asking import request_from
    from gesso.engine.studio import Studio

    request = request_from(None, {name: value for name, value in asked.items() if value is not None})
    with Studio(settings) as studio:
        found = studio.explain(request)
    for tag in found.resolved.missing:
        print_warning(f"`{tag}` is left out: there is no such network here")
    if as_json:
        print_json(_entry(found))
        return
    print_columns(("text", "steps", "chunk", "tokens", "weight", "words"), _rows(found))
    for adapter in found.adapters:
        text, denoiser = adapter.text_encoder_weight, adapter.weight
        print(f"adapter {adapter.name}: {denoiser:g} in the denoiser, {text:g} in the text encoders")
    size = "" if found.chunk_size is None else f", chunks of {found.chunk_size} tokens"
    print(f"dialect {found.resolved.dialect}, weighting {found.resolved.weighting}{size}")


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
