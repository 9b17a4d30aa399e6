"""The commands of `gesso` and the options that all of them share."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from gesso import __version__
from gesso.cli import (
    bench,
    doctor,
    edit,
    generate,
    model_store,
    models,
    primer,
    prompt,
    replay,
    samplers,
    score,
    show,
    upscale,
)
from gesso.cli.commands import Commands
from gesso.cli.invocation import Invocation, pairs
from gesso.core.errors import UsageError

app = typer.Typer(
    cls=Commands,
    help="Gesso, a local studio for generated images.",
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command()(generate.generate)
app.command()(edit.edit)
app.command()(edit.inpaint)
app.command()(edit.outpaint)
app.command()(upscale.upscale)
app.command()(samplers.samplers)
for command in (
    model_store.scan,
    model_store.verify,
    model_store.remove,
    model_store.link,
    model_store.unlink,
):
    models.app.command()(command)
app.add_typer(models.app, name="models")
app.command()(show.show)
app.command()(replay.replay)
app.command()(score.score)
app.add_typer(prompt.app, name="prompt")
app.add_typer(primer.app, name="primer")
app.command()(doctor.doctor)
app.command()(bench.bench)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"gesso {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def gesso(
    context: typer.Context,
    model_folder: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Search this folder for models; may be repeated.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads that a network computes with.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Any other setting, for this call only; may be repeated.", show_default=False
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        return
    flags: dict[str, Any] = pairs("--setting", setting)
    if model_folder:
        missing = next((folder for folder in model_folder if not os.path.isdir(os.path.expanduser(folder))), None)
        if missing is not None:
            raise UsageError(
                f"`--model-folder`: there is no folder `{missing}`", hint="give a folder that holds models"
            )
        flags["model_folders"] = tuple(model_folder)
    if threads is not None:
        flags["threads"] = threads
    context.obj = Invocation(flags=flags)
