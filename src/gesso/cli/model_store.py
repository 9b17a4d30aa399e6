"""`gesso models scan|verify|remove|link|unlink`: what is done to the store as a whole, and to what is in it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesso.cli.invocation import settings_of
from gesso.cli.listing import print_links, warn_of_folders
from gesso.cli.models import open_store
from gesso.cli.output import AsJson, print_columns, print_facts, print_json, print_warning
from gesso.core.errors import CancelledError, ExitCode, InputError, UsageError
from gesso.core.units import gib

if TYPE_CHECKING:
    from gesso.models.index.verifying import Verification
    from gesso.models.store import ModelStore

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names from the list.")]
FolderToLink = Annotated[
    Path | None,
    typer.Argument(
        metavar="FOLDER", help="A folder of another studio, a list of folders, a cache, or any folder.", readable=False
    ),
]


def scan(
    context: typer.Context,
    with_hashes: Annotated[bool, typer.Option("--hash", help="Compute the hashes that are not known yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look through all model folders; say what is new, changed or gone, and which folders could not be searched."""
    from gesso.cli.progress import byte_bar

    store = open_store(settings_of(context))
    report = store.scan()
    hashed = 0
    if with_hashes:
        waiting = [file for file in report.files if file.sha256 is None and file.facts.problem is None]
        with byte_bar("reading", sum(file.size_bytes for file in waiting)) as told:
            for file in waiting:
                store.catalogue.digest(file, told)
                hashed += 1
    models, broken = len(store.list()), len(store.broken())
    pending = sum(file.sha256 is None for file in report.files) - hashed
    if as_json:
        print_json(
            {
                "models": models,
                "files": len(report.files),
                "new": report.new,
                "read_again": report.read_again,
                "gone": report.gone,
                "hashed": hashed,
                "pending": pending,
                "broken": broken + sum(file.facts.problem is not None for file in report.files),
                "misplaced": sum(file.misplaced is not None for file in report.files),
                "problems": [{"path": path, "problem": problem} for path, problem in report.problems],
                "seconds": round(report.seconds, 3),
            }
        )
        return
    print_facts(
        [
            ("models", f"{models} folders, {len(report.files)} files"),
            ("files", f"{report.new} new, {report.read_again} read again, {report.gone} gone"),
            ("hashes", f"{hashed} computed, {pending} pending"),
            ("time", f"{report.seconds:.2f} s"),
        ]
    )
    warn_of_folders(report.problems)


def verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Names from the list; by itself everything.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read models whole, and compare headers, sizes and every byte with what is known. Exit code 3 if any differs."""
    store = open_store(settings_of(context))
    found = _verified(store, names or [])
    if as_json:
        print_json([_verification(result) for result in found])
    else:
        print_columns(
            ("name", "verdict", "hash"),
            [(each.name, _verdict(each), (each.sha256 or "")[:10]) for each in found],
        )
        for each in found:
            for problem in each.problems:
                print_warning(f"`{each.name}`: {problem} ({each.path})")
    if any(each.problems for each in found):
        raise typer.Exit(ExitCode.INPUT)


def remove(
    context: typer.Context,
    names: Names,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove models out of Gesso's own model folders, with what lies beside them to describe them."""
    from gesso.models.removal import plan_removal

    store = open_store(settings_of(context))
    removals = [plan_removal(store, name) for name in names]
    total = sum(removal.freed_bytes for removal in removals)
    if not yes:
        _ask([path for removal in removals for path in removal.paths], total)
    for removal in removals:
        removal.carry_out()
    store.scan()  # so that the index forgets them
    if as_json:
        print_json(
            [{"name": removal.name, "paths": removal.paths, "freed_bytes": removal.freed_bytes} for removal in removals]
        )
        return
    for removal in removals:
        print(f"removed `{removal.name}`, {gib(removal.freed_bytes)} ({removal.freed_bytes} bytes) freed")


