"""The lists of versions agree with each other, with pyproject.toml and with what is installed."""

import re
import tomllib
from importlib.metadata import distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TORCH_AND_WHAT_ONLY_IT_BRINGS = {"torch", "jinja2", "markupsafe", "mpmath", "networkx", "setuptools", "sympy"}
CUDA = ("nvidia-", "cuda-", "triton")
"""Packages that a CUDA build of torch fixes itself."""


def pins(path: Path) -> dict[str, str]:
    """Name to exact version. A line that is neither a pin nor a comment fails."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    matches = [re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)", line) for line in lines]
    assert all(matches), lines
    return {match[1]: match[2] for match in matches if match}


def declared(repository: Path) -> list[Requirement]:
    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group if not line.startswith("gesso[")]


def closure(roots: list[Requirement], *, without: str = "") -> set[str]:
    """Names of all installed distributions that `roots` bring, not going through `without`."""
    names: set[str] = set()
    visited: set[tuple[str, frozenset[str]]] = set()
    waiting = list(roots)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name == without or (name, frozenset(requirement.extras)) in visited:
            continue
        visited.add((name, frozenset(requirement.extras)))
        names.add(name)
        for line in distribution(name).requires or []:
            needed = Requirement(line)
            wanted = [{"extra": extra} for extra in ("", *requirement.extras)]
            if needed.marker is None or any(needed.marker.evaluate(environment) for environment in wanted):
                waiting.append(needed)
    return names


def installed(roots: list[Requirement]) -> list[Requirement]:
    """Those of `roots` that are here: the tools of `make check` need not be."""
    here = {canonicalize_name(found.metadata["Name"]) for found in distributions()}
    return [root for root in roots if canonicalize_name(root.name) in here]


def test_the_second_list_is_the_first_without_torch_and_what_only_torch_brings(repository: Path) -> None:
    full, rest = pins(repository / "constraints.txt"), pins(repository / "constraints-no-torch.txt")
    assert {name: full[name] for name in full if name not in TORCH_AND_WHAT_ONLY_IT_BRINGS} == rest
    assert set(full) >= TORCH_AND_WHAT_ONLY_IT_BRINGS


def test_what_only_torch_brings_is_what_nothing_else_needs(repository: Path) -> None:
    roots = installed(declared(repository))
    only_torch = (closure(roots) - closure(roots, without="torch")) & set(pins(repository / "constraints.txt"))
    assert only_torch == TORCH_AND_WHAT_ONLY_IT_BRINGS


def test_every_declared_range_holds_its_pinned_version(repository: Path) -> None:
    versions = pins(repository / "constraints.txt")
    outside = [
        str(root) for root in declared(repository) if versions[canonicalize_name(root.name)] not in root.specifier
    ]
    assert outside == []


def test_everything_that_is_installed_is_pinned_at_the_version_installed(repository: Path) -> None:
    versions = pins(repository / "constraints.txt")
    names = {
        name for name in closure(installed(declared(repository))) if not name.startswith(("nvidia-", "triton", "cuda-"))
    }
    found = {name: distribution(name).version.partition("+")[0] for name in names}
    assert found == {name: versions.get(name) for name in names}


def test_torchvision_is_not_needed(repository: Path) -> None:
    assert "torchvision" not in closure(installed(declared(repository)))
