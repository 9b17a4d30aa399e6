"""`gesso generate --vae`: another VAE from the command line, told of by `gesso show`, and made again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from cli_runs import Command
from gesso.primer import weights_folder

SHORT = ("--steps", 2, "--seed", 3)


@pytest.fixture
def negative(in_an_empty_folder: None) -> str:
    """A VAE of the primer that decodes negatives."""
    weights = load_file(weights_folder() / "vae" / "diffusion_pytorch_model.safetensors")
    for name in ("decoder.conv_out.weight", "decoder.conv_out.bias"):
        weights[name] = -weights[name]
    Path("models/vae").mkdir(parents=True)
    save_file(weights, "models/vae/negative.safetensors")
    return "negative"


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_a_vae_is_chosen_told_of_and_kept(command: Command, negative: str) -> None:
    command("generate", "a red star", *SHORT, "--out", "own.png")
    assert command("generate", "a red star", *SHORT, "--vae", negative, "--out", "one.png").code == 0
    assert np.abs(pixels("one.png") - (255 - pixels("own.png"))).max() <= 1
    shown = command("show", "one.png").out
    assert "VAE: negative," in shown
    assert "decoder    negative, " in shown
    command("generate", "--from", "one.png", "--out", "again.png")
    assert (pixels("again.png") == pixels("one.png")).all()
    command("generate", "--from", "one.png", "--vae", "none", "--out", "none.png")
    assert (pixels("none.png") == pixels("own.png")).all()
    command("generate", "--from", "own.png", "--vae-decoder", negative, "--out", "decoder.png")
    assert (pixels("decoder.png") == pixels("one.png")).all()
    assert command("replay", "one.png").code == 0


def test_a_vae_that_is_not_here_is_told_in_a_line(command: Command, negative: str) -> None:
    ran = command("generate", "a red star", *SHORT, "--vae", "negativ")
    assert ran.code == 3
    assert "Unknown VAE: `negativ`" in ran.err
    assert "nearest: negative" in ran.err
