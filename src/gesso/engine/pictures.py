"""Pictures as files: encoded with their recipe, saved, and read back."""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ValidationError

from gesso.core.errors import InputError
from gesso.core.recipe import SCHEMA, Recipe
from gesso.core.requests import OutputFormat
from gesso.core.settings import Settings
from gesso.engine import embedding, infotext
from gesso.engine.foreign.read import ForeignTexts, read_texts
from gesso.engine.foreign.values import ForeignRecipe
from gesso.engine.naming import Destination, destination, sidecar_path, write_picture
from gesso.engine.picture_files import GIVE, first_line, open_picture

__all__ = [
    "Destination",
    "ReadRecipe",
    "compared_pixels",
    "destination",
    "encode",
    "pixels_sha256",
    "read_recipe",
    "save",
    "sidecar",
    "sidecar_path",
]

logger = logging.getLogger(__name__)

JPEG_QUALITY = 95
JPEG_SUBSAMPLING = "4:4:4"
"""Colour at full resolution: red shapes on a white ground keep their edges."""
WEBP_QUALITY = 95
"""Lossy; whoever wants every bit asks for PNG."""

_FORMATS = {"PNG": OutputFormat.PNG, "JPEG": OutputFormat.JPEG, "MPO": OutputFormat.JPEG, "WEBP": OutputFormat.WEBP}


@dataclass(frozen=True, kw_only=True)
class ReadRecipe:
    """What a picture says about how it was made.

    Attributes:
        recipe: as Gesso wrote it, if this version understands it.
        parameters: the text that other tools read and write.
        graph: ComfyUI's graph of nodes, as JSON.
        workflow: its drawing of that, as JSON.
        document: the JSON of the recipe as it stands in the file, also if it is not understood.
        problem: why there is a document, or should be one, and no recipe.
    """

    recipe: Recipe | None = None
    parameters: str | None = None
    graph: str | None = None
    workflow: str | None = None
    document: Any = None
    problem: str | None = None

    @cached_property
    def foreign(self) -> ForeignRecipe | None:
        """The recipe of another program; `None` if there is none that is understood."""
        return read_texts(ForeignTexts(parameters=self.parameters, graph=self.graph, workflow=self.workflow))


def encode(image: Image.Image, recipe: Recipe, output_format: OutputFormat) -> bytes:
    """The bytes of a picture file that carries its recipe; see `sidecar` for what a JPEG cannot hold."""
    parameters, document = infotext.write(recipe), recipe.to_json()
    match output_format:
        case OutputFormat.PNG:
            return _encoded(image, output_format, pnginfo=embedding.png_info(parameters, document))
        case OutputFormat.WEBP:
            return _encoded(image, output_format, exif=embedding.exif(parameters, document))
        case OutputFormat.JPEG:
            exif = embedding.exif(parameters, document)
            if len(exif) > embedding.JPEG_EXIF_BYTES:
                exif = embedding.exif_beside(parameters, _sha256(document.encode()))
            return _encoded(image, output_format, exif=exif)


def encode_plain(image: Image.Image, output_format: OutputFormat) -> bytes:
    """The bytes of a picture file that says nothing of how it was made."""
    return _encoded(image, output_format)


def sidecar(recipe: Recipe, output_format: OutputFormat) -> bytes | None:
    """What stands in the file beside the picture; `None` if the recipe fits into the picture itself."""
    document = recipe.to_json()
    if output_format is not OutputFormat.JPEG:
        return None
    fits = len(embedding.exif(infotext.write(recipe), document)) <= embedding.JPEG_EXIF_BYTES
    return None if fits else document.encode()


def pixels_sha256(image: Image.Image) -> str:
    """Of the RGB bytes, row by row."""
    return _sha256(image.convert("RGB").tobytes())


def compared_pixels(image: Image.Image, output_format: OutputFormat, path: Path | None = None) -> Image.Image:
    """What a file of that format would show of `image`: lossy formats do not give back what went in.

    Args:
        output_format: used without `path`.
        path: the file that `image` will be compared with; its own format counts, whatever it was asked to be.
    """
    if path is not None:
        with open_picture(path) as file:
            output_format = _FORMATS[file.format or "PNG"]
    if output_format is OutputFormat.PNG:
        return image.convert("RGB")
    return Image.open(io.BytesIO(_encoded(image, output_format))).convert("RGB")


