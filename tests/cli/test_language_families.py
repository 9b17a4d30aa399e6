"""Folders of Z-Image, Flux.2 and Qwen-Image on the command line, with the settings that nobody changed."""

import pytest
from PIL import Image

import zoo
from cli_runs import Command


@pytest.mark.parametrize(
    ("kind", "family"), [("z-image-turbo", "z-image"), ("flux2-klein", "flux2-klein"), ("qwen-image", "qwen-image")]
)
def test_a_folder_is_shown_with_its_family_and_makes_pictures(command: Command, kind: str, family: str) -> None:
    folder = zoo.saved(kind)
    assert command("models", "show", folder, "--json").data["family"] == family
    ran = command("generate", "a red circle", "--model", folder, "--size", "64x64")
    assert (ran.code, ran.err) == (0, "")
    [path] = ran.paths
    with Image.open(path) as picture:
        assert picture.size == (64, 64)
