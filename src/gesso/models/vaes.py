"""VAEs that stand in for a model's own: found by name or path, described, and held against the model's latents.

Latents belong to the model: its pipeline scales them by the factors of its own VAE, whatever decodes them. A VAE that
stands in must have learned latents of that kind, or say how those that it wants are scaled, as tiny ones do.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gesso.core.errors import InputError, ModelError, UnknownNameError
from gesso.models import sizes
from gesso.models.families import Role, share_vae
from gesso.models.folder import (
    INDEX_FILE,
    ComponentDescription,
    ModelDescription,
    describe_component,
    has_latents_of,
    read_json,
)
from gesso.models.headers.base import WeightsHeader
from gesso.models.headers.read import read_weights_header
from gesso.models.recognition.autoencoders import PREFIXES
from gesso.models.recognition.kinds import Kind
from gesso.models.recognition.recognise import recognise
from gesso.models.single_files.find import find_network
from gesso.models.single_files.maps.networks import SPELLINGS
from gesso.models.single_files.skeleton import skeleton_folder
from gesso.models.single_files.tiny import CLASS_NAME as TINY
from gesso.models.single_files.tiny import DECODER, ENCODER, tiny_vae
from gesso.models.store import ModelStore, looks_like_path

VAE_KINDS = frozenset({Kind.VAE, Kind.TINY_VAE})
BOTH = frozenset({DECODER, ENCODER})
_BESIDE = (".vae.safetensors", ".vae.ckpt", ".vae.pt")
"""How AUTOMATIC1111 ends the name of a VAE that belongs to the checkpoint beside it."""
_OF_DIFFUSERS = "diffusion_pytorch_model"
_DEFAULT_SCALE = 0.18215
"""Of diffusers' `AutoencoderKL`."""
_SHOWN = 5
TINY_NAMES: Mapping[str, str] = {
    "sd1": "taesd",
    "sd2": "taesd",
    "sdxl": "taesdxl",
    "sd3": "taesd3",
    "flux1": "taef1",
    "z-image": "taef1",
}
"""Family → name under which its tiny VAE is published (https://github.com/madebyollin/taesd). Those of SD 1 and SDXL
are the same in everything but the values of their weights: nothing else tells them apart."""


@dataclass(frozen=True)
class LatentSpace:
    """How a pipeline makes what its denoiser sees of what its VAE encodes: (z - shift) * scale."""

    scale: float
    shift: float

    def close_to(self, other: "LatentSpace") -> bool:
        return abs(self.scale - other.scale) < 1e-4 and abs(self.shift - other.shift) < 1e-4


@dataclass(frozen=True, kw_only=True)
class VaePlace:
    """Where a VAE is."""

    name: str
    """What it is found by again: its name, or its whole path if it was asked for by path."""
    path: Path
    """A file, or the folder of a VAE with its `config.json`."""

    @property
    def title(self) -> str:
        """What people call it."""
        return self.path.parent.name if self.path.name == "vae" else self.path.name


@dataclass(frozen=True, kw_only=True)
class VaeDescription:
    """A VAE that fits a model."""

    place: VaePlace
    component: ComponentDescription
    halves: frozenset[str]
    """Which of `DECODER` and `ENCODER` it has."""

    @property
    def is_tiny(self) -> bool:
        return self.component.class_name == TINY

    @property
    def latent_channels(self) -> int:
        return latent_channels(self.component)

    @property
    def space(self) -> LatentSpace:
        return latent_space(self.component)


def vae_of(model: ModelDescription) -> ComponentDescription | None:
    """The model's own VAE; `None` if it paints pixels."""
    return next(iter(model.with_role(Role.VAE)), None)


def latent_channels(vae: ComponentDescription) -> int:
    """Of each cell."""
    return int(vae.config.get("latent_channels", vae.config.get("z_dim", 4)))


def latent_space(vae: ComponentDescription) -> LatentSpace:
    """The factors that its config says."""
    scale, shift = vae.config.get("scaling_factor"), vae.config.get("shift_factor")
    default = 1.0 if vae.class_name == TINY else _DEFAULT_SCALE
    return LatentSpace(default if scale is None else float(scale), float(shift or 0.0))