def link(context: typer.Context, folder: FolderToLink = None, as_json: AsJson = False) -> None:
    """Let Gesso use the models in a folder of another studio, in place. Without FOLDER: show what is linked."""
    from gesso.core.links import write_links
    from gesso.models.places import recognise_link

    settings = settings_of(context)
    if folder is not None:
        folder = Path(os.path.abspath(os.path.expanduser(folder)))
        recognised = recognise_link(folder)
        for missing in recognised.missing:
            print_warning(f"`{folder}` names `{missing}`, which is not there")
        file, linked = _links()
        if folder not in linked:
            write_links(file, [*linked, folder])
        settings = settings_of(context)
        if folder not in settings.linked_folders:
            raise UsageError(
                "The setting `linked_folders` is set elsewhere, and so the link that was made has no effect",
                hint=f"take it out of the settings files and the environment, or add `{folder}` there",
            )
    store = open_store(settings)
    report = store.scan()
    shown = [link for link in store.linked() if folder is None or link.folder == folder]
    if as_json:
        print_json(
            [
                {
                    "folder": link.folder,
                    "layout": link.layout,
                    "places": [place.root for place in link.places],
                    "missing": link.missing,
                    "files": sum(file.found.place.folder == link.folder for file in report.files),
                }
                for link in shown
            ]
        )
        return
    print_links(shown, report.files)
    warn_of_folders(report.problems)


def unlink(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="One that is linked.", readable=False)],
    as_json: AsJson = False,
) -> None:
    """Forget a linked folder. Nothing in it is touched."""
    from gesso.core.links import write_links

    file, linked = _links()
    folder = Path(os.path.abspath(os.path.expanduser(folder)))
    if folder not in linked:
        known = ", ".join(f"`{each}`" for each in linked) or "none"
        raise InputError(f"`{folder}` is not linked", hint=f"linked: {known}")
    write_links(file, [each for each in linked if each != folder])
    if as_json:
        print_json({"unlinked": folder})
    else:
        print(f"unlinked `{folder}`; nothing in it was touched")


def _links() -> tuple[Path, tuple[Path, ...]]:
    from gesso.core.links import LINKS_FILE, read_links
    from gesso.core.settings import user_file

    file = user_file().parent / LINKS_FILE
    return file, read_links(file)


def _verified(store: "ModelStore", names: list[str]) -> "list[Verification]":
    from gesso.cli.progress import byte_bar
    from gesso.models.folder import ModelDescription
    from gesso.models.index.verifying import Verification, verify_file, verify_folder

    models = [store.find_any(name) for name in names]
    found: list[Verification] = []
    if not names:
        models = [*store.list(), *store.files()]
        found = [Verification(name=each.name, path=each.path, problems=(each.reason,)) for each in store.broken()]
    with byte_bar("reading", sum(_bytes(model) for model in models)) as told:
        for model in models:
            if isinstance(model, ModelDescription):
                found.append(verify_folder(store.catalogue, model, told))
            else:
                found.append(verify_file(store.catalogue, model, told))
    return found


def _bytes(model: Any) -> int:
    return model.weight_bytes if hasattr(model, "weight_bytes") else model.size_bytes


def _verdict(result: "Verification") -> str:
    if result.problems:
        return "changed or damaged"
    return "sound" if result.compared else "sound, and known from now on"


def _verification(result: "Verification") -> dict[str, Any]:
    return {
        "name": result.name,
        "path": result.path,
        "sound": not result.problems,
        "problems": result.problems,
        "sha256": result.sha256,
        "compared_with": result.compared,
    }


def _ask(paths: list[Path], freed_bytes: int) -> None:
    """Raises `CancelledError` if the person does not want it, `UsageError` if there is none to ask."""
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked whether to remove it", hint="`--yes` removes without asking")
    for path in paths:
        print(path, file=sys.stderr)
    if not typer.confirm(f"Remove these, {gib(freed_bytes)}?", err=True):
        raise CancelledError("Nothing was removed")
