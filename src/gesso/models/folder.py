"""What is in a diffusers folder, found out without torch and in milliseconds.

`model_index.json` names the pipeline's class and its components; each component has a folder of its own with a config
and, if it is a network, weights. `describe` reads all of it but the weights, `verify` checks the weight files.
"""

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import lcm
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from gesso.core.errors import ModelError
from gesso.models import sizes
from gesso.models.families import Family, LatentRgb, Role, Sampling, family_for, role_for
from gesso.models.headers.read import read_weights_header
from gesso.models.verified import VERIFIED
from gesso.models.views import FileView
from gesso.models.weight_files import WeightFiles, find_weight_files
from gesso.models.weights import DTYPE_NAMES, Header, read_header, verify_file, verify_shards

INDEX_FILE = "model_index.json"
PREVIEW_FILE = "preview.json"
DEFAULTS_FILE = "defaults.json"
AGAIN = "download or copy the whole model folder again"
OPTIONAL = frozenset({"safety_checker", "feature_extractor"})
"""Parts that many people delete, and that pictures do not need: their absence is no error until they are asked for."""

_SCHEDULER = "Scheduler"
_TOKENIZERS = ("Tokenizer", "TokenizerFast", "TokenizersBackend")  # the last: without a class of its own
_PROCESSORS = ("Processor", "ProcessorFast", "ProcessorPil", "FeatureExtractor")
_PROCESSOR_CONFIGS = ("preprocessor_config.json", "processor_config.json")
"""Of pictures alone; of texts and pictures, as transformers 5 writes it."""
_VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model", "vocab.txt", "sentencepiece.model")


@dataclass(frozen=True, kw_only=True)
class ComponentDescription:
    """One part of a pipeline: a network, a tokenizer, a scheduler or a processor."""

    name: str
    library: str
    class_name: str
    folder: Path
    config: Mapping[str, Any] = field(repr=False)
    role: Role | None
    """`None` for parts that are not networks."""
    weights: WeightFiles | None = None
    weight_bytes: int = 0
    """As stored."""
    weight_values: int | None = None
    """Number of weights; `None` where only loading would tell (pickles)."""
    dtype: str | None = None
    """Number format of most bytes as stored; `None` where only loading would tell."""
    view: FileView | None = field(default=None, repr=False)
    """Where its tensors are, if they have other names or other networks beside them in their file."""
    without: tuple[str, ...] = ()
    """Modules of the network that are not in its file, and that nobody will call."""

    @property
    def weight_files(self) -> tuple[Path, ...]:
        return self.weights.files if self.weights else ()

    @property
    def channels(self) -> int:
        """Features at the network's full resolution, for `memory.plan.activation_estimate`."""
        return sizes.channels(self.config)

    @property
    def patch(self) -> int:
        """Latents along each side that become one place in the network, for the same."""
        return sizes.patch(self.name, self.config)

    def bytes_at(self, bytes_per_value: int) -> int:
        """Bytes of the weights in another number format. Pickles are taken as they are stored."""
        return self.weight_bytes if self.weight_values is None else self.weight_values * bytes_per_value


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What a model holds, be it a folder, a single file or several."""

    name: str
    path: Path
    """The folder, or the single file."""
    config_folder: Path
    """Where index and configs are: the same, but for single files and for models put together of several."""
    pipeline_class: str
    family: Family | None
    """`None` for a pipeline that is not first-class."""
    components: Mapping[str, ComponentDescription]
    scheduler_class: str | None
    scheduler_config: Mapping[str, Any] = field(repr=False)
    index: Mapping[str, Any] = field(repr=False)
    """`model_index.json` as it is."""
    size_multiple_px: int
    default_size_px: tuple[int, int]
    """Width, height."""
    vae_factor: int
    """Pixels a latent stands for along each side."""
    weight_bytes: int
    custom_code: bool
    """It needs Python files of its own, or of an unknown library, to run."""
    defaults: Sampling | None = None
    """Steps and guidance that suit this model better than its family's."""
    latent_rgb: LatentRgb | None = field(default=None, repr=False)
    latent_rgb_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    notes: tuple[str, ...] = ()
    """What the reader should know of how it was understood."""

    def with_role(self, role: Role) -> list[ComponentDescription]:
        return [component for component in self.components.values() if component.role is role]

    @property
    def networks(self) -> list[ComponentDescription]:
        return [component for component in self.components.values() if component.role is not None]


