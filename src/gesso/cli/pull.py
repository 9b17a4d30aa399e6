"""`gesso models pull`: fetch a model, after saying what it is and how large."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesso.cli.invocation import settings_of
from gesso.cli.output import AsJson, one_line, print_json, print_warning
from gesso.core.errors import CancelledError, NotHereError, UsageError
from gesso.core.units import gib

if TYPE_CHECKING:
    from gesso.core.settings import Settings
    from gesso.models.pulling.plan import PullPlan
    from gesso.models.pulling.pull import Pulled

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Fetch without asking.")]


def pull(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="A name from `gesso models bases`, a hub id, an https link, or civitai:ID."
        ),
    ],
    yes: Yes = False,
    into: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where it goes; else the first model folder.", show_default=False),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit on the hub.", show_default=False)
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Weights of this name on the hub, for example fp16.", show_default=False),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="What a single file must have.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a model from the Hugging Face hub, CivitAI or a link. What was interrupted goes on where it stopped."""
    settings = settings_of(context)
    if (cached := _cached(what, settings)) is not None and (into, revision, variant, sha256) == (None,) * 4:
        print_warning(f"`{what}` is here already")
        print_json({"path": cached, "already": True}) if as_json else print(cached)
        return
    pulled = _pull(what, settings, yes=yes, into=into, revision=revision, variant=variant, sha256=sha256)
    if pulled.already:
        print_warning(f"`{pulled.plan.name}` is here already")
    if as_json:
        print_json(_entry(pulled))
    else:
        print(pulled.path)


def fetch_missing(missing: NotHereError, settings: "Settings", *, yes: bool) -> Path:
    """Fetch a model that a request named and that is not here, if the person at the terminal wants it.

    Raises:
        NotHereError: nobody can be asked, and nobody has agreed before.
    """
    if not (yes or _somebody_is_there()):
        raise missing
    print_warning(f"`{missing.name}` is not on this machine")
    return _pull(missing.what, settings, yes=yes).path


def _pull(what: str, settings: "Settings", *, yes: bool, into: Path | None = None, **arguments: str | None) -> "Pulled":
    _check_not_offline(what)
    from gesso.cli.progress import byte_bar
    from gesso.models.pulling.pull import Puller

    with Puller(settings, into=into) as puller:
        plan = puller.plan(what, **arguments)
        here = puller.here(plan)
        if here is None:
            _tell(plan, puller.into)
            _agree(what, plan, yes=yes)
        size = plan.size_bytes if plan.size_known else None
        with byte_bar("fetching", size, shown=here is None) as progress:
            return puller.fetch(plan, progress)


def _cached(what: str, settings: "Settings") -> Path | None:
    """Where a pipeline of the hub is already, also in the hub's own cache; `None` if it is not, or not whole."""
    from gesso.cli.models import open_store
    from gesso.core.errors import GessoError
    from gesso.models.bases.registry import base_named

    base = base_named(what)
    if base is None and what.count("/") != 1:
        return None
    try:
        return open_store(settings).find(what).path
    except GessoError:
        return None


def _check_not_offline(what: str) -> None:
    from gesso.cli.boundary import is_offline_by_choice

    if is_offline_by_choice():
        raise UsageError(
            f"`{what.partition('?')[0]}` cannot be fetched: `HF_HUB_OFFLINE` is `{os.environ['HF_HUB_OFFLINE']}`",
            hint="unset it to fetch something",
        )


def _tell(plan: "PullPlan", into: Path) -> None:
    """On stderr, what would come: stdout is for what did."""
    origin = plan.origin
    size = gib(plan.size_bytes) if plan.size_known else "of unknown size"
    where = f" ({origin.licence_url})" if origin.licence_url else ""
    licence = origin.licence or "none is named"
    facts = [
        ("licence", f"{licence}{where}{', gated' if origin.gated else ''}"),
        ("into", str(into / plan.name)),
        *(("note", note) for note in plan.notes),
    ]
    files = "1 file" if len(plan.files) == 1 else f"{len(plan.files)} files"
    lines = [one_line(f"{plan.name}: {size} in {files}, from {origin.url}")]
    lines += [f"  {name}: {one_line(value)}" for name, value in facts]
    print("\n".join(lines), file=sys.stderr)


def _agree(what: str, plan: "PullPlan", *, yes: bool) -> None:
    if yes:
        return
    if not _somebody_is_there():
        licence = plan.origin.licence or "a licence that is not named"
        raise UsageError(
            f"Nobody is here to agree to {gib(plan.size_bytes)} under {licence}",
            hint=f"`gesso models pull {what.partition('?')[0]} --yes` agrees",
        )
    if not typer.confirm("Fetch it?", err=True):
        raise CancelledError("Nothing was fetched")


def _somebody_is_there() -> bool:
    """Whether a person reads stderr and can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _entry(pulled: "Pulled") -> dict[str, Any]:
    origin = pulled.plan.origin
    return {
        "name": pulled.plan.name,
        "path": pulled.path,
        "already": pulled.already,
        "bytes": pulled.plan.size_bytes,
        "files": [file.path for file in pulled.plan.files],
        "url": origin.url,
        "hub_id": origin.hub_id,
        "revision": origin.revision,
        "licence": origin.licence,
        "gated": origin.gated,
        "trained_words": origin.trained_words,
        "notes": pulled.plan.notes,
    }
