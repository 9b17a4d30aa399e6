"""`gesso models` and `gesso samplers`: what is on this machine, for people and for programs."""

import json
import shutil
from pathlib import Path

import pytest

from cli_runs import Command
from gesso.primer import weights_folder

PARTS = {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}


@pytest.fixture
def broken_model() -> Path:
    """A folder under `models` whose denoiser is gone."""
    folder = Path("models/mine")
    shutil.copytree(weights_folder(), folder)
    shutil.rmtree(folder / "unet")
    return folder


def test_the_primer_is_listed_and_shown_with_its_components(command: Command) -> None:
    (entry,) = command("models", "list", "--json").data
    assert entry == command("models", "show", "primer", "--json").data
    assert entry["name"] == "primer"
    assert entry["family"] == "sd1"
    assert Path(entry["path"]) == weights_folder()
    assert {part["name"] for part in entry["components"]} == PARTS
    assert entry["bytes"] == sum(part["bytes"] for part in entry["components"]) > 10_000_000
    assert entry["problem"] is None


def test_people_get_the_same_facts_in_columns(command: Command) -> None:
    listed = command("models", "list")
    assert listed.code == 0
    assert [line.split()[:4] for line in listed.out.splitlines()] == [
        ["NAME", "KIND", "FAMILY", "DTYPE"],
        ["primer", "pipeline", "sd1", "float16"],
    ]
    shown = command("models", "show", "primer").out
    for words in ("StableDiffusionPipeline", "128x128 px", "UNet2DConditionModel", "denoiser", "float16", "17.8 MiB"):
        assert words in shown


def test_a_model_in_a_folder_of_the_command_line_is_found_by_its_name_and_by_its_path(command: Command) -> None:
    shutil.copytree(weights_folder(), "elsewhere/author/mine")
    names = [entry["name"] for entry in command("--model-folder", "elsewhere", "models", "list", "--json").data]
    assert names == ["primer", "author/mine"]
    by_name = command("--model-folder", "elsewhere", "models", "show", "author/mine", "--json")
    by_path = command("models", "show", "elsewhere/author/mine", "--json")
    assert by_name.code == by_path.code == 0
    assert by_name.data["components"] == by_path.data["components"]


def test_a_broken_model_is_listed_with_its_reason_beside_the_others(command: Command, broken_model: Path) -> None:
    ran = command("models", "list")
    assert ran.code == 0
    assert "primer" in ran.out
    assert ran.err.startswith("warning: `mine` cannot be used: ")
    assert "unet" in ran.err
    problems = {entry["name"]: entry["problem"] for entry in command("models", "list", "--json").data}
    assert problems["primer"] is None
    assert "unet" in problems["mine"]


def test_showing_a_broken_model_exits_3(command: Command, broken_model: Path) -> None:
    ran = command("models", "show", "mine")
    assert ran.code == 3
    assert ran.err.startswith("error: ")
    assert "unet" in ran.err


def test_an_unknown_model_is_told_with_the_nearest_names(command: Command) -> None:
    ran = command("models", "show", "prmer")
    assert ran.code == 3
    assert ran.err.startswith("error: Unknown model: `prmer`\nhint: nearest: primer")


def test_the_samplers_are_listed_with_the_models_that_they_run_on(command: Command) -> None:
    lines = command("samplers").out.splitlines()
    euler = [line for line in lines if line.startswith("Euler  ")]
    assert [line.split()[1] for line in euler] == ["diffusion", "flow"]
    assert any(line.startswith("DPM++ 2M") and "karras" in line for line in lines)


def test_the_samplers_are_listed_as_data(command: Command) -> None:
    rows = {row["name"]: row for row in command("samplers", "--json").data}
    assert {"Euler", "Euler a", "Heun", "DPM++ 2M", "DDIM", "UniPC", "LCM"} <= set(rows)
    assert rows["Euler a"]["flow"] is None
    assert rows["Euler a"]["stochastic"] is True
    assert rows["Heun"]["order"] == 2
    assert rows["DPM++ 2M"]["diffusion"]["schedules"][0] == rows["DPM++ 2M"]["diffusion"]["automatic"] == "karras"


def test_data_is_whole_also_where_nothing_is_a_terminal(process: Command) -> None:
    ran = process("models", "list", "--json")
    assert ran.err == ""
    assert json.loads(ran.out)[0]["name"] == "primer"


def test_the_families_say_which_networks_share_forwards(command: Command) -> None:
    entries = {entry["pipeline"]: entry for entry in command("models", "families", "--json").data}
    assert entries["StableDiffusionPipeline"]["family"] == "sd1"
    sana = entries["SanaPipeline"]
    assert (sana["family"], sana["prompt_read_by"], sana["size_multiple_px"]) == (None, "pipeline", 32)
    assert {network["name"]: network["merges"] for network in sana["networks"]} == {
        "text_encoder": False,
        "transformer": True,
        "vae": False,
    }
    assert [network["name"] for network in sana["networks"] if network["one_by_one"]] == ["vae"]
    [line] = [line for line in command("models", "families").out.splitlines() if "SanaPipeline" in line]
    assert line.split() == ["Sana", "other", "SanaPipeline", "text_encoder", "32", "px", "second", "pass", "yes"]
