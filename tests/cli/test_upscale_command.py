"""`gesso upscale`: a picture, larger."""

from base64 import b64encode
from pathlib import Path
from random import Random
from typing import Any

import pytest
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image

import studios
import zoo
from cli_runs import Command
from gesso.primer.prompt import parse
from gesso.primer.reading import read
from gesso.primer.render import render
from gesso.primer.scene import Scene, Size, Thing
from gesso.primer.score import compare

PROMPT = "a large white heart on a teal background"


@pytest.fixture
def heart(tmp_path: Path) -> Path:
    path = tmp_path / "heart.png"
    thing = Thing(shape="heart", colour="white", size=Size.LARGE)
    render(Scene(things=(thing,), background="teal"), Random(3)).save(path)
    return path


def test_without_a_prompt_pixels_are_enlarged(command: Command, heart: Path, tmp_path: Path) -> None:
    ran = command("upscale", heart, "--scale", 2, "--out", tmp_path / "out.png")
    assert ran.code == 0, ran.err
    with Image.open(heart) as first, Image.open(tmp_path / "out.png") as made:
        assert made.size == (2 * first.width, 2 * first.height)
        assert studios.distance(made, first.resize(made.size, Image.Resampling.LANCZOS)) == 0
    assert command("upscale", heart, "--size", "300x256", "--out", tmp_path).code == 0
    with Image.open(tmp_path / "heart-300x256.png") as covered:
        assert covered.size == (300, 256)


def test_no_picture_is_replaced_by_another(command: Command, heart: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / heart.name
    other.parent.mkdir()
    Image.new("RGB", (128, 128), "red").save(other)
    (tmp_path / "out").mkdir()
    ran = [command("upscale", source, "--out", tmp_path / "out") for source in (heart, other, heart)]
    assert [one.paths[0].name for one in ran] == [f"heart-256x256{end}.png" for end in ("", "-1", "-2")]
    with Image.open(ran[0].paths[0]) as first, Image.open(ran[2].paths[0]) as again:
        assert studios.distance(first, again) == 0


def test_its_file_has_the_format_of_the_settings(
    command: Command, heart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GESSO_OUTPUT_FORMAT", "webp")
    ran = command("upscale", heart, "--out", tmp_path)
    assert ran.paths[0].name == "heart-256x256.webp"
    with Image.open(ran.paths[0]) as made:
        assert made.format == "WEBP"


def test_a_picture_in_a_url_is_enlarged_too(command: Command, heart: Path, tmp_path: Path) -> None:
    url = "data:image/png;base64," + b64encode(heart.read_bytes()).decode()
    ran = command("upscale", url, "--out", tmp_path)
    assert [path.name for path in ran.paths] == ["picture-256x256.png"]


def test_with_a_prompt_it_is_painted_at_the_larger_size(command: Command, heart: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    ran = command("upscale", heart, PROMPT, "--strength", 0.25, "--steps", 8, "--seed", 4, "--out", out)
    assert ran.code == 0, ran.err
    with Image.open(out) as made, Image.open(heart) as first:
        assert made.size == (256, 256)
        assert studios.mean_distance(made, first.resize(made.size, Image.Resampling.LANCZOS)) > 0.001
        assert compare(parse(PROMPT), read(made)).all_right


def test_a_damaged_colour_profile_is_one_warning(command: Command, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "photo.png", icc_profile=b"none")
    ran = command("upscale", tmp_path / "photo.png", "--out", tmp_path / "out.png")
    assert ran.code == 0
    assert ran.err.count("The colour profile of") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--scale", 0.5), "1 to 16"),
        (("--size", "40000x40000"), "at most 16384 px"),
        (("--size", "10x10"), "for larger pictures"),
        (("--size", "128x64"), "for larger pictures"),
        ((PROMPT, "--upscaler", "nearest"), "without a prompt"),
        (("--upscaler", "lancsoz"), "nearest: lanczos"),
        (("--upscaler", "latent"), "enlarges latents"),
        (("--upscaler", "bicubic"), "known: lanczos, nearest\n"),
        (("--steps", 5), "without a prompt"),
    ],
)
def test_what_cannot_be_is_refused(command: Command, heart: Path, arguments: tuple[object, ...], words: str) -> None:
    ran = command("upscale", heart, *arguments)
    assert ran.code in (2, 3)
    assert words in ran.err


def test_a_model_that_changes_pictures_in_another_way_paints_none_larger(
    command: Command, heart: Path, tmp_path: Path
) -> None:
    nine: Any = UNet2DConditionModel.from_config({**zoo.built("sd1").unet.config, "in_channels": 9})
    inpainting = zoo.save("sd1", tmp_path / "inpainting", unet=nine)
    for model, how in ((zoo.saved("qwen-image-edit"), "as an instruction says"), (inpainting, "under a mask")):
        ran = command("upscale", heart, PROMPT, "--model", model)
        assert (ran.code, ran.out) == (3, "")
        assert f"changes pictures {how}, and here one is painted once more, larger" in ran.err
        assert "--mask" not in ran.err
        assert "strength" not in ran.err
    ran = command("edit", heart, PROMPT, "--hires", 2, "--model", zoo.saved("qwen-image-edit"))
    assert ran.code == 3
    assert "makes no second pass" in ran.err
