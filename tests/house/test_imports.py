"""The shape of the package: everything imports, cheaply, and points down."""

import json
import pkgutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import gesso

HEAVY = {"torch", "diffusers", "transformers", "accelerate", "peft", "fastapi", "lightning", "gradio", "onnxruntime"}
MODULES = sorted(module.name for module in pkgutil.walk_packages(gesso.__path__, prefix="gesso."))
LIGHT_PACKAGES = ("gesso.core", "gesso.memory", "gesso.models", "gesso.primer", "gesso.cli")
READERS_OF_WEIGHTS = {
    *("gesso.models.load", "gesso.models.network", "gesso.models.single_files.tensors"),
    *(f"gesso.models.adapters.{name}" for name in ("changes", "file", "fit", "inversion", "layers")),
}
LIGHT = [
    name
    for name in MODULES
    if name == "gesso.devices" or (name.startswith(LIGHT_PACKAGES) and name not in READERS_OF_WEIGHTS)
]


def heavy_modules_after(statement: str) -> set[str]:
    """Heavy packages that a fresh Python holds after `statement`."""
    program = f"import json, sys\n{statement}\nsys.stderr.write('\\n' + json.dumps(list(sys.modules)))"
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return HEAVY & set(json.loads(run.stderr.splitlines()[-1]))


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name: str) -> None:
    assert import_module(name).__doc__, f"`{name}` does not say what it is for"


def test_importing_gesso_loads_no_heavy_library() -> None:
    assert heavy_modules_after("import gesso") == set()


def test_the_help_of_the_command_line_loads_no_heavy_library() -> None:
    asking = (
        "sys.argv = ['gesso', '--help']\n"
        "from gesso.cli import main\n"
        "try: code = main()\n"
        "except SystemExit as end: code = end.code\n"
        "assert not code, code"
    )
    assert heavy_modules_after(asking) == set()


def test_the_table_of_families_loads_no_heavy_library() -> None:
    assert heavy_modules_after("from gesso.cli.models import tried_families\nassert tried_families()") == set()


def test_values_arithmetic_and_catalogues_load_no_heavy_library() -> None:
    assert heavy_modules_after("\n".join(f"import {name}" for name in LIGHT)) == set()


def test_the_watch_for_heavy_libraries_would_see_one() -> None:
    assert "torch" in heavy_modules_after("import torch")


@pytest.mark.parametrize("name", gesso.__all__)
def test_every_public_name_is_found_at_its_home(name: str) -> None:
    assert getattr(gesso, name) is not None
    assert name in dir(gesso)


def test_a_name_that_gesso_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module `gesso` has no attribute `Studi`"):
        _ = gesso.Studi  # pyright: ignore[reportAttributeAccessIssue]


def test_each_device_handler_is_in_the_contract_that_keeps_them_apart(repository: Path) -> None:
    from gesso.devices.choose import DEVICES

    contracts = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    apart = next(contract for contract in contracts if contract["id"] == "devices")["modules"]
    assert {DEVICES.get(name).__module__ for name in DEVICES.names()} == set(apart)
