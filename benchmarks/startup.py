"""How long it takes from nothing to a picture, and in a process that has made one already."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.progress import tell

_ROOT = Path(__file__).parents[1]
_PROMPT, _STEPS = "a red circle", "20"
_COMMANDS = {
    "python, nothing at all": ("-c", "pass"),
    "import gesso": ("-c", "import gesso"),
    "gesso --help": ("-m", "gesso", "--help"),
    "import torch": ("-c", "import torch"),
    "gesso generate, the whole command": ("-m", "gesso", "generate", _PROMPT, "--steps", _STEPS, "--seed", "1"),
    "diffusers, the same picture in a script": ("-m", "benchmarks.startup", "diffusers"),
}
_WARM = "second picture in the same process"


def run(*, repeats: int = 3, names: Sequence[str] = tuple(_COMMANDS)) -> dict[str, Any]:
    """Seconds of fresh processes, interleaved, and of a second picture. JSON."""
    found: dict[str, list[float]] = {name: [] for name in (*names, _WARM)}
    with tempfile.TemporaryDirectory(prefix="gesso-bench-") as folder:
        for repeat in range(repeats + 1):
            tell(f"start-up: {'files into the cache' if not repeat else f'repeat {repeat} of {repeats}'}")
            for name in names:
                seconds = _seconds(_COMMANDS[name], folder)
                if repeat:
                    found[name].append(seconds)
        found[_WARM] = json.loads(_said(("-m", "benchmarks.startup", "warm", str(repeats)), folder))
    return {"seconds": found, "steps": int(_STEPS)}


def install(*, source: Path = _ROOT) -> dict[str, Any]:
    """From a clone to a picture in an empty environment; needs a package index. JSON.

    The download is a step of its own, so that its bytes can be counted and a slow line told from a slow disk.
    """
    with tempfile.TemporaryDirectory(prefix="gesso-bench-") as place:
        folder = Path(place)
        begun = time.perf_counter()
        clone = folder / "clone"
        ignored = shutil.ignore_patterns(".git", ".venv", "outputs", "__pycache__", "*_cache")
        shutil.copytree(source, clone, ignore=ignored)
        venv.create(folder / "venv", with_pip=True)
        pip = (str(folder / "venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
        pinned = ("--constraint", str(clone / "constraints.txt"))
        tell("install: downloading")
        wheels = folder / "wheels"
        _run((*pip, "download", "--quiet", "--dest", str(wheels), *pinned, str(clone), "hatchling"))
        downloaded = time.perf_counter()
        tell("install: installing")
        offline = ("--no-index", "--find-links", str(wheels))
        _run((*pip, "install", "--quiet", *offline, *pinned, str(clone)))
        installed = time.perf_counter()
        tell("install: the first picture")
        _run((str(folder / "venv" / "bin" / "gesso"), "generate", _PROMPT, "--steps", _STEPS), cwd=folder)
        made = time.perf_counter()
        return {
            "downloaded_bytes": sum(file.stat().st_size for file in wheels.iterdir()),
            "download_seconds": downloaded - begun,
            "install_seconds": installed - downloaded,
            "picture_seconds": made - installed,
            "minutes": (made - begun) / 60,
        }


def _seconds(command: Sequence[str], folder: str) -> float:
    start = time.perf_counter()
    _said(command, folder)
    return time.perf_counter() - start


def _said(command: Sequence[str], folder: str) -> str:
    python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": python_path, "GESSO_OUTPUT_FOLDER": folder, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {run.stderr[-2000:]}")
    return run.stdout


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    run = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed: {run.stderr[-2000:]}")


def _diffusers() -> None:
    """What a script with diffusers alone does."""
    import torch
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    from gesso.primer import weights_folder

    pipeline: Any = StableDiffusionPipeline.from_pretrained(weights_folder(), torch_dtype=torch.float32)
    generator = torch.Generator("cpu").manual_seed(1)
    image = pipeline(_PROMPT, num_inference_steps=int(_STEPS), guidance_scale=3.5, generator=generator).images[0]
    image.save("diffusers.png")


def _warm(repeats: int) -> None:
    from gesso.core.settings import load_settings
    from gesso.engine.studio import Studio

    seconds: list[float] = []
    with Studio(load_settings()) as studio:
        for index in range(repeats + 1):
            start = time.perf_counter()
            studio.generate(_PROMPT, steps=int(_STEPS), seed=index)
            seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds[1:]))


def main() -> None:
    """What the fresh processes run."""
    if sys.argv[1] == "diffusers":
        _diffusers()
    else:
        _warm(int(sys.argv[2]))


if __name__ == "__main__":
    main()