Weights = FileView | Path
"""Where the weights of a network are, if not in its own folder: in a file among others, or in another folder."""


def describe(
    path: Path, *, name: str | None = None, weights: Mapping[str, Weights] = MappingProxyType({})
) -> ModelDescription:
    """Describe the model folder at `path`.

    Args:
        weights: where those networks have theirs, by name, that have none in the folder.

    Raises:
        ModelError: it is not a model folder, or a part of it is missing or broken; names the part.
    """
    try:
        return _described(path, name, weights)
    except OSError as error:
        raise ModelError(
            f"`{error.filename or path}` could not be read: {error.strerror or error}",
            hint="check the path and the rights of the folder",
        ) from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ModelError(f"A config in `{path}` holds a value of the wrong kind: {error}", hint=AGAIN) from error


def _described(path: Path, name: str | None, weights: Mapping[str, Weights]) -> ModelDescription:
    index = _read_index(path)
    pipeline_class, custom_class = _pipeline_class(path, index)
    parts = {part: value for part, value in index.items() if not part.startswith("_") and _is_part(value)}
    present = {part: value for part, value in parts.items() if value[0] is not None and _expected(path, part)}
    configs = {part: _config(path / part, part, str(value[1])) for part, value in present.items()}
    networks = {part: config for part, config in configs.items() if _is_network(str(present[part][1]))}
    family = family_for(pipeline_class, configs, index)
    _check_family(path, family, networks)
    components = {
        part: describe_component(
            path / part, part, (str(library), str(class_name)), configs[part], family, weights.get(part)
        )
        for part, (library, class_name) in present.items()
    }
    latent_rgb, bias = _latent_rgb(path, family, networks)
    scheduler = components.get("scheduler")
    tried = VERIFIED.get(pipeline_class)
    return ModelDescription(
        name=name if name is not None else path.resolve().name,
        path=path,
        config_folder=path,
        pipeline_class=pipeline_class,
        family=family,
        components=components,
        scheduler_class=scheduler.class_name if scheduler else None,
        scheduler_config=scheduler.config if scheduler else {},
        index=index,
        size_multiple_px=lcm(sizes.size_multiple_px(networks, family), tried.rounds_up_to_px if tried else 1),
        default_size_px=(
            (tried.default_size_px, tried.default_size_px)
            if tried and tried.default_size_px
            else sizes.default_size_px(networks, family)
        ),
        vae_factor=sizes.vae_factor(networks),
        weight_bytes=sum(component.weight_bytes for component in components.values()),
        custom_code=custom_class or any(_is_foreign(part.library) for part in components.values()),
        defaults=_defaults(path),
        latent_rgb=latent_rgb,
        latent_rgb_bias=bias,
    )


def verify(description: ModelDescription, *, safety_checker: bool = False) -> None:
    """Check every weight file that would be loaded, without loading it.

    Args:
        safety_checker: check its weights too, although they are not loaded unless asked for.

    Raises:
        ModelError: a file is missing, empty, truncated, damaged, or lacks a tensor that its index promises.
    """
    for component in description.networks:
        if component.weights is None or (component.role is Role.SAFETY and not safety_checker):
            continue
        if component.view is not None:
            read_weights_header(component.view.path)
            continue
        headers = {path.name: verify_file(path) for path in component.weights.files}
        if component.weights.index is not None:
            verify_shards(component.weights.index, headers)


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"`{path}` is missing", hint=AGAIN) from error
    except OSError as error:
        raise ModelError(f"`{path}` could not be read: {error.strerror or error}", hint=AGAIN) from error
    except ValueError as error:
        raise ModelError(f"`{path}` is not JSON: {error}", hint=AGAIN) from error
    if not isinstance(content, dict):
        raise ModelError(f"`{path}` should hold a JSON object, found {type(content).__name__}", hint=AGAIN)
    return cast(dict[str, Any], content)


