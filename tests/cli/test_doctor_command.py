"""`gesso doctor`: what is wrong is said, with what to do about it."""

from pathlib import Path

import pytest
import torch

import gesso
from cli_runs import Command


@pytest.fixture
def gpu_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on whose path NVIDIA's driver has put its program."""
    program = Path("bin/nvidia-smi").absolute()
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")


def test_a_sound_installation_passes_also_strictly(command: Command) -> None:
    ran = command("doctor", "--strict", "--json")
    assert ran.code == 0, ran.out
    found = ran.data
    assert found["ok"] is True
    assert found["problems"] == []
    assert found["versions"]["gesso"] == gesso.__version__
    assert found["versions"]["torch"] == torch.__version__
    assert found["devices"]["cpu"]["precision"] == "float32"
    assert found["threads"]["setting"] == 1
    assert found["libraries"] == {"torch": True, "transformers": True, "diffusers": True}
    assert "primer" in found["models"]
    assert found["settings"]["max_rows"] == 16


def test_people_get_sections_and_a_verdict(command: Command) -> None:
    lines = command("doctor").out.splitlines()
    for title in ("versions", "devices", "threads", "extras", "models", "plugins", "settings"):
        assert title in lines
    assert lines[-1] == "nothing is wrong"


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch can use a GPU")
def test_a_gpu_beside_a_torch_that_cannot_use_it_is_shouted_about(command: Command, gpu_driver: None) -> None:
    ran = command("doctor", "--strict")
    assert ran.code == 4
    shouted = [line for line in ran.out.splitlines() if line.startswith("!!!")]
    assert len(shouted) == 1
    assert "NVIDIA GPU" in shouted[0]
    assert "hint: `pip install" in ran.out
    assert command("doctor").code == 0


def test_what_is_wrong_is_said_and_fails_only_strictly(command: Command) -> None:
    Path("models/half").mkdir(parents=True)
    Path("models/half/model_index.json").write_text("{")
    Path("outputs").write_text("a file")
    ran = command("doctor", "--json")
    assert ran.code == 0
    assert ran.data["ok"] is False
    problems = [problem["what"] for problem in ran.data["problems"]]
    assert len(problems) == 2
    assert any("`outputs` is a file" in problem for problem in problems)
    assert any("Model `half` cannot be used" in problem for problem in problems)
    assert all(problem["hint"] for problem in ran.data["problems"])
    assert command("doctor", "--strict").code == 4


def test_settings_are_shown_with_their_source(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GESSO_MAX_MODELS", "7")
    Path("gesso.toml").write_text("max_images = 5\n")
    settings = command("--setting", "exact=true", "doctor", "--json").data["settings"]
    assert (settings["max_models"], settings["max_images"], settings["exact"]) == (7, 5, True)
    assert "GESSO_MAX_MODELS" in settings["(read from)"]
    assert str(Path("gesso.toml").absolute()) in settings["(read from)"]
