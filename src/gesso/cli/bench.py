"""`gesso bench`: what sharing forwards is worth on this machine, with a model of one's own."""

from typing import TYPE_CHECKING, Annotated

import typer

from gesso.cli import options
from gesso.cli.invocation import settings_of
from gesso.cli.output import AsJson, one_line, print_columns, print_json
from gesso.cli.size import parsed_size
from gesso.core.errors import UsageError

if TYPE_CHECKING:
    from gesso.engine.bench.short import BenchReport

_PROMPT = "a red circle left of a blue star on a white background"
_STEPS = 8
_MOST_CLIENTS = 64
_MOST_SECONDS = 3600


def bench(
    context: typer.Context,
    model: options.Model = None,
    size: options.Size = None,
    steps: options.Steps = _STEPS,
    clients: Annotated[int, typer.Option(metavar="N", help="Pictures at the same time.")] = 4,
    seconds: Annotated[
        float, typer.Option(metavar="N", help="About how long to measure; loading comes on top.")
    ] = 45.0,
    as_json: AsJson = False,
) -> None:
    """Compare Gesso with plain diffusers on a model and this machine."""
    if not 1 <= clients <= _MOST_CLIENTS:
        raise UsageError(f"`--clients`: asked for {clients}", hint=f"1 to {_MOST_CLIENTS}")
    if not 0 < seconds <= _MOST_SECONDS:
        raise UsageError(f"`--seconds`: asked for {seconds:g}", hint=f"above 0, at most {_MOST_SECONDS}")
    width, height = parsed_size(size)
    settings = settings_of(context)

    from gesso.core.requests import ImageRequest
    from gesso.engine.bench.short import short_bench

    request = ImageRequest(prompt=_PROMPT, model=model, width=width, height=height, steps=steps, seed=1)
    report = short_bench(settings, request, clients=clients, seconds=seconds, tell=_tell)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _print(report)


def _tell(what: str) -> None:
    typer.echo(f"{one_line(what)} …", err=True)


def _print(report: "BenchReport") -> None:
    print(
        f"{one_line(report.model)}: {report.pipeline} on `{report.device}`, {report.precision}, "
        f"{report.threads} thread(s); {report.width}x{report.height}, {report.steps} steps, "
        f"guidance {report.guidance:g}; {report.rounds} round(s)"
    )
    print()
    print_columns(
        ("way", "seconds each", "pictures/s", "over diffusers", "waited, p95"),
        [
            (
                way.name,
                f"{way.seconds:.3f}",
                f"{way.per_second:.2f}",
                f"{way.over_diffusers:.2f} ({way.over_diffusers_low:.2f} to {way.over_diffusers_high:.2f})",
                f"{way.p95_seconds:.3f} s",
            )
            for way in (report.diffusers, report.alone, report.together)
        ],
    )
    print()
    ceiling = report.ceiling
    if ceiling is not None:
        print(
            f"The denoiser alone: a row costs {ceiling.gain:.2f} times less among {ceiling.rows_together} than among "
            f"{ceiling.rows_alone}; sharing can gain no more on this machine."
        )
    for note in report.notes:
        print(f"{note}.")
    if report.together.over_diffusers < 1:
        print("Sharing loses here: pictures one after another are faster.")
