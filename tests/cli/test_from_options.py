"""`--from IMAGE` and options that say one thing of several: the others are as in the picture."""

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cli_runs import Command, recipe_at
from gesso.core.requests import HiresPass

PROMPT = "a blue star on a white background"


def test_what_is_not_said_again_of_a_second_pass_is_that_of_the_picture(command: Command) -> None:
    said = ("--hires", 1.25, "--hires-steps", 1, "--hires-upscaler", "lanczos", "--hires-prompt", "a red star")
    ran = command("generate", PROMPT, *said, "--steps", 2, "--seed", 1, "--out", "first.png")
    assert ran.code == 0, ran.err
    ran = command("generate", "--from", "first.png", "--hires-strength", 0.3, "--out", "again.png")
    assert ran.code == 0, ran.err
    first = recipe_at("first.png")
    before, after = first.resolved.hires, recipe_at("again.png").resolved.hires
    assert before is not None
    assert after is not None
    assert {name for name, value in before if getattr(after, name) != value} == {"strength", "planned_steps"}
    larger = first.again(hires={"width": 192}).hires
    assert larger is not None
    assert (larger.scale, larger.width, larger.steps, larger.prompt) == (None, 192, 1, "a red star")
    assert first.again(hires=HiresPass(scale=1.5)).hires == larger.model_copy(update={"scale": 1.5, "width": None})
    assert first.again(hires=None).hires is None


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--hires-strength", 0.3), "`--hires-strength` says how a second pass is made, and there is none"),
        (("--refiner-at", 0.5), "`--refiner-at` says when a refiner goes on, and there is none"),
        (("--padding", 0), "`--padding`: there is no mask"),
        (("--fill", "blur"), "`--fill`: there is nothing to fill"),
    ],
)
def test_how_is_refused_of_what_neither_the_line_nor_the_picture_has(
    command: Command, option: tuple[object, ...], words: str
) -> None:
    assert command("generate", PROMPT, "--steps", 1, "--seed", 1, "--out", "plain.png").code == 0
    for line in (("--from", "plain.png"), (PROMPT,)):
        ran = command("generate", *line, *option)
        assert ran.code == 2
        assert words in ran.err


UNKNOWN = {"9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}}, "3": {"class_type": "Mine", "inputs": {}}}


@pytest.mark.parametrize(
    ("chunk", "text", "words"),
    [
        ("prompt", json.dumps(UNKNOWN), "There is no prompt: none is understood of what ComfyUI says"),
        ("parameters", '{"prompt": "a cat"}', "cannot be made again: its `parameters` are JSON"),
        ("parameters", "", "does not say how it was made"),
    ],
)
def test_a_picture_whose_prompt_is_not_understood_is_not_made_of_none(
    command: Command, chunk: str, text: str, words: str
) -> None:
    info = PngInfo()
    info.add_text(chunk, text)
    Image.new("RGB", (8, 8)).save("old.png", pnginfo=info)
    ran = command("generate", "--from", "old.png", "--steps", 1)
    assert (ran.code, ran.out) == (3, "")
    assert words in ran.err.splitlines()[-2]
    if chunk == "prompt":
        ran = command("generate", "--from", "old.png", PROMPT, "--steps", 1, "--out", "again.png")
        assert ran.code == 0, ran.err
        assert recipe_at("again.png").asked.prompt == PROMPT


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--image", "x.png", "--mask", "m.png", "--fill", "nope"), "`--fill`: Input should be 'original'"),
        (("--image", "x.png", "--mask", "m.png", "--mask-blur", "nan"), "`--mask-blur`"),
        (("--image", "x.png", "--left", 8, "--fill", "nope"), "`--fill`"),
        (("--hires", "nan"), "`--hires`"),
        (("--hires", 2, "--hires-strength", "inf"), "`--hires-strength`"),
        (("--refiner", "primer", "--refiner-at", "nan"), "`--refiner-at`"),
        (("--dynamic-thresholding", "inf"), "`--dynamic-thresholding`"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_own_option(
    command: Command, options: tuple[object, ...], named: str
) -> None:
    assert command("generate", PROMPT, "--steps", 1, "--seed", 1, "--out", "plain.png").code == 0
    for line in (("--from", "plain.png"), (PROMPT,)):
        ran = command("generate", *line, *options)
        assert ran.code == 2
        assert named in ran.err


def test_what_the_picture_has_can_be_left_out(command: Command) -> None:
    Path("styles.csv").write_text("name,prompt,negative_prompt\nbig,a large {prompt},\n")
    Image.new("RGB", (128, 128), "red").save("red.png")
    Image.new("L", (128, 128), 255).save("mask.png")
    few = ("--steps", 2, "--seed", 1)
    larger = ("--hires", 1.25, "--refiner", "primer", "--refiner-at", 0.5, "--tiling", "x")
    assert command("generate", PROMPT, *larger, *few, "--out", "large.png").code == 0
    masked = ("--image", "red.png", "--mask", "mask.png", "--mask-blur", 2)
    assert command("generate", PROMPT, *masked, *few, "--out", "part.png").code == 0
    assert command("generate", PROMPT, "--image", "red.png", "--left", 16, *few, "--out", "wider.png").code == 0
    cases = [
        ("large.png", "--no-hires", "hires"),
        ("large.png", "--no-refiner", "refiner"),
        ("large.png", "--no-tiling", "tiling"),
        ("part.png", "--no-mask", "inpaint"),
        ("wider.png", "--no-outpaint", "outpaint"),
    ]
    for begun, option, field in cases:
        ran = command("generate", "--from", begun, option, "--out", "again.png")
        assert ran.code == 0, ran.err
        before, after = recipe_at(begun).resolved, recipe_at("again.png").resolved
        assert getattr(before, field) is not None
        assert getattr(after, field) is None
        assert after.image == before.image
        refused = command("generate", PROMPT, option)
        assert refused.code == 2
        assert f"`{option}` is about the picture of `--from`" in refused.err
    assert command("generate", "blue star", "--style", "big", *few, "--out", "styled.png").code == 0
    assert command("generate", "--from", "styled.png", "--no-style", "--out", "again.png").code == 0
    texts = [recipe_at(name).resolved.prompt for name in ("styled.png", "again.png")]
    assert texts == ["a large blue star", "blue star"]
    for options, words in (
        (("--no-mask", "--mask", "mask.png"), "`--no-mask` leaves out what other options ask for"),
        (("--no-mask", "--fill", "blur"), "there is nothing to fill"),
        (("--no-mask", "--mask-blur", 4), "leaves out what other options ask for"),
    ):
        ran = command("generate", "--from", "part.png", *options)
        assert ran.code == 2
        assert words in ran.err