def _read_index(path: Path) -> Mapping[str, Any]:
    if path.is_file():
        raise ModelError(
            f"`{path}` is a file, and a model is a folder with `{INDEX_FILE}`",
            hint="`gesso models show FILE` tells what it is",
        )
    if not path.is_dir():
        raise ModelError(f"There is no folder `{path}`", hint="`gesso models list` shows the models that are here")
    if not (path / INDEX_FILE).is_file():
        raise ModelError(
            f"`{path}` is not a model folder: it has no `{INDEX_FILE}`",
            hint="give the folder of a diffusers pipeline, the one that holds `unet` or `transformer`",
        )
    return read_json(path / INDEX_FILE)


def _pipeline_class(path: Path, index: Mapping[str, Any]) -> tuple[str, bool]:
    """The class, and whether its code is in the folder: then the index names the file and the class."""
    match index.get("_class_name"):
        case str(name):
            return name, False
        case [str(), str(name)]:
            return name, True
        case found:
            raise ModelError(f"`{path / INDEX_FILE}` names no pipeline: `_class_name` is `{found}`", hint=AGAIN)


def _is_part(value: Any) -> bool:
    """`[library, class]`; `[null, null]` is a part that is left out. Anything else is an option of the pipeline."""
    match value:
        case [None, None] | [str(), str()]:
            return True
        case _:
            return False


def _expected(path: Path, part: str) -> bool:
    if (path / part).is_dir():
        return True
    if part in OPTIONAL:
        return False
    raise ModelError(f"`{part}` is missing: `{path / INDEX_FILE}` names it, and there is no such folder", hint=AGAIN)


def _is_network(class_name: str) -> bool:
    return not class_name.endswith((_SCHEDULER, *_TOKENIZERS, *_PROCESSORS))


def is_processor_for_text(part: str, class_name: str) -> bool:
    """A processor of texts and pictures where the pipeline has its tokenizer, such as Flux.2's `PixtralProcessor`.

    Text needs only the tokenizer in it. The processors want torchvision, also for text.
    """
    return part.startswith("tokenizer") and class_name.endswith(_PROCESSORS)


def _config(folder: Path, part: str, class_name: str) -> Mapping[str, Any]:
    """The config of a part, and a check that the files are there from which it is made."""
    if class_name.endswith(_SCHEDULER):
        return read_json(folder / "scheduler_config.json")
    if class_name.endswith(_TOKENIZERS) or is_processor_for_text(part, class_name):
        if not any((folder / file).is_file() for file in _VOCABULARIES):
            raise ModelError(f"`{part}` is incomplete: no vocabulary in `{folder}`", hint=AGAIN)
        file = folder / "tokenizer_config.json"
        return read_json(file) if file.is_file() else {}
    if class_name.endswith(_PROCESSORS):
        files = [folder / name for name in _PROCESSOR_CONFIGS]
        file = next((file for file in files if file.is_file()), files[0])
        return read_json(file) if file.is_file() or part not in OPTIONAL else {}
    return read_json(folder / "config.json")


def _check_family(path: Path, family: Family | None, networks: Mapping[str, Any]) -> None:
    if family is None:
        return
    for part, role in family.components.items():
        if role in (Role.DENOISER, Role.VAE) and part not in networks:
            raise ModelError(f"`{part}` is missing: `{path / INDEX_FILE}` does not name it", hint=AGAIN)


def describe_component(
    folder: Path,
    part: str,
    origin: tuple[str, str],
    config: Mapping[str, Any],
    family: Family | None,
    elsewhere: Weights | None = None,
) -> ComponentDescription:
    """Describe one part.

    Args:
        folder: where its config is.
        origin: library and class name.
        elsewhere: where its weights are, if not in its folder.

    Raises:
        ModelError: it has no weights.
    """
    library, class_name = origin
    if not _is_network(class_name):
        return ComponentDescription(
            name=part, library=library, class_name=class_name, folder=folder, config=config, role=None
        )
    if isinstance(elsewhere, FileView):
        return _seen(folder, part, origin, config, family, elsewhere)
    folder = elsewhere or folder
    weights = find_weight_files(folder, library=library)
    if weights is None:
        raise ModelError(f"`{part}` has no weights: no `.safetensors` or `.bin` in `{folder}`", hint=AGAIN)
    headers = [_header(path) for path in weights.files]
    read = [header for header in headers if header is not None]
    complete = len(read) == len(headers)
    by_dtype: dict[str, int] = {}
    for header in read:
        for dtype, size in header.bytes_by_dtype().items():
            by_dtype[dtype] = by_dtype.get(dtype, 0) + size
    most = max(by_dtype, key=lambda dtype: by_dtype[dtype], default=None)
    return ComponentDescription(
        name=part,
        library=library,
        class_name=class_name,
        folder=folder,
        config=config,
        role=role_for(part, family),
        weights=weights,
        weight_bytes=sum(by_dtype.values()) if complete else sum(path.stat().st_size for path in weights.files),
        weight_values=sum(header.values for header in read) if complete else None,
        dtype=DTYPE_NAMES.get(most, most) if most is not None else None,
    )


