"""`--from IMAGE` and options that say one thing of several: the others are as in the picture."""

import json

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
