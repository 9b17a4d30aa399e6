"""The primer's weights: a complete diffusers folder, small enough to travel inside the wheel."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from gesso.primer import weights_folder

FOLDER = weights_folder()


def test_every_component_that_the_index_names_is_there() -> None:
    index = json.loads((FOLDER / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    named = {name for name, value in index.items() if isinstance(value, list) and value[0] is not None}
    assert named == {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}
    for name in named:
        assert (FOLDER / name).is_dir()


@pytest.mark.parametrize(
    "name",
    [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ],
)
def test_weights_are_float16_safetensors(name: str) -> None:
    with safe_open(FOLDER / name, framework="numpy") as file:
        dtypes = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118 (not a mapping)
        assert dtypes == {"F16"}


def test_the_folder_holds_no_pickles_and_less_than_25_mb() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 25_000_000


def test_the_preview_factors_show_red_as_red_and_white_as_bright() -> None:
    torch = pytest.importorskip("torch")
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    factors = json.loads((FOLDER / "preview.json").read_text())
    matrix, bias = np.array(factors["latent_rgb"]), np.array(factors["bias"])
    assert matrix.shape == (4, 3)
    assert bias.shape == (3,)
    vae: Any = AutoencoderKL.from_pretrained(FOLDER / "vae", torch_dtype=torch.float32).eval()

    def preview(colour: tuple[int, int, int]) -> np.ndarray:
        pixels = torch.from_numpy(np.asarray(Image.new("RGB", (128, 128), colour)).copy())
        with torch.no_grad():
            latents = vae.encode(pixels.permute(2, 0, 1)[None] / 127.5 - 1).latent_dist.mean * vae.config.scaling_factor
        return latents[0].permute(1, 2, 0).numpy().mean(axis=(0, 1)) @ matrix + bias

    red, white, black = preview((220, 40, 40)), preview((248, 248, 248)), preview((28, 28, 32))
    assert red[0] > red[1] + 0.2
    assert red[0] > red[2] + 0.2
    assert white.mean() > 0.3 > -0.3 > black.mean()
