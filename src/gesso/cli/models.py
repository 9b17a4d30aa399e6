"""`gesso models`: which models are on this machine, and what is in them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesso.cli.bases import bases
from gesso.cli.commands import Commands
from gesso.cli.convert import convert
from gesso.cli.invocation import settings_of
from gesso.cli.listing import PENDING, chosen, entries, model_entry, print_entries, print_links, warn_of_folders
from gesso.cli.output import AsJson, print_columns, print_facts, print_json
from gesso.cli.pull import pull
from gesso.cli.weights import show_weights_file
from gesso.core.units import gib

if TYPE_CHECKING:
    from gesso.core.settings import Settings
    from gesso.models.store import ModelStore

app = typer.Typer(cls=Commands, help="List, show, fetch and convert models.", no_args_is_help=False)
app.command()(bases)
app.command()(convert)
app.command()(pull)


@app.command("list")
def list_models(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Only those with this in their name, title or trained words.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only of this kind: pipeline, checkpoint, lora, vae, …")
    ] = None,
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of, or fitting, this family: sd1, sdxl, flux1, …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the models and weight files in the model folders, the linked ones and the hub's cache, and the primer."""
    settings = settings_of(context)
    store = open_store(settings)
    report = store.scan()
    found = chosen(list(entries(store, settings, report.files)), kind=kind, family=family, text=text)
    if as_json:
        print_json(found)
        return
    print_entries(found)
    if links := store.linked():
        print()
        print_links(links, report.files)
    warn_of_folders(report.problems)


@app.command()
def show(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name from the list, a folder, a hub id, a hash, or a file.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show one model: its family, where it lies, its components and their sizes. Of a file: what it is, and why."""
    from gesso.models.folder import ModelDescription

    settings = settings_of(context)
    store = open_store(settings)
    file = Path(os.path.expanduser(name))  # which leaves `~` of nobody alone
    if _is_file(file) and not store.knows(name):
        show_weights_file(file, as_json=as_json)
        return
    model = store.find_any(name)
    if not isinstance(model, ModelDescription):
        show_weights_file(model.path, as_json=as_json, indexed=model)
        return
    entry = model_entry(model, settings)
    if as_json:
        print_json(entry)
        return
    facts = [
        ("name", model.name),
        ("family", entry["family"]),
        ("pipeline", model.pipeline_class),
        ("scheduler", model.scheduler_class or "none"),
        ("path", str(model.path)),
        ("size", "{}x{} px, in multiples of {}".format(*model.default_size_px, model.size_multiple_px)),
        ("weights", gib(model.weight_bytes)),
        ("sha256", entry["sha256"] or PENDING),
        ("licence", entry["license"] or ""),
        ("words", ", ".join(entry["trained_words"])),
    ]
    print_facts([(about, told) for about, told in facts if told])
    print()
    print_columns(
        ("component", "class", "role", "format", "weights"),
        [
            (part.name, part.class_name, part.role or "", part.dtype or "", gib(part.weight_bytes))
            for part in model.components.values()
        ],
    )


@app.command()
def families(as_json: AsJson = False) -> None:
    """List the pipeline classes that were tried, and which of their networks share forwards with other pictures."""
    entries = tried_families()
    if as_json:
        print_json(entries)
        return
    print_columns(
        ("title", "family", "pipeline", "runs alone", "sizes", "guidance", "negative"),
        [
            (
                entry["title"],
                entry["family"] or "other",
                entry["pipeline"],
                ", ".join(network["name"] for network in entry["networks"] if runs_alone(network)) or "nothing",
                f"{entry['size_multiple_px']} px",
                entry["guidance"],
                "yes" if entry["negative_prompt"] else "no",
            )
            for entry in entries
        ],
    )


def runs_alone(network: Mapping[str, Any]) -> bool:
    """Whether a network of `tried_families` never shares for want of data. Autoencoders do not share, but by choice."""
    return not network["merges"] and not network["one_by_one"]


def tried_families() -> list[dict[str, Any]]:
    """What `gesso models families` prints: one entry for each pipeline class, first-class families first."""
    from gesso.components.layouts import FORWARD, LAYOUTS
    from gesso.models.verified import VERIFIED

    return [
        {
            "title": record.title,
            "pipeline": record.pipeline,
            "family": record.family,
            "prompt_read_by": "engine" if record.family else "pipeline",
            "networks": [
                {
                    "name": name,
                    "class": class_name,
                    "merges": FORWARD in LAYOUTS.get(class_name, ()) and name not in record.alone,
                    "one_by_one": class_name in LAYOUTS and FORWARD not in LAYOUTS[class_name],
                }
                for name, class_name in record.networks.items()
            ],
            "size_multiple_px": record.size_multiple_px,
            "guidance": record.guidance,
            "negative_prompt": record.negative_prompt,
            "verified": "thin random weights, CPU",
        }
        for record in VERIFIED.values()
    ]


def open_store(settings: "Settings") -> "ModelStore":
    """The models that these settings see, the primer among them."""
    from gesso.models.store import ModelStore
    from gesso.primer import weights_folder

    return ModelStore(settings, bundled={"primer": weights_folder()})


def _is_file(path: Path) -> bool:
    """Anything that is there and no folder."""
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # the store says what is wrong with it
        return False
