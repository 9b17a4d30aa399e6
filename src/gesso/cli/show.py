"""`gesso show IMAGE`: what a picture says about how it was made."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gesso.cli.output import AsJson, one_line, print_facts, print_json, print_warning, visible
from gesso.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gesso.core.recipe import Recipe, Run
    from gesso.engine.foreign.values import ForeignRecipe
    from gesso.engine.pictures import ReadRecipe

Picture = Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture that a studio made.", readable=False)]

_GIVE = "give the file of a picture"


def show(image: Picture, as_json: AsJson = False) -> None:
    """Show the recipe that a picture carries."""
    check_picture(image)
    found = read_picture(image)
    recipe = found.recipe
    foreign = found.foreign if recipe is None else None
    if as_json:
        told = {"path": image, "parameters": found.parameters, "recipe": found.document, "problem": found.problem}
        print_json(told | ({} if foreign is None else {"foreign": _as_json(foreign)}))
        return
    if found.parameters is None and recipe is None and foreign is None:
        hint = "`--json` shows it as it stands" if found.document is not None else _GIVE
        raise InputError(f"`{image}` holds a recipe that is not understood", hint=hint)
    if found.parameters is not None:
        print(visible(found.parameters))
    if recipe is not None:
        print()
        print_facts(_facts(recipe))
        for warning in recipe.run.warnings:
            print(f"warning: {one_line(warning)}")
    if foreign is not None:
        if found.parameters is not None:
            print()
        _print_foreign(foreign)


def _print_foreign(recipe: "ForeignRecipe") -> None:
    """What became of each field of another program's recipe."""
    print_facts([("made by", recipe.made_by), *(("model", name) for name in _model_names(recipe))])
    carried = [(one.name, _became(one.fields, one.note)) for one in recipe.carried if one.fields]
    left_out = [(one.name, f"{one_line(one.value)}: {one.why}") for one in recipe.left_out]
    described = [(name, one_line(value)) for name, value in recipe.described]
    for title, facts in (("carried over", carried), ("not carried over", left_out), ("changes nothing", described)):
        if facts:
            print(f"\n{title}")
            print_facts([(visible(name), value) for name, value in facts], indent=2)


def _model_names(recipe: "ForeignRecipe") -> list[str]:
    model = recipe.model
    return [] if model is None else [" ".join(word for word in (model.name, model.hash_) if word)]


def _became(fields: "Mapping[str, Any]", note: str) -> str:
    values = ", ".join(f"{name}={_plain(value)}" for name, value in fields.items())
    return f"{one_line(values)}{f' ({note})' if note else ''}"


def _plain(value: Any) -> str:
    return repr(str(value) if isinstance(value, str) else value)


def _as_json(recipe: "ForeignRecipe") -> dict[str, Any]:
    return {
        "program": recipe.program,
        "version": recipe.version,
        "model": recipe.model and {"name": recipe.model.name, "hash": recipe.model.hash_},
        "request": recipe.fields,
        "carried": [asdict(one) for one in recipe.carried],
        "left_out": [asdict(one) for one in recipe.left_out],
        "described": dict(recipe.described),
    }


def check_picture(path: Path) -> None:
    """Raises `InputError` where there is no file to read a recipe from."""
    if not path.exists():
        raise InputError(f"There is no picture `{path}`")
    if not path.is_file():  # a pipe would be waited for, and `/dev/zero` read for ever
        raise InputError(f"`{path}` is not a picture but {'a folder' if path.is_dir() else 'no file'}", hint=_GIVE)


def read_picture(path: Path) -> "ReadRecipe":
    """What a picture says about how it was made. Warns where there is more than is understood.

    Raises:
        InputError: it says nothing, or is no picture.
    """
    from gesso.engine.pictures import read_recipe

    found = read_recipe(path)
    if found.recipe is None and found.parameters is None and found.problem is None and found.foreign is None:
        raise InputError(f"`{path}` does not say how it was made", hint="other programs may have removed its metadata")
    if found.problem is not None:
        print_warning(f"`{path}`: {found.problem}")
    return found


def _facts(recipe: "Recipe") -> list[tuple[str, str]]:
    resolved = recipe.resolved
    asked = recipe.asked.model_dump(mode="json", exclude_defaults=True)
    return [
        ("asked", ", ".join(f"{name}={value!r}" for name, value in asked.items())),
        ("model", f"{resolved.model} ({resolved.family}, {resolved.pipeline})"),
        ("sampler", f"{resolved.sampler}, schedule {resolved.schedule}, {resolved.steps} steps"),
        ("guidance", f"{resolved.guidance:g}, rescale {resolved.guidance_rescale:g}"),
        ("seed", f"{recipe.run.seed} (picture {recipe.run.index} of its request)"),
        *_vae_facts(recipe),
        *_adapter_facts(recipe),
        *(("embedding", f"{report.name}: {report.told()}") for report in recipe.run.embeddings),
        ("precision", f"{resolved.precision}, VAE {resolved.vae_precision}, {'exact' if resolved.exact else 'fast'}"),
        *_run_facts(recipe.run),
    ]


def _vae_facts(recipe: "Recipe") -> list[tuple[str, str]]:
    """Where it is not the model's own, and where it was not enough."""
    chosen = {"decoder": recipe.resolved.vae_decoder, "encoder": recipe.resolved.vae_encoder}
    facts = [(half, f"{vae.name}, {vae.precision}") for half, vae in chosen.items() if vae is not None]
    redone = recipe.run.redone_in_float32
    return facts + ([("overflowed", f"{', '.join(redone)}: done again in float32")] if redone else [])


def _adapter_facts(recipe: "Recipe") -> list[tuple[str, str]]:
    """Each adapter, and what became of its keys; an older recipe may not say the latter."""
    from gesso.core.adapter_text import adapter_text

    facts = [("adapter", adapter_text(adapter)) for adapter in recipe.resolved.adapters]
    for index, report in enumerate(recipe.run.adapters[: len(facts)]):
        facts[index] = ("adapter", f"{facts[index][1]}: {report.told()}")
    return facts


def _run_facts(run: "Run") -> list[tuple[str, str]]:
    fingerprint, cost = run.fingerprint, run.metering
    versions = ", ".join(f"{name} {version}" for name, version in fingerprint.versions.items())
    return [
        ("made", run.created),
        ("machine", f"{fingerprint.device}, {fingerprint.threads} thread(s), backend {fingerprint.backend}"),
        ("versions", versions),
        ("weights", fingerprint.weights),
        ("cost", f"{cost.device_seconds:.2f} device-seconds, {cost.rows} rows in {cost.forwards} forwards"),
        ("trace", f"{len(run.trace)} component calls"),
        ("pixels", f"sha256:{run.pixels_sha256}"),
    ]
