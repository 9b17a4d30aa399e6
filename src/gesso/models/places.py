"""Where models lie: Gesso's own folders, and those of other studios, recognised by what is in them and read in place.

Folders of ComfyUI: its `folder_paths.py` and `extra_model_paths.yaml.example`; of AUTOMATIC1111, Forge and SD.Next:
their documentation; of the hub's cache: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from gesso.core.errors import ModelError
from gesso.models.recognition.kinds import Kind

EXTRA_PATHS = "extra_model_paths.yaml"
_YAML = (".yaml", ".yml")
_CONTROLS = frozenset({Kind.CONTROLNET, Kind.T2I_ADAPTER, Kind.IP_ADAPTER})

KIND_FOLDERS: Mapping[str, frozenset[Kind]] = {
    "checkpoints": frozenset({Kind.CHECKPOINT}),
    "stable-diffusion": frozenset({Kind.CHECKPOINT, Kind.DENOISER}),  # Forge: transformers alone, too
    "diffusion_models": frozenset({Kind.DENOISER}),
    "unet": frozenset({Kind.DENOISER}),
    "text_encoders": frozenset({Kind.TEXT_ENCODER}),
    "text_encoder": frozenset({Kind.TEXT_ENCODER}),
    "text-encoder": frozenset({Kind.TEXT_ENCODER}),
    "clip": frozenset({Kind.TEXT_ENCODER}),
    "clip_vision": frozenset({Kind.IMAGE_ENCODER}),
    "vae": frozenset({Kind.VAE, Kind.TINY_VAE}),
    "vae_approx": frozenset({Kind.TINY_VAE}),
    "vae-approx": frozenset({Kind.TINY_VAE}),
    "loras": frozenset({Kind.LORA}),
    "lora": frozenset({Kind.LORA}),
    "lycoris": frozenset({Kind.LORA}),
    "controlnet": _CONTROLS,
    "control": _CONTROLS,
    "t2i_adapter": frozenset({Kind.T2I_ADAPTER}),
    "ipadapter": frozenset({Kind.IP_ADAPTER}),
    "upscale_models": frozenset({Kind.UPSCALER}),
    "esrgan": frozenset({Kind.UPSCALER}),
    "realesrgan": frozenset({Kind.UPSCALER}),
    "swinir": frozenset({Kind.UPSCALER}),
    "embeddings": frozenset({Kind.TEXTUAL_INVERSION}),
    "hypernetworks": frozenset({Kind.HYPERNETWORK}),
    "animatediff_models": frozenset({Kind.MOTION_MODULE}),
}
"""Names that studios give to folders, in lower case → what should lie in them. It is never concluded that it does."""


class FolderLayout(StrEnum):
    """Whose arrangement a folder has."""

    A1111 = "AUTOMATIC1111"
    FORGE = "Forge"
    SD_NEXT = "SD.Next"
    COMFYUI = "ComfyUI"
    EXTRA_PATHS = EXTRA_PATHS
    HUB = "Hugging Face cache"
    PLAIN = "folder"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One folder that is searched for models."""

    root: Path
    folder: Path
    """What was set or linked: the root itself, or what led to it."""
    linked: bool = True
    """Read only: it belongs to somebody else."""
    title: str = ""
    """Set where the folder's name does not say for what it is: the key in `extra_model_paths.yaml`."""

    @property
    def label(self) -> str:
        """What to call it in the names of files."""
        return self.folder.stem if self.folder.suffix.lower() in _YAML else self.folder.name or self.root.name

    def expected(self, inside: str) -> tuple[str, frozenset[Kind]] | None:
        """The folder that says what the file at `inside`, a path below the root, should be, and what that is."""
        for name in (self.title, self.root.name, inside.partition("/")[0]):
            if (kinds := KIND_FOLDERS.get(name.lower())) is not None:
                return name, kinds
        return None

    def folders_for(self, kind: Kind) -> list[Path]:
        """Folders that are named after a kind: the root itself, or some right below it. Nothing else is listed."""

        def is_for(name: str) -> bool:
            return kind in KIND_FOLDERS.get(name.lower(), ())

        if is_for(self.title) or is_for(self.root.name):
            return [self.root]
        try:
            return sorted(self.root / name for name in os.listdir(self.root) if is_for(name))
        except OSError:  # not there, or not ours to read
            return []


@dataclass(frozen=True, kw_only=True)
class LinkedFolder:
    """What was recognised at a link."""

    folder: Path
    layout: FolderLayout
    places: tuple[Place, ...]
    missing: tuple[Path, ...] = ()
    """Folders that a list names and that are not there."""