def _seen(
    folder: Path, part: str, origin: tuple[str, str], config: Mapping[str, Any], family: Family | None, view: FileView
) -> ComponentDescription:
    by_dtype = view.bytes_by_dtype()
    most = max(by_dtype, key=lambda dtype: by_dtype[dtype])
    return ComponentDescription(
        name=part,
        library=origin[0],
        class_name=origin[1],
        folder=folder,
        config=config,
        role=role_for(part, family),
        weights=WeightFiles(files=(view.path,), index=None, variant=None),
        weight_bytes=sum(by_dtype.values()),
        weight_values=view.values,
        dtype=DTYPE_NAMES.get(most, most),
        view=view,
    )


def _header(path: Path) -> Header | None:
    """What the file says of itself; `None` for pickles and for damaged files, which `verify` reports."""
    if path.suffix != ".safetensors":
        return None
    try:
        return read_header(path)
    except ModelError:
        return None


def _defaults(path: Path) -> Sampling | None:
    """`{"steps": …, "guidance": …}` in a file of the folder, if it has one."""
    file = path / DEFAULTS_FILE
    if not file.is_file():
        return None
    content = read_json(file)
    try:
        return Sampling(steps=int(content["steps"]), guidance=float(content["guidance"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"`{file}` holds no steps and guidance: {error}", hint="mend or remove the file") from error


def _latent_rgb(
    path: Path, family: Family | None, networks: sizes.Configs
) -> tuple[LatentRgb | None, tuple[float, float, float]]:
    """The folder's own map from latents to RGB, else the family's if the VAE is the family's."""
    vae = networks.get("vae", {})
    channels = vae.get("latent_channels", vae.get("z_dim", 4))
    if (path / PREVIEW_FILE).is_file():
        content = read_json(path / PREVIEW_FILE)
        try:
            rows = tuple(tuple(float(value) for value in row) for row in content["latent_rgb"])
            red, green, blue = (float(value) for value in content.get("bias", (0, 0, 0)))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"`{path / PREVIEW_FILE}` holds no map from latents to RGB: {error}", hint="mend or remove the file"
            ) from error
        if len(rows) != channels or any(len(row) != 3 for row in rows):
            raise ModelError(
                f"`{path / PREVIEW_FILE}` should hold {channels} rows of 3, one for each latent channel",
                hint="mend or remove the file",
            )
        return rows, (red, green, blue)
    if family is None or family.latent_rgb is None:
        return None, (0.0, 0.0, 0.0)
    if has_latents_of(family, vae) and len(family.latent_rgb) == channels:
        return family.latent_rgb, family.latent_rgb_bias
    return None, (0.0, 0.0, 0.0)


def has_latents_of(family: Family, vae: Mapping[str, Any]) -> bool:
    """Whether a VAE of this config is the family's own, as far as it tells."""
    same = vae.get("_class_name", family.vae_class) == family.vae_class
    if family.vae_scaling_factor is not None:  # 0.18215: diffusers' default
        same &= abs(vae.get("scaling_factor", 0.18215) - family.vae_scaling_factor) < 1e-4
    return same


def _is_foreign(library: str) -> bool:
    """Whether a component's code is neither diffusers' nor transformers': then it is in the folder, or nowhere."""
    if library in ("diffusers", "transformers"):
        return False
    found = importlib.util.find_spec("diffusers")  # finds the package without importing it
    places = found.submodule_search_locations if found else None
    return not any(os.path.isdir(os.path.join(place, "pipelines", library)) for place in places or ())
