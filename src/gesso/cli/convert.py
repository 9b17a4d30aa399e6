"""`gesso models convert SRC DST`: a model as a folder, as one `.safetensors` file or as a `.ckpt`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gesso.cli import options
from gesso.cli.invocation import parts_from, settings_of
from gesso.cli.output import AsJson, print_columns, print_json, print_warning
from gesso.core.errors import UsageError
from gesso.core.units import gib

if TYPE_CHECKING:
    from gesso.core.settings import Settings
    from gesso.models.single_files.convert.convert import Converted, Progress


def convert(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="A model, by name, folder or file.")],
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="`….safetensors`, `….ckpt`, or a folder.", readable=False)
    ],
    dtype: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="float32, float16 or bfloat16; by itself as it is.", show_default=False),
    ] = None,
    part: options.Parts = None,
    as_json: AsJson = False,
) -> None:
    """Convert a model to another form. What is written is read back and compared before it gets its name."""
    from gesso.cli.progress import byte_bar
    from gesso.models.single_files.convert.convert import DTYPES

    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"`--dtype {dtype}` is no format of weights", hint=f"known: {', '.join(DTYPES)}")
    with byte_bar("converting") as progress:
        converted = _converted(
            source, destination, settings_of(context), dtype=dtype, parts=parts_from(part) or {}, progress=progress
        )
    if as_json:
        print_json(_entry(converted))
        return
    print_columns(
        ("file", "tensors", "size", "sha256"),
        [(str(file.path), f"{file.tensors:,}", gib(file.bytes), file.sha256) for file in converted.files],
    )
    if converted.left_out:
        print_warning(f"A single file has no place for {', '.join(converted.left_out)}: left out")


def _converted(
    source: str,
    destination: Path,
    settings: "Settings",
    *,
    dtype: str | None,
    parts: dict[str, str],
    progress: "Progress",
) -> "Converted":
    from gesso.cli.models import open_store
    from gesso.models.single_files.convert.convert import OutputForm, convert_file, convert_model, form_of

    store = open_store(settings)
    file = Path(os.path.expanduser(source))
    if file.is_file() and not store.knows(source) and not parts and form_of(destination) is not OutputForm.FOLDER:
        return convert_file(file, destination, dtype=dtype, progress=progress)
    return convert_model(
        store.find(source, parts), destination, dtype=dtype, cache_folder=settings.cache_folder, progress=progress
    )


def _entry(converted: "Converted") -> dict[str, object]:
    return {
        "path": converted.path,
        "form": converted.form,
        "files": [
            {"path": file.path, "bytes": file.bytes, "sha256": file.sha256, "tensors": file.tensors}
            for file in converted.files
        ],
        "left_out": converted.left_out,
    }
