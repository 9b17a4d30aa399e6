"""What `gesso doctor` looks at. Each look fills a section and may find problems; none of them ends the examination."""

import os
import platform
import re
import shutil
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, entry_points, requires
from pathlib import Path
from typing import Any

from gesso import __version__
from gesso.cli.destination import check_writable
from gesso.cli.models import open_store
from gesso.cli.output import installed_version
from gesso.core.errors import GessoError
from gesso.core.registry import load_dotted
from gesso.core.settings import ENV_PREFIX, PROJECT_FILE, Settings, user_file
from gesso.core.units import gib

_PACKAGES = (
    "torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "pillow", "numpy", "scipy",
    "pydantic", "pydantic-settings", "typer", "rich", "platformdirs",
)  # fmt: skip
_PLUGIN_GROUPS = ("gesso.devices", "gesso.backends", "gesso.families", "gesso.plugins")
_LITTLE_DISK_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong, and what to do. A loud one costs so much that nobody may overlook it."""

    what: str
    hint: str
    loud: bool = False
    details: str | None = None


@dataclass(kw_only=True)
class Examination:
    """Sections of facts by title, and the problems found on the way."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    problems: list[Problem] = field(default_factory=list[Problem])

    def as_dict(self) -> dict[str, Any]:
        return {"ok": not self.problems, **self.sections, "problems": [asdict(problem) for problem in self.problems]}


def examine(settings: Settings) -> Examination:
    """Look at everything."""
    found = Examination()
    looks: dict[str, Callable[[Settings, list[Problem]], dict[str, Any]]] = {
        "versions": _versions,
        "libraries": _libraries,
        "devices": _devices,
        "threads": _threads,
        "extras": _extras,
        "folders": _folders,
        "models": _models,
        "plugins": _plugins,
        "settings": _settings,
    }
    for title, look in looks.items():
        try:
            found.sections[title] = look(settings, found.problems)
        except Exception as error:  # the boundary: an examination tells of what is broken, and goes on
            found.sections[title] = {}
            found.problems.append(
                Problem(
                    what=f"The {title} could not be examined: {type(error).__name__}: {error}",
                    hint="install again with the constraints file, or report this with `gesso doctor --json`",
                    details="".join(traceback.format_exception(error)),
                )
            )
    return found


def _versions(_: Settings, problems: list[Problem]) -> dict[str, Any]:
    versions = {package: installed_version(package) for package in _PACKAGES}
    for package, version in versions.items():
        if version is None:
            problems.append(Problem(what=f"`{package}` is not installed", hint=f"`pip install {package}`"))
    return {
        "gesso": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        **versions,
    }


def _libraries(_: Settings, problems: list[Problem]) -> dict[str, Any]:
    """Whether the libraries can be loaded together, which versions alone do not tell."""
    loads: dict[str, Any] = {}
    for name in ("torch:Tensor", "transformers:CLIPTextModel", "diffusers:StableDiffusionPipeline"):
        package = name.partition(":")[0]
        try:
            load_dotted(name)
        except Exception as error:  # the boundary: libraries fail to load in every way there is
            vision = installed_version("torchvision")
            culprit = f"; torchvision {vision} may be for another torch: `pip uninstall torchvision`" if vision else ""
            problems.append(
                Problem(
                    what=f"`{package}` does not load: {type(error).__name__}: {error}",
                    hint=f"install again with the constraints file{culprit}",
                    details="".join(traceback.format_exception(error)),
                )
            )
            loads[package] = False
        else:
            loads[package] = True
    return loads


def _devices(_settings: Settings, problems: list[Problem]) -> dict[str, Any]:
    from gesso.devices.choose import discover, unused_gpu

    idle = unused_gpu()
    if idle is not None:
        what, _colon, remedy = idle.partition(": ")
        problems.append(Problem(what=what, hint=remedy, loud=True))
    devices: dict[str, Any] = {}
    for device in discover():
        memory = device.memory()
        devices[device.name] = {
            "title": device.title,
            "capability": device.capability,
            "precision": str(device.precision()),
            "free": gib(memory.free_bytes),
            "total": gib(memory.total_bytes),
        }
    return devices


def _threads(settings: Settings, _: list[Problem]) -> dict[str, Any]:
    import torch

    from gesso.devices.cpu import usable_cores

    return {
        "cores of the machine": os.cpu_count(),
        "cores for this process": usable_cores(),
        "threads of torch": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "setting": settings.threads,
    }


def _extras(_: Settings, _problems: list[Problem]) -> dict[str, Any]:
    """Extras by name: whether they are complete, else how to get them. One that is absent is no problem."""
    needed: dict[str, list[str]] = {}
    try:
        requirements = requires("gesso") or []
    except PackageNotFoundError:
        return {}
    for requirement in requirements:
        extra = re.search(r"""extra\s*==\s*["']([^"']+)["']""", requirement)
        package = re.match(r"[A-Za-z0-9._-]+", requirement)
        if extra and package and package[0] != "gesso":
            needed.setdefault(extra[1], []).append(package[0])
    missing = {extra: [p for p in packages if installed_version(p) is None] for extra, packages in needed.items()}
    return {
        extra: f"not installed: `pip install 'gesso[{extra}]'` (lacks {', '.join(lacking)})" if lacking else "installed"
        for extra, lacking in sorted(missing.items())
    }


def _folders(settings: Settings, problems: list[Problem]) -> dict[str, Any]:
    folders = {"output": settings.output_folder, "cache": settings.cache_folder}
    for name, folder in folders.items():
        try:
            check_writable(folder)
        except GessoError as error:
            problems.append(
                Problem(what=error.message, hint=f"change the setting `{name}_folder` or the folder's rights")
            )
    free = shutil.disk_usage(_nearest(settings.output_folder)).free
    if free < _LITTLE_DISK_BYTES:
        problems.append(Problem(what=f"Only {gib(free)} free for `{settings.output_folder}`", hint="free some space"))
    return {**{name: str(folder.absolute()) for name, folder in folders.items()}, "free": gib(free)}


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next(candidate for candidate in (folder, *folder.parents) if candidate.exists())


def _models(settings: Settings, problems: list[Problem]) -> dict[str, Any]:
    store = open_store(settings)
    for name, path, reason in store.broken():
        problems.append(
            Problem(what=f"Model `{name}` cannot be used: {reason}", hint=f"mend or remove the folder `{path}`")
        )
    return {model.name: f"{model.pipeline_class}, {gib(model.weight_bytes)}" for model in store.list()}


def _plugins(_: Settings, problems: list[Problem]) -> dict[str, Any]:
    plugins: dict[str, Any] = {}
    for group in _PLUGIN_GROUPS:
        for point in entry_points(group=group):
            try:
                point.load()
            except Exception as error:  # the boundary: a plugin may fail in every way there is
                plugins[point.name] = f"broken ({point.value})"
                problems.append(
                    Problem(
                        what=f"Plugin `{point.name}` of `{group}` does not load: {type(error).__name__}: {error}",
                        hint=f"update or uninstall the package that brings `{point.value}`",
                        details="".join(traceback.format_exception(error)),
                    )
                )
            else:
                plugins[point.name] = point.value
    return plugins


def _settings(settings: Settings, _: list[Problem]) -> dict[str, Any]:
    files = [path for path in (user_file(), Path.cwd() / PROJECT_FILE) if path.is_file()]
    names = sorted(name for name in os.environ if name.startswith(ENV_PREFIX))
    return {
        **settings.model_dump(mode="json"),
        "(read from)": [*(str(path) for path in files), *names] or "defaults",
    }
