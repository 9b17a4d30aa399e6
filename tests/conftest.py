"""Tests never touch the user's files, models or network, and leave the cores to each other."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from effects import Effect
from fork_server import fork_server

# Set before anything of torch or Hugging Face is imported, and inherited by the commands that tests start.
_home = tempfile.TemporaryDirectory(prefix="gesso-tests-")
for _name in [name for name in os.environ if name.startswith("GESSO_")]:
    del os.environ[_name]
os.environ.update(
    HF_HOME=str(Path(_home.name) / "hf"),
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    XDG_CONFIG_HOME=str(Path(_home.name) / "config"),
    GESSO_CACHE_FOLDER=str(Path(_home.name) / "cache"),
    GESSO_THREADS="1",
    OMP_NUM_THREADS="1",  # torch reads it when it is imported
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures, models and `gesso.toml` are looked for in the current folder: give each test one of its own."""
    monkeypatch.chdir(tmp_path)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--effects", type=Path, help="run only tests that show effects, and keep them in this folder")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--effects") is not None:
        items[:] = [item for item in items if "effect" in getattr(item, "fixturenames", ())]


@pytest.fixture
def effect(request: pytest.FixtureRequest) -> Effect:
    """Asserts what a test measures, for the page of effects."""
    return Effect(request.node.nodeid, request.config.getoption("--effects"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def forked_python() -> Iterator[list[str]]:
    """What begins a command line in place of `sys.executable` where a test is not about how a process starts or ends:
    torch and diffusers are imported already."""
    with fork_server() as command:
        yield command
