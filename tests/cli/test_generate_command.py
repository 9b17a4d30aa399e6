"""`gesso generate`: the main job, from words to files, on the model that is always there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli_runs import Command

SHORT = ("--steps", 2, "--size", "64x64")


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def files_below(folder: str | Path) -> list[Path]:
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def test_a_prompt_becomes_a_picture_whose_path_is_printed(command: Command) -> None:
    ran = command("generate", "a", "red", "circle", "--seed", 5, *SHORT)
    assert (ran.code, ran.err) == (0, "")
    (path,) = ran.paths
    assert path.parent.parent == Path("outputs")
    assert path.name == "00000-5.png"
    assert pixels(path).shape == (64, 64, 3)
    assert command("show", path).out.startswith("a red circle\nSteps: 2")


def test_json_tells_paths_seeds_and_timings(command: Command) -> None:
    ran = command("generate", "a star", "--seed", 7, "--count", 2, "--out", "here", "--json", *SHORT)
    assert ran.code == 0
    first, second = ran.data["images"]
    assert [first["seed"], second["seed"]] == [7, 8]
    assert {Path(first["path"]), Path(second["path"])} == set(files_below("here"))
    assert (first["width"], first["height"], first["model"]) == (64, 64, "primer")
    assert first["recipe"] == first["path"]
    assert first["pixels_sha256"] != second["pixels_sha256"]
    assert ran.data["timings"]["total_seconds"] > 0
    assert ran.data["timings"]["steps_per_second"] > 0
    assert ran.data["warnings"] == []


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("b.webp", "WEBP")])
def test_out_with_the_suffix_of_a_picture_is_a_file_of_that_format(command: Command, name: str, kind: str) -> None:
    ran = command("generate", "a star", "--out", f"new/{name}", *SHORT)
    assert ran.paths == [Path("new", name)]
    with Image.open(ran.paths[0]) as picture:
        assert picture.format == kind


def test_noise_can_be_chosen_varied_and_carried_over(command: Command) -> None:
    noise = ("--noise-source", "nv", "--variation-seed", 9, "--variation-strength", 0.5, "--eta-seed-offset", 3)
    first = command(
        "generate", "a star", "--seed", 7, "--sampler", "Euler a", "--out", "a.png", "--json", *noise, *SHORT
    )
    assert first.data["warnings"] == []
    shown = command("show", "a.png").out
    for pair in ("Seed: 7,", "Variation seed: 9,", "Variation seed strength: 0.5,", "ENSD: 3,", "RNG: NV,"):
        assert pair in shown
    again = command("generate", "--from", "a.png", "--out", "b.png", "--json")
    assert again.data["images"][0]["pixels_sha256"] == first.data["images"][0]["pixels_sha256"]
    for changed in (("--noise-source", "cpu"), ("--variation-strength", 0.1), ("--eta-seed-offset", 4)):
        other = command("generate", "--from", "a.png", "--out", "c.png", "--json", *changed)
        assert other.data["images"][0]["pixels_sha256"] != first.data["images"][0]["pixels_sha256"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--noise-source", "dice"), 2, "`--noise-source`: Input should be 'cpu', 'nv' or 'comfyui'"),
        (("--variation-seed", 3), 3, "Variation seed 3 has no effect without a variation strength"),
        (("--variation-strength", 2), 3, "Asked for variation strength 2"),
    ],
)
def test_noise_that_cannot_be_is_refused_in_one_line(
    command: Command, arguments: tuple[object, ...], code: int, message: str
) -> None:
    ran = command("generate", "a star", *arguments, *SHORT)
    assert ran.code == code
    assert message in ran.err
    assert not files_below(".")


def test_out_without_one_is_a_folder_and_the_format_can_be_chosen(command: Command) -> None:
    ran = command("generate", "a star", "--out", "album", "--format", "webp", *SHORT)
    (path,) = ran.paths
    assert path.suffix == ".webp"
    assert Path("album") in path.parents


def test_every_option_arrives_in_the_recipe(command: Command) -> None:
    ran = command(
        *("generate", "a star", "--negative", "a heart", "--model", "primer", "--size", "64x128", "--steps", 3),
        *("--sampler", "k_euler", "--schedule", "karras", "--guidance", 2.5, "--guidance-rescale", 0.5, "--seed", 9),
        *("--clip-skip", 2, "--device", "cpu", "--precision", "float32", "--exact", "--priority", 3, "--owner", "ann"),
        *("--s-churn", 2, "--s-tmin", 0.1, "--s-tmax", 9, "--s-noise", 1.01),
        *("--deadline", 90, "--set", "sigmas=[10.0, 3.0, 1.0]", "--out", "a.png"),
    )
    assert ran.code == 0, ran.err
    recipe = command("show", "a.png", "--json").data["recipe"]
    resolved = recipe["resolved"]
    assert resolved["negative_prompt"] == "a heart"
    assert (resolved["width"], resolved["height"], resolved["steps"]) == (64, 128, 3)
    assert (resolved["sampler"], resolved["schedule"]) == ("Euler", "karras")
    assert (resolved["guidance"], resolved["guidance_rescale"], resolved["clip_skip"]) == (2.5, 0.5, 2)
    assert (resolved["seed"], resolved["device"], resolved["precision"]) == (9, "cpu", "float32")
    assert (resolved["exact"], resolved["priority"], resolved["owner"]) == (True, 3, "ann")
    assert [resolved[name] for name in ("s_churn", "s_tmin", "s_tmax", "s_noise")] == [2, 0.1, 9, 1.01]
    assert resolved["eta"] is None
    assert resolved["arguments"] == {"sigmas": [10.0, 3.0, 1.0]}
    assert recipe["asked"]["deadline_seconds"] == 90


def test_eta_changes_the_picture_of_a_sampler_that_takes_it_and_comes_back_from_it(command: Command) -> None:
    sums: list[str] = []
    for eta in (0, 0.5, 1):
        asked = ("generate", "a star", "--seed", 3, "--sampler", "DDIM", "--eta", eta, "--out", "a.png", "--json")
        sums.append(command(*asked, *SHORT).data["images"][0]["pixels_sha256"])
    assert len(set(sums)) == 3
    again = command("generate", "--from", "a.png", "--out", "b.png", "--json")
    assert again.data["images"][0]["pixels_sha256"] == sums[-1]
    assert "Eta DDIM: 1.0," in command("show", "a.png").out
    assert command("replay", "a.png").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sampler", "Heun", "--eta", 0.5), "`eta` has no effect on sampler `Heun`"),
        (("--eta", 0.5), "`eta` has no effect on the model's own scheduler"),
        (("--sampler", "Heun", "--set", "eta=0.5"), "The argument `eta` has no effect on sampler `Heun`"),
        (("--sampler", "UniPC", "--s-churn", 3), "`s_churn` has no effect on sampler `UniPC`"),
        (("--sampler", "Euler", "--s-tmin", 3), "have no effect without `s_churn`"),
        (("--sampler", "Euler a", "--eta", 2), "Asked for eta 2"),
        (("--sampler", "Euler a", "--s-noise", -1), "Asked for s_noise -1"),
    ],
)
def test_chance_that_cannot_be_is_refused_in_one_line(
    command: Command, arguments: tuple[object, ...], message: str
) -> None:
    ran = command("generate", "a star", *arguments, *SHORT)
    assert ran.code == 3
    assert message in ran.err
    assert not files_below(".")


def test_from_makes_the_same_picture_again(command: Command) -> None:
    # Exact, because the first one ran beside its brother.
    first = command("generate", "a star", "--count", 2, "--exact", "--out", "first", *SHORT).paths[1]
    again = command("generate", "--from", first, "--out", "again.png")
    assert again.code == 0, again.err
    np.testing.assert_array_equal(pixels(first), pixels(Path("again.png")))


def test_from_with_other_options_changes_these_and_keeps_the_rest(command: Command) -> None:
    command("generate", "a star", "--seed", 3, "--set", "eta=0.0", "--out", "first.png", *SHORT)
    ran = command("generate", "a", "heart", "--from", "first.png", "--steps", 3, "--set", "guidance_rescale=0.0")
    assert ran.code == 3  # the engine sets it: the merged arguments arrive and are checked
    ran = command("generate", "a", "heart", "--from", "first.png", "--steps", 3, "--out", "second.png")
    assert ran.code == 0, ran.err
    resolved = command("show", "second.png", "--json").data["recipe"]["resolved"]
    assert (resolved["prompt"], resolved["steps"], resolved["seed"]) == ("a heart", 3, 3)
    assert (resolved["width"], resolved["height"], resolved["arguments"]) == (64, 64, {"eta": 0.0})


def test_from_a_picture_that_says_nothing_is_refused(command: Command) -> None:
    Image.new("RGB", (8, 8)).save("plain.png")
    ran = command("generate", "--from", "plain.png")
    assert ran.code == 3
    assert ran.err.startswith("error: `plain.png` does not say how it was made\nhint: ")


def test_from_a_file_that_is_no_picture_is_refused(command: Command) -> None:
    Path("notes.png").write_text("not a picture")
    for arguments in (["generate", "--from", "notes.png"], ["show", "notes.png"], ["replay", "notes.png"]):
        ran = command(*arguments)
        assert ran.code == 3, ran.err
        assert "`notes.png`" in ran.err


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (["--model", "prmer"], "Unknown model: `prmer`", "nearest: primer"),
        (["--sampler", "eulr"], "Unknown sampler: `eulr`", "Euler"),
        (["--steps", "0"], "steps 0", "1 to"),
        (["--count", "0"], "count 0", "1 to"),
        (["--size", "65x64"], "65x64", "nearest: 64x64"),
        (["--set", "stregth=1"], "takes no argument `stregth`", "it takes"),
        (["--negative", "x", "--device", "cuda:9"], "There is no device `cuda:9`", ""),
    ],
)
def test_what_cannot_be_done_as_asked_is_told_and_nothing_is_written(
    command: Command, options: list[str], error: str, hint: str
) -> None:
    ran = command("generate", "a star", *options)
    assert ran.code in {3, 4}
    assert ran.err.startswith("error: ")
    assert error in ran.err.splitlines()[0]
    assert hint in ran.err.splitlines()[1]
    assert ran.out == ""
    assert files_below(".") == []


def test_a_deadline_that_passes_exits_4(command: Command) -> None:
    ran = command("generate", "a star", "--steps", 999, "--deadline", 0.05)
    assert ran.code == 4
    assert ran.err.startswith("error: Not done within 0.05 s")
    assert files_below(".") == []


def test_a_warning_goes_to_stderr_and_into_the_json(command: Command) -> None:
    ran = command("generate", "a star", "--negative", "a heart", "--guidance", 1, "--json", *SHORT)
    assert ran.code == 0
    (warning,) = ran.data["warnings"]
    assert "negative prompt" in warning
    assert ran.err == f"warning: {warning}\n"


def test_a_refiner_is_named_in_the_parameters_and_without_one_its_share_is_refused(command: Command) -> None:
    ran = command("generate", "a star", "--refiner", "primer", "--refiner-at", 0.5, "--out", "a.png", *SHORT)
    assert (ran.code, ran.err) == (0, "")
    shown = command("show", "a.png").out
    assert "Refiner: primer [" in shown
    assert "Refiner switch at: 0.5" in shown
    refused = command("generate", "a star", "--refiner-at", 0.5)
    assert refused.code == 2
    assert "`--refiner-at` says when a refiner goes on" in refused.err
    unknown = command("generate", "a star", "--refiner", "primmer", *SHORT)
    assert unknown.code == 3
    assert "primer" in unknown.err