def vae_beside(checkpoint: Path) -> Path | None:
    """The VAE that belongs to a single file, by AUTOMATIC1111's habit: `NAME.vae.safetensors` beside `NAME.ckpt`."""
    if not os.path.isfile(checkpoint):
        return None
    places = (checkpoint.with_name(checkpoint.stem + ending) for ending in _BESIDE)
    return next((place for place in places if place.is_file()), None)


def find_vae(name: str, store: ModelStore) -> VaePlace:
    """The VAE called `name`: a weight file or a model that the store finds, or a path to a file or a folder.

    Raises:
        UnknownNameError: there is none; the nearest names are in the hint.
        InputError, ModelError: there is nothing at the path, several files have the name, or it is broken.
    """
    path = Path(os.path.expanduser(name))
    if looks_like_path(name) or (name and os.path.lexists(path)):
        place = Path(os.path.abspath(path))  # not where links lead: the hub's cache has names only on this side
        return VaePlace(name=str(place), path=_at(place, name))
    if store.knows(name):
        return VaePlace(name=name, path=_inside(store.find(name)))
    try:
        return VaePlace(name=name, path=_folder_of(_found(name, store)))
    except UnknownNameError as error:
        nearest = UnknownNameError("VAE", name, [file.name for file in store.files(kinds=VAE_KINDS)]).nearest
        hint = "give the path of a file, or put it into a model folder; `none` is the model's own"
        hint = f"nearest: {', '.join(nearest)}; {hint}" if nearest else hint
        raise UnknownNameError("VAE", name, [], hint=hint) from error


def tiny_vae_for(model: ModelDescription, store: ModelStore) -> VaePlace | None:
    """A tiny VAE in the model folders, of the published name, that decodes what the model's family paints in."""
    own, family = vae_of(model), model.family
    if own is None or family is None or family.name not in TINY_NAMES or not has_latents_of(family, own.config):
        return None
    called = re.compile(rf"(?<![a-z0-9]){TINY_NAMES[family.name]}(?![a-z0-9])")
    for file in store.files(kinds={Kind.TINY_VAE}):
        if family.name in file.facts.families and called.search(file.found.inside.lower()):
            return VaePlace(name=file.name, path=_folder_of(file.path))
    return None


def _found(name: str, store: ModelStore) -> Path:
    try:
        return store.find_file(name, kinds=VAE_KINDS).path
    except ModelError:  # several, or a checkpoint, which has a VAE in it
        return store.find_file(name).path


def _inside(model: ModelDescription) -> Path:
    own = vae_of(model)
    if own is None:
        raise InputError(f"`{model.name}` has no VAE", hint="choose another with `--vae`")
    return own.folder


def _at(path: Path, asked: str) -> Path:
    if not path.exists():
        raise InputError(f"There is no VAE `{asked}`", hint="check the path")
    if (path / INDEX_FILE).is_file():
        path = path / "vae"
    if path.is_dir() and not (path / "config.json").is_file():
        raise InputError(f"`{asked}` is no folder of a VAE: it has no `config.json`", hint="name the file of the VAE")
    return _folder_of(path)


def _folder_of(file: Path) -> Path:
    """The folder of diffusers that a file is the weights of: its config says more than the file."""
    is_weights = file.name.startswith(_OF_DIFFUSERS) and (file.parent / "config.json").is_file()
    return file.parent if is_weights else file


def describe_vae(place: VaePlace, model: ModelDescription, store: ModelStore, *, cache_folder: Path) -> VaeDescription:
    """What is at `place`, and that it fits `model`.

    Raises:
        ModelError: it is no VAE, or damaged.
        InputError: its latents are not those of the model; the hint says what would fit.
    """
    own = vae_of(model)
    if own is None:
        raise InputError(f"`{model.name}` ({model.pipeline_class}) has no VAE to replace", hint="leave `--vae` out")
    found = _in_folder(place) if place.path.is_dir() else _in_file(place, model, own, cache_folder)
    problem = _misfit(found, own, model)
    if problem is not None:
        raise InputError(f"The VAE `{place.title}` {problem}", hint=_fitting(model, own, store))
    return found


