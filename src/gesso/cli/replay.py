"""`gesso replay IMAGE`: make a picture again, exactly as it ran, and tell whether it is the same."""

import typer

from gesso.cli.invocation import settings_of
from gesso.cli.output import AsJson, print_json
from gesso.cli.show import Picture, check_picture
from gesso.core.errors import ExitCode


def replay(context: typer.Context, image: Picture, as_json: AsJson = False) -> None:
    """Make a picture again from its trace and compare, call by call.

    Says identical, or the first component call and step that differ, or what makes the two runs not comparable.
    The exit code is 0 only for identical ones.
    """
    check_picture(image)
    settings = settings_of(context)
    from gesso.engine.replay import replay as run_again
    from gesso.engine.studio import Studio

    with Studio(settings) as studio:
        report = run_again(studio, image)
    if as_json:
        print_json({"path": image, "verdict": report.verdict, "lines": list(report.lines)})
    else:
        print(report.verdict)
        for line in report.lines:
            print(f"  {line}")
    if report.verdict != "identical":
        raise typer.Exit(ExitCode.INPUT)
