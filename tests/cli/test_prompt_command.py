"""`gesso prompt explain`, and the options of prompts."""

from pathlib import Path

import pytest

from cli_runs import Command


def test_a_prompt_is_explained_as_a_table_and_as_data(command: Command) -> None:
    asked = ("prompt", "explain", "a (red:1.5) [circle|square] BREAK on white :2 AND a dog", "--steps", 4)
    ran = command(*asked, "--negative", "dark")
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines()[:7]] == [
        ["TEXT", "STEPS", "CHUNK", "TOKENS", "WEIGHT", "WORDS"],
        ["part", "0", "x2", "1,", "3", "0", "1", "1", "a"],
        ["1", "1.5", "red"],
        ["1", "1", "circle"],
        ["1", "2", "1", "on", "white"],
        ["part", "0", "x2", "2,", "4", "0", "1", "1", "a"],
        ["1", "1.5", "red"],
    ]
    assert "negative   1-4" in ran.out
    assert ran.out.endswith("dialect gesso, weighting original, chunks of 75 tokens\n")
    data = command(*asked, "--json", "--dialect", "comfyui").data
    (text,) = data["texts"]
    assert (data["dialect"], data["weighting"], text["first_step"], text["last_step"]) == ("comfyui", "comfyui", 1, 4)
    assert text["chunks"][0][1] == {"words": "red", "weight": 1.5, "tokens": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("a", "--dialect", "nope"), 2, "'gesso', 'a1111', 'comfyui' or 'plain'"),
        ((), 2, "There is no prompt"),
        (("<lora:nope:1>",), 3, "Unknown adapter: `nope`"),
        (("(a:1000)",), 3, "a weight of 1000"),
        (("(" * 200,), 3, "more than 100 brackets"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(
    command: Command, arguments: tuple[str, ...], code: int, said: str
) -> None:
    ran = command("prompt", "explain", *arguments)
    assert ran.code == code
    assert said in ran.err


def test_pictures_are_made_and_made_again_in_their_dialect(command: Command) -> None:
    asked = (
        "a (red:1.5) heart <lora:nope:1>",
        "--dialect",
        "a1111",
        "--weighting",
        "no-norm",
        "--steps",
        2,
        "--seed",
        1,
    )
    first = command("generate", *asked, "--out", "one.png", "--json")
    assert first.data["warnings"] == ["`<lora:nope:1>` of the prompt is left out: there is no such network here"]
    again = command("generate", "--from", "one.png", "--out", "two.png", "--json")
    assert again.data["images"][0]["pixels_sha256"] == first.data["images"][0]["pixels_sha256"]
    assert "Emphasis: No norm" in command("show", "one.png").out


def test_styles_and_wildcards_are_listed_and_what_pictures_read_is_shown(command: Command) -> None:
    Path("wildcards").mkdir()
    Path("wildcards/colour.txt").write_text("red\nblue\n")
    Path("styles.csv").write_text('name,prompt,negative_prompt\nbig,"a large {prompt}",dark\n')
    Path("styles").mkdir()
    Path("styles/broken.yaml").write_text("prompt: [")
    assert command("prompt", "wildcards").out.splitlines()[1].split()[:2] == ["colour", "2"]
    assert command("prompt", "wildcards", "--json").data[0]["values"] == ["red", "blue"]
    listed = command("prompt", "styles")
    assert "big   a large {prompt}  dark" in listed.out
    assert "broken.yaml` could not be read" in listed.err
    asked = ("__colour__ heart", "--style", "big", "--seed", 1, "--count", 5)
    told = command("prompt", "explain", *asked)
    assert told.out.count("a large red heart") + told.out.count("a large blue heart") >= 5
    pictures = command("prompt", "explain", *asked, "--json").data["pictures"]
    made = command("generate", *asked, "--steps", 1, "--exact", "--json", "--out", "made")  # bytes are compared
    assert made.code == 0
    shown = [command("show", image["path"]).out for image in made.data["images"]]
    assert all(picture["prompt"] in text for picture, text in zip(pictures, shown, strict=True))
    again = command("generate", "--from", made.data["images"][3]["path"], "--out", "again.png", "--json")
    assert again.data["images"][0]["pixels_sha256"] == made.data["images"][3]["pixels_sha256"]


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("a __colur__",), "Unknown wildcard: `colur`", "nearest: colour"),
        (("a", "--style", "bik"), "Unknown style: `bik`", "nearest: big"),
        (("a", "--wildcard-seed", 1), "Wildcard seed 1 has no effect", "leave it out"),
    ],
)
def test_a_name_that_is_not_here_is_told_with_the_nearest(
    command: Command, arguments: tuple[str, ...], said: str, hint: str
) -> None:
    Path("wildcards").mkdir()
    Path("wildcards/colour.txt").write_text("red\n")
    Path("styles.csv").write_text("name,prompt,negative_prompt\nbig,large,\n")
    ran = command("generate", *arguments)
    assert (ran.code, said in ran.err, hint in ran.err) == (3, True, True)