def save(
    images: Sequence[Image.Image], recipes: Sequence[Recipe], *, out: Path | None = None, settings: Settings
) -> list[Path]:
    """Write each picture with its recipe and return where they are, in order.

    Args:
        out: a file if it ends in the suffix of a picture, which then decides the format and is overwritten; otherwise
            a folder, in which pictures are named by the last part of `settings.output_pattern`. By default
            `settings.output_folder` with the whole pattern.

    Raises:
        InputError: several pictures and one file name, or a suffix that does not fit the format that was asked for.
        StorageError: a picture could not be written. Those before it are whole; of it nothing is left behind.
    """
    asked = {recipe.asked.output_format for recipe in recipes} - {None}
    place = destination(out, settings, count=len(images), asked=next(iter(asked), None))
    paths: list[Path] = []
    for image, recipe in zip(images, recipes, strict=True):
        output_format = place.output_format or recipe.resolved.output_format
        resolved = recipe.resolved.model_copy(update={"output_format": output_format})
        recipe = recipe.model_copy(update={"resolved": resolved})
        beside = sidecar(recipe, output_format)
        path = write_picture(place, recipe, encode(image, recipe, output_format), beside)
        if beside is not None:
            logger.warning("The recipe of `%s` is too long for a JPEG, it is beside it: `%s`", path, sidecar_path(path))
        paths.append(path)
    return paths


def read_recipe(path: Path) -> ReadRecipe:
    """What the picture at `path` says about how it was made. Nothing of it is ever executed.

    Raises:
        InputError: the file is missing, is no PNG, JPEG or WebP picture, is damaged, or claims more pixels than are
            read (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    with open_picture(path) as image:
        try:
            image.load()
        except embedding.UNREADABLE as error:
            raise InputError(f"`{path}` is a damaged picture: {_said(error)}", hint=GIVE) from error
        try:
            found = embedding.found_in(image)
        except embedding.UNREADABLE as error:
            return ReadRecipe(problem=f"its metadata are damaged: {_said(error)}")
    if found.beside is not None:
        return _read_beside(path, found.parameters, found.beside)
    if found.recipe_json is None:
        return _of_others(found)
    return _understood(found.recipe_json, found.parameters)


def _of_others(found: embedding.Found) -> ReadRecipe:
    parameters = found.parameters if found.parameters and found.parameters.strip() else None
    read = ReadRecipe(parameters=parameters, graph=found.graph, workflow=found.workflow)
    if parameters is None or read.foreign is not None:
        return read
    return replace(read, problem="its `parameters` are JSON, and no recipe that is understood")


def _understood(recipe_json: str, parameters: str | None) -> ReadRecipe:
    try:
        document = json.loads(recipe_json)
    except (ValueError, RecursionError) as error:
        return ReadRecipe(parameters=parameters, problem=f"its recipe is not JSON: {_said(error)}")
    schema = document.get("schema") if isinstance(document, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        problem = f"its recipe has schema {schema}, this version of Gesso reads up to {SCHEMA}: install a newer one"
        return ReadRecipe(parameters=parameters, document=document, problem=problem)
    try:
        recipe = Recipe.model_validate_json(recipe_json)
    except (ValidationError, RecursionError) as error:
        problem = f"its recipe is not understood: {_said(error)}"
        return ReadRecipe(parameters=parameters, document=document, problem=problem)
    return ReadRecipe(recipe=recipe, parameters=parameters, document=document)


def _read_beside(path: Path, parameters: str | None, digest: str) -> ReadRecipe:
    beside = sidecar_path(path)
    try:
        document = beside.read_bytes()
    except OSError as error:
        problem = f"its recipe is in `{beside.name}`, which could not be read: {error.strerror}"
        return ReadRecipe(parameters=parameters, problem=problem)
    if _sha256(document) != digest:
        problem = f"`{beside.name}` was changed, or is the recipe of another picture"
        return ReadRecipe(parameters=parameters, problem=problem)
    read = _understood(document.decode("utf-8", "replace"), parameters)
    if read.recipe is not None and parameters is None:
        return ReadRecipe(recipe=read.recipe, parameters=infotext.write(read.recipe), document=read.document)
    return read


def _encoded(image: Image.Image, output_format: OutputFormat, **metadata: Any) -> bytes:
    options: dict[OutputFormat, dict[str, Any]] = {
        OutputFormat.PNG: {},
        OutputFormat.JPEG: {"quality": JPEG_QUALITY, "subsampling": JPEG_SUBSAMPLING, "optimize": True},
        OutputFormat.WEBP: {"quality": WEBP_QUALITY, "method": 4},
    }
    encoded = io.BytesIO()
    image.convert("RGB").save(encoded, output_format.name, **options[output_format], **metadata)
    return encoded.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _said(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"`{'.'.join(str(part) for part in first['loc'])}`: {first['msg']}"
    return first_line(error)