def _in_folder(place: VaePlace) -> VaeDescription:
    config = read_json(place.path / "config.json")
    class_name = str(config.get("_class_name"))
    component = describe_component(place.path, "vae", ("diffusers", class_name), config, None)
    return VaeDescription(place=place, component=component, halves=BOTH)


def _in_file(place: VaePlace, model: ModelDescription, own: ComponentDescription, cache_folder: Path) -> VaeDescription:
    path, header = place.path, read_weights_header(place.path)
    if recognise(header).kind.value == Kind.TINY_VAE:
        tiny = tiny_vae(path, header.tensors)
        return _described(place, TINY, tiny.config, tiny.view, tiny.halves, cache_folder)
    if own.class_name not in SPELLINGS:
        raise ModelError(
            f"The VAE of `{model.name}` is a `{own.class_name}`, which is not read from a single file",
            hint="give the folder of the VAE, with its `config.json`",
        )
    found = find_network(path, header.tensors, own.class_name, own.config, PREFIXES, fit=True)
    if found is None:
        raise ModelError(f"`{path}` holds no VAE", hint="`gesso models show FILE` tells what it is")
    if found.missing:
        raise ModelError(
            f"`{path}` lacks {len(found.missing)} tensors of its VAE, such as `{found.missing[0]}`",
            hint="it is of another kind or damaged: download it again",
        )
    config = {"_class_name": own.class_name, **found.config}
    return _described(place, own.class_name, config, found.view, BOTH, cache_folder)


def _described(
    place: VaePlace, class_name: str, config: Mapping[str, Any], view: Any, halves: frozenset[str], cache_folder: Path
) -> VaeDescription:
    folder = skeleton_folder({"config.json": json.dumps(config, indent=2).encode()}, cache_folder)
    component = describe_component(folder, "vae", ("diffusers", class_name), config, None, view)
    missing = tuple(sorted(BOTH - halves))
    return VaeDescription(place=place, component=replace(component, without=missing), halves=halves)


def _misfit(vae: VaeDescription, own: ComponentDescription, model: ModelDescription) -> str | None:
    """Why the latents of a VAE are not those of a model, in words that follow its name; `None` if they may be."""
    found = vae.component
    if not vae.is_tiny and found.class_name != own.class_name:
        return f"is a `{found.class_name}`, that of `{model.name}` a `{own.class_name}`"
    if (its := latent_channels(found)) != (wanted := latent_channels(own)):
        return f"has latents of {its} channels, `{model.name}` of {wanted}"
    if (its := _factor(found)) != (wanted := _factor(own)):
        return f"makes {its} px of a latent, that of `{model.name}` {wanted}"
    if not vae.is_tiny and not latent_space(found).close_to(latent_space(own)):
        return (
            f"scales its latents by {latent_space(found).scale:g}, `{model.name}` by {latent_space(own).scale:g}: "
            "they mean something else"
        )
    families = _families(found)
    if families and model.family is not None and not any(share_vae(name, model.family) for name in families):
        return f"is of {' or '.join(families)}, `{model.name}` is {model.family.name}"
    return None


def _families(vae: ComponentDescription) -> tuple[str, ...]:
    header: WeightsHeader = read_weights_header(vae.weight_files[0])
    return recognise(header).families


def _factor(vae: ComponentDescription) -> int:
    return sizes.vae_factor({"vae": vae.config})


def _fitting(model: ModelDescription, own: ComponentDescription, store: ModelStore) -> str:
    wanted = f"one of {latent_channels(own)} channels, scaled by {latent_space(own).scale:g}, fits"
    if model.family is None:
        return wanted
    here = [file.name for file in store.files(kinds=VAE_KINDS) if model.family.name in file.facts.families]
    listed = ", ".join(here[:_SHOWN]) + (f" and {len(here) - _SHOWN} more" if len(here) > _SHOWN else "")
    return f"{wanted}; of {model.family.name}, as far as their headers tell, are here: {listed}" if here else wanted