def recognise_link(folder: Path) -> LinkedFolder:
    """Find out whose folder it is, and which folders below it hold models. Nothing is read but names and lists.

    Raises:
        ModelError: there is nothing, it is no folder, or its list of folders cannot be read.
    """
    if folder.suffix.lower() in _YAML and folder.is_file():
        return _extra_paths(folder)
    try:
        inside = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = f"link the folder of a studio, of models, or an `{EXTRA_PATHS}`"
        raise ModelError(f"`{folder}` could not be read as a folder: {reason}", hint=hint) from error
    if _holds_repositories(folder):
        return _linked(folder, FolderLayout.HUB, [folder])
    if "hub" in inside and _holds_repositories(inside["hub"]):
        return _linked(folder, FolderLayout.HUB, [inside["hub"]])
    models = inside.get("models", folder)
    names = _names(models)
    if "stable-diffusion" in names:
        roots = [models, inside.get("embeddings"), folder / "extensions" / "sd-webui-controlnet" / "models"]
        return _linked(folder, _webui(inside, names), roots)
    if "checkpoints" in names and names & {"loras", "vae", "diffusion_models", "unet", "text_encoders", "clip"}:
        return _comfyui(folder, models)
    if (folder / EXTRA_PATHS).is_file():
        return _comfyui(folder, None)
    return _linked(folder, FolderLayout.PLAIN, [folder])


def _linked(folder: Path, layout: FolderLayout, roots: Sequence[Path | None]) -> LinkedFolder:
    there = [root for root in roots if root is not None and root.is_dir()]
    return LinkedFolder(folder=folder, layout=layout, places=tuple(Place(root=root, folder=folder) for root in there))


def _webui(inside: Mapping[str, Path], models: frozenset[str]) -> FolderLayout:
    if "modules_forge" in inside:
        return FolderLayout.FORGE
    return FolderLayout.SD_NEXT if models & {"diffusers", "reference"} else FolderLayout.A1111


def _comfyui(folder: Path, models: Path | None) -> LinkedFolder:
    """A folder of ComfyUI, and the folders of others that its own list names."""
    own = (Place(root=models, folder=folder),) if models is not None else ()
    if not (folder / EXTRA_PATHS).is_file():
        return LinkedFolder(folder=folder, layout=FolderLayout.COMFYUI, places=own)
    listed = _extra_paths(folder / EXTRA_PATHS)
    places = (*own, *(Place(root=place.root, folder=folder, title=place.title) for place in listed.places))
    return LinkedFolder(folder=folder, layout=FolderLayout.COMFYUI, places=places, missing=listed.missing)


def _extra_paths(file: Path) -> LinkedFolder:
    """Sections with a `base_path` and, for each kind, one folder a line."""
    named = dict(_listed_folders(file))  # the last title of a folder that is listed twice
    there = {root: title for root, title in named.items() if root.is_dir()}
    return LinkedFolder(
        folder=file,
        layout=FolderLayout.EXTRA_PATHS,
        places=tuple(Place(root=root, folder=file, title=title) for root, title in there.items()),
        missing=tuple(root for root in named if root not in there),
    )


def _listed_folders(file: Path) -> Iterator[tuple[Path, str]]:
    for section in _sections(file):
        base = Path(os.path.expandvars(os.path.expanduser(str(section.get("base_path", "")))))
        for kind, folders in section.items():
            if kind in ("base_path", "is_default", "configs", "custom_nodes"):
                continue
            if not isinstance(folders, str):
                raise ModelError(f"`{kind}` in `{file}` should be folders, found `{folders}`", hint="mend the list")
            for line in folders.splitlines():
                if line.strip():
                    yield Path(os.path.normpath(file.absolute().parent / base / line.strip())), str(kind)


def _sections(file: Path) -> list[dict[Any, Any]]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise ModelError(f"`{file}` could not be read: {error.strerror}", hint="check its rights") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"`{file}` is not YAML: {error}", hint="mend the list") from error
    sections = list(cast("dict[Any, Any]", content).values()) if isinstance(content, dict) else [content]
    if any(section is not None and not isinstance(section, dict) for section in sections):
        hint = f"write it as ComfyUI's `{EXTRA_PATHS}.example` shows"
        raise ModelError(f"`{file}` is no list of folders: a section should hold names and folders", hint=hint)
    return [section for section in sections if section is not None]


def _holds_repositories(folder: Path) -> bool:
    return any(name.startswith("models--") for name in _names(folder))


def _names(folder: Path) -> frozenset[str]:
    """Names in `folder`, in lower case; none of a folder that is not there or not ours to read."""
    try:
        return frozenset(name.lower() for name in os.listdir(folder))
    except OSError:
        return frozenset()
