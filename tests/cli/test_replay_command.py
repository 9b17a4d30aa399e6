"""`gesso show` and `gesso replay`: what a picture says of itself, and whether it is true."""

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cli_runs import Command


@pytest.fixture
def picture(command: Command) -> Path:
    ran = command("generate", "a red star", "--seed", 4, "--steps", 2, "--size", "64x64", "--out", "picture.png")
    assert ran.code == 0, ran.err
    return Path("picture.png")


def test_show_prints_the_parameters_and_the_recipe_for_people(command: Command, picture: Path) -> None:
    ran = command("show", picture)
    assert ran.code == 0
    assert ran.out.startswith("a red star\nSteps: 2, ")
    for words in ("seed", "primer (sd1, StableDiffusionPipeline)", "float32", "sha256:", "device-seconds"):
        assert words in ran.out


def test_show_prints_the_whole_recipe_for_programs(command: Command, picture: Path) -> None:
    shown = command("show", picture, "--json").data
    assert shown["parameters"].startswith("a red star\nSteps: 2, ")
    assert shown["recipe"]["schema"] == 1
    assert shown["recipe"]["asked"]["prompt"] == shown["recipe"]["resolved"]["prompt"] == "a red star"
    assert len(shown["recipe"]["run"]["trace"]) >= 4


def test_show_prints_the_parameters_of_a_picture_from_elsewhere(command: Command) -> None:
    text = PngInfo()
    text.add_text("parameters", "a cat\nNegative prompt: a dog\nSteps: 7, Sampler: Euler a, Seed: 3, Size: 64x64")
    Image.new("RGB", (8, 8)).save("other.png", pnginfo=text)
    shown = command("show", "other.png").out
    assert shown.startswith("a cat\nNegative prompt: a dog\nSteps: 7")
    assert "made by  AUTOMATIC1111" in shown
    assert "  Seed               seed=3\n" in shown
    data = command("show", "other.png", "--json").data
    assert data["recipe"] is None
    assert data["foreign"]["request"]["negative_prompt"] == "a dog"


def test_a_picture_from_elsewhere_can_be_asked_for_again(command: Command) -> None:
    text = PngInfo()
    text.add_text(
        "parameters",
        "a cat\nNegative prompt: a dog\nSteps: 2, Sampler: Euler a, CFG scale: 3.0, Seed: 3, Size: 64x128, Model: toy",
    )
    Image.new("RGB", (8, 8)).save("other.png", pnginfo=text)
    ran = command("generate", "--from", "other.png", "--out", "again.png")
    assert ran.code == 0, ran.err
    resolved = command("show", "again.png", "--json").data["recipe"]["resolved"]
    assert (resolved["prompt"], resolved["negative_prompt"]) == ("a cat", "a dog")
    assert (resolved["steps"], resolved["sampler"], resolved["guidance"], resolved["seed"]) == (2, "Euler a", 3.0, 3)
    assert (resolved["width"], resolved["height"]) == (64, 128)
    assert "Model `toy` is not carried over: it is not here, `primer` is used" in ran.err
    assert resolved["noise_source"] == "nv"


def test_show_of_a_picture_that_says_nothing_exits_3(command: Command) -> None:
    Image.new("RGB", (8, 8)).save("plain.png")
    ran = command("show", "plain.png")
    assert ran.code == 3
    assert ran.err.startswith("error: `plain.png` does not say how it was made\nhint: ")


def test_a_replay_of_an_untouched_picture_is_identical(command: Command, picture: Path) -> None:
    ran = command("replay", picture)
    assert ran.code == 0, ran.out + ran.err
    assert ran.out.splitlines()[0] == "identical"
    assert command("replay", picture, "--json").data["verdict"] == "identical"


def test_a_replay_of_a_picture_whose_pixel_was_changed_is_different_and_exits_3(
    command: Command, picture: Path
) -> None:
    with Image.open(picture) as opened:
        opened.load()
    text = PngInfo()
    for key, value in opened.text.items():  # pyright: ignore[reportAttributeAccessIssue]
        text.add_itxt(key, value)
    red, green, blue = opened.getpixel((20, 20))  # pyright: ignore[reportGeneralTypeIssues, reportOptionalIterable]
    opened.putpixel((20, 20), ((red + 9) % 256, green, blue))
    opened.save(picture, pnginfo=text)
    ran = command("replay", picture)
    assert ran.code == 3
    assert ran.out.splitlines()[0] == "different"
    assert ran.err == ""


def test_a_replay_with_other_threads_is_not_comparable_and_exits_3(command: Command, picture: Path) -> None:
    ran = command("--threads", 2, "replay", picture)
    assert ran.code == 3
    assert ran.out.splitlines()[0] == "not comparable"
    assert "threads 1 → 2" in ran.out
