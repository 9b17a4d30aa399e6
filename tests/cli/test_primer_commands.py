"""The primer's commands: prompts of its world, scores of pictures and of models, training."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cli_runs import Command
from gesso.primer.prompt import parse

ONE = "a large yellow circle on a blue background"


@pytest.fixture
def circle(tmp_path: Path) -> Path:
    """A clean picture of `ONE`, without metadata."""
    from random import Random

    from gesso.primer.render import render
    from gesso.primer.scene import Scene, Size, Thing

    thing = Thing(shape="circle", colour="yellow", size=Size.LARGE)
    render(Scene(things=(thing,), background="blue"), Random(1)).save(tmp_path / "circle.png")
    return tmp_path / "circle.png"


def test_a_right_picture_has_all_facts_right(command: Command, circle: Path) -> None:
    ran = command("score", circle, *ONE.split())
    assert ran.code == 0
    assert ran.out.endswith("6 of 6 facts are right\n")
    data = command("score", circle, ONE, "--json").data
    assert data["all_right"] is True
    assert data["seen"]["things"][0]["shape"] == "circle"


@pytest.mark.parametrize(
    ("prompt", "fact"),
    [
        ("a large red circle on a blue background", "colour"),
        ("a large yellow hexagon on a blue background", "shape"),
        ("a small yellow circle on a blue background", "size"),
        ("a large striped yellow circle on a blue background", "fill"),
        ("a large yellow circle on a teal background", "background"),
    ],
)
def test_a_prompt_made_wrong_is_found_wrong(command: Command, circle: Path, prompt: str, fact: str) -> None:
    data = command("score", circle, prompt, "--json").data
    assert [entry["fact"] for entry in data["facts"] if not entry["right"]] == [fact]


def test_what_cannot_be_scored_says_why(command: Command, circle: Path, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8))
    noise.save(tmp_path / "noise.png")
    (tmp_path / "text.png").write_text("no picture")
    for arguments, told in [
        ((tmp_path / "noise.png", ONE), "The picture cannot be read: its edge has no even colour"),
        ((tmp_path / "text.png", ONE), "cannot be read as a picture"),
        ((tmp_path / "none.png", ONE), "There is no picture"),
        ((tmp_path, ONE), "is not a picture but a folder"),
        ((circle, "a fierce dragon"), "does not know: `fierce`, `dragon`"),
    ]:
        ran = command("score", *arguments)
        assert ran.code == 3
        assert told in ran.err
        assert ran.out == ""


def test_prompts_of_the_world_can_be_read_back(command: Command) -> None:
    ran = command("primer", "world", "--count", 20, "--seed", 4)
    lines = ran.out.splitlines()
    assert len(lines) == 20
    for line in lines:
        assert parse(line).background is not None
    assert command("primer", "world", "--count", 20, "--seed", 4).out == ran.out
    assert command("primer", "world", "--count", 20).out != ran.out


def test_held_out_prompts_are_held_out(command: Command) -> None:
    from gesso.primer.scene import Thing, is_held_out

    entries = command("primer", "world", "--held-out", "--count", 30, "--json").data
    for entry in entries:
        things = [Thing(shape=thing["shape"], colour=thing["colour"]) for thing in entry["things"]]
        assert any(is_held_out(thing, entry["background"]) for thing in things)


def test_the_world_is_shown_on_a_sheet(command: Command, tmp_path: Path) -> None:
    ran = command("primer", "world", "--show", "--count", 3, "--seed", 1)
    assert ran.paths == [Path("primer-world.png")]
    with Image.open(tmp_path / "primer-world.png") as paper:
        assert paper.width == 3 * 144 + 16
    assert command("primer", "world", "--show", "--out", "sheet.jpg").code == 2
    assert command("primer", "world", "--count", 0).code == 2


def test_the_scorer_is_tried_out(command: Command) -> None:
    data = command("primer", "scorer", "--count", 8, "--json").data
    assert data["all_facts"] >= 0.98
    assert data["swaps"]["shape"]["found_wrong"]["shape"] == 8
    assert "shape" in command("primer", "scorer", "--count", 2).out
    through = command("primer", "scorer", "--count", 4, "--vae", "--json").data
    assert 0.5 < through["all_facts"] <= 1
    assert command("primer", "scorer", "--count", 0).code == 2


def test_a_model_is_evaluated(command: Command) -> None:
    guided = command("primer", "evaluate", "--prompts", 24, "--steps", 4, "--json").data
    assert set(guided) == {"one_object", "two_objects"}
    for shares in guided.values():
        assert shares["pictures"] == 12
        assert {"all_facts", "background", "number", "colour", "shape", "fill"} <= set(shares)
        assert shares["background"] >= 0.75
    nothing = command("primer", "evaluate", "--prompts", 24, "--steps", 1, "--guidance", 5, "--json").data
    for name, shares in nothing.items():  # of one step that overshoots
        assert shares["all_facts"] < guided[name]["all_facts"]
    assert command("primer", "evaluate", "--prompts", 1).code == 3


def test_a_short_training_leaves_a_model_and_a_curve(command: Command, tmp_path: Path) -> None:
    plan = {"out": "out", "pictures": 4, "batch_size": 2, "steps": 1, "log_every_steps": 1}
    plan["validation"] = {"prompts": 2, "pictures": 2}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    ran = command("primer", "train", "plan.yaml")
    assert ran.code == 0, ran.err
    assert ran.paths == [Path("out/model")]
    assert (tmp_path / "out" / "model" / "model_index.json").is_file()
    lines = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
    assert '"one_object"' in lines[-1]


def test_a_short_training_of_the_decoder_tells_what_its_vae_leaves_whole(command: Command, tmp_path: Path) -> None:
    plan = {"out": "out", "part": "decoder", "pictures": 2, "batch_size": 2, "steps": 1, "log_every_steps": 1}
    plan["validation"] = {"prompts": 4, "pictures": 2}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    ran = command("primer", "train", "plan.yaml")
    assert ran.code == 0, ran.err
    last = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1])
    assert last["held_out_psnr"] > 20
    scored = command("primer", "scorer", "--vae", "--model", "out/model", "--count", 4, "--json").data
    assert last["scores"] == {name: scored[name] for name in last["scores"]}
    assert command("primer", "scorer", "--model", "out/model").code == 2


@pytest.mark.parametrize(
    ("text", "told"), [("out: x\nsteps: -1", "`steps`"), ("steps: 1", "lacks `out`"), ("a: [", "is not a YAML file")]
)
def test_a_broken_plan_is_one_line_and_exit_code_3(command: Command, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "plan.yaml").write_text(text)
    ran = command("primer", "train", "plan.yaml")
    assert ran.code == 3
    assert told in ran.err
    assert len(ran.err.splitlines()) <= 2
