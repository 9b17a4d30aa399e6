"""`gesso doctor`: what this installation has, what it lacks, and how to get it."""

from typing import Annotated, Any

import typer

from gesso.cli.invocation import settings_of
from gesso.cli.output import AsJson, print_facts, print_json
from gesso.core.errors import ExitCode


def doctor(
    context: typer.Context,
    strict: Annotated[bool, typer.Option("--strict", help="Fail where anything is wrong.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at devices, versions, extras, threads, settings, models and plugins, and say what is wrong."""
    settings = settings_of(context)
    from gesso.cli.examination import examine

    found = examine(settings)
    if as_json:
        print_json(found.as_dict())
    else:
        for title, facts in found.sections.items():
            print(title)
            print_facts([(name, _text(value)) for name, value in facts.items()] or [("none", "")], indent=2)
            print()
        for problem in found.problems:
            print(f"{'!!! ' if problem.loud else 'problem: '}{problem.what}")
            print(f"  hint: {problem.hint}")
        print(f"{len(found.problems)} problem(s)" if found.problems else "nothing is wrong")
    if strict and found.problems:
        raise typer.Exit(ExitCode.RESOURCES)


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(str(item) for item in value) or "-"
        case dict():
            return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "-"
        case _:
            return str(value)
