"""What the documents tell a reader is there and works."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gesso.core.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"")


class Example(NamedTuple):
    """The blocks of one page in one language, to be run one after the other."""

    page: Path
    language: str
    program: str


def examples() -> list[Example]:
    """Blocks fenced as ```bash run``` and ```python run```: one program a page and language."""
    found: dict[tuple[Path, str], list[str]] = {}
    for page in PAGES:
        for fence in FENCE.finditer(page.read_text("utf-8")):
            language, _, mark = fence["info"].partition(" ")
            if mark == "run":
                found.setdefault((page, language), []).append(fence["body"])
    return [Example(page, language, "\n".join(blocks)) for (page, language), blocks in found.items()]


def name_of(example: object) -> str:
    return f"{example.page.name}-{example.language}" if isinstance(example, Example) else str(example)


def heading_anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forked_python: list[str]) -> None:
    """`gesso` and `python` on the path are the ones that run this test."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, command in {"gesso": "-m gesso", "python": ""}.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(forked_python)} {command} "$@"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@contextmanager
def surroundings(page: Path) -> Iterator[dict[str, str]]:
    """Variables of the environment in which a page runs: that of fetching finds what it fetches on this machine."""
    if page.name != "pull.md":
        yield {}
        return
    import numpy as np
    from safetensors.numpy import save

    import zoo
    from model_sites import ModelSite

    def files(kind: str) -> dict[str, bytes]:
        root = zoo.saved(kind)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    half = {"vae/diffusion_pytorch_model.fp16.safetensors": b"half of it"}
    weights = save({"w": np.zeros(8, np.float32)})
    with ModelSite() as site:
        site.add_hub_repo("stabilityai/stable-diffusion-xl-base-1.0", files("sdxl"), card={"license": "openrail++"})
        site.add_hub_repo("org/any-model", files("sd1") | half)
        site.add_hub_repo("org/adapters", {"style.safetensors": weights, "other.safetensors": weights})
        site.add_civitai_model(4384, 128713, "ohwx.safetensors", weights)
        yield {"HF_ENDPOINT": site.url, "GESSO_CIVITAI_ENDPOINT": site.url, "HF_HUB_OFFLINE": "0"}


def test_there_are_examples_to_run() -> None:
    assert {(example.page.name, example.language) for example in examples()} >= {
        ("README.md", "bash"),
        ("README.md", "python"),
    }


@pytest.mark.skipif(shutil.which("bash") is None, reason="the examples are written for bash")
@pytest.mark.usefixtures("commands")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", examples(), ids=name_of)
def test_the_examples_of_a_page_run_as_they_stand(example: Example) -> None:
    command = ["bash", "-euo", "pipefail", "-c"] if example.language == "bash" else [sys.executable, "-c"]
    with surroundings(example.page) as variables:
        environment = {**os.environ, **variables}
        run = subprocess.run([*command, example.program], capture_output=True, text=True, timeout=280, env=environment)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert list(Path.cwd().rglob("*.png")), "an example page that makes no picture"


@pytest.mark.skipif(shutil.which("make") is None, reason="the two commands are make's")
def test_make_demo_makes_the_picture_that_it_names(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / "environment"  # what `make` would have installed is what runs this test
    environment.mkdir()
    (environment / "bin").symlink_to(Path(sys.executable).parent)
    (environment / ".installed-base").touch()
    out = tmp_path / "pictures"
    monkeypatch.setenv("GESSO_OUTPUT_FOLDER", str(out))
    run = subprocess.run(
        ["make", "demo", f"VENV={environment}"], cwd=repository, capture_output=True, text=True, timeout=100
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    pictures = list(out.rglob("*.png"))
    assert len(pictures) == 1
    assert str(pictures[0]) in run.stdout.replace("\n", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    lost: list[str] = []
    for match in LINK.finditer(text):
        target, _, anchor = (match[1] or match[2]).partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = (page.parent / target) if target else page
        if not file.exists():
            lost.append(target)
        elif anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            lost += [] if anchor in {heading_anchor(heading) for heading in headings} else [f"{target}#{anchor}"]
    assert lost == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        waiting += [
            page.parent / match[1].partition("#")[0] for match in LINK.finditer(page.read_text("utf-8")) if match[1]
        ]
    assert {page.resolve() for page in PAGES} - reached == set()


def test_the_page_of_settings_names_each_setting_and_no_other() -> None:
    text = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(Settings.model_fields)


def commands_and_options() -> dict[str, set[str]]:
    """Long options of each command as the program declares them; `--help` and the `--no-` forms are left out."""
    from typer.main import get_command

    from gesso.cli.app import app

    found: dict[str, set[str]] = {}
    waiting: list[tuple[str, Any]] = [("gesso", get_command(app))]
    while waiting:
        name, command = waiting.pop()
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        below = getattr(command, "commands", {})
        waiting += [(f"{name} {word}", subcommand) for word, subcommand in below.items()]
        if options - {"--help"} or not below:
            found[name] = options - {"--help", "--install-completion", "--show-completion"}
    return found


def test_the_page_of_the_command_line_names_each_command_and_option_and_no_other() -> None:
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    told = {
        section.partition("\n")[0]: set(re.findall(r"^\| `(--[\w-]+)[ `]", section, re.MULTILINE))
        for section in sections
    }
    found = commands_and_options()
    for command in (
        "gesso edit",
        "gesso inpaint",
        "gesso outpaint",
    ):  # whose section says that it takes the options of `gesso generate`
        found[command] -= found["gesso generate"]
    assert told == found


def test_the_versions_in_the_install_lines_are_those_that_are_tested() -> None:
    torch = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert torch is not None
    named = re.findall(r"torch==([\d.]+\d)", "\n".join(page.read_text("utf-8") for page in PAGES))
    assert named
    assert set(named) == {torch[1]}
