"""Previews: a linear map from latents to a small PNG."""

import io

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline  # pyright: ignore[reportPrivateImportUsage]
from PIL import Image
from torch import Tensor

import zoo
from gesso.engine.previews import png_of
from gesso.models.families import FAMILIES

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))


def shown(png: bytes | None) -> np.ndarray:
    assert png is not None
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def latents(height: int, width: int) -> Tensor:
    """[1, 4, h, w]: red on the left, green below, the fourth channel must not matter."""
    cells = torch.full((1, 4, height, width), -1.0)
    cells[:, 0, :, : width // 2] = 1.0
    cells[:, 1, height // 2 :, :] = 1.0
    cells[:, 3] = 9.0
    return cells


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_preview_shows_the_latents_cell_by_cell(dtype: torch.dtype) -> None:
    rgb = shown(png_of(latents(6, 10).to(dtype), IDENTITY, width_px=80, height_px=48))
    assert rgb.shape == (6, 10, 3)
    assert rgb[0, 0].tolist() == [255, 0, 0]
    assert rgb[0, 9].tolist() == [0, 0, 0]
    assert rgb[5, 9].tolist() == [0, 255, 0]
    assert rgb[5, 0].tolist() == [255, 255, 0]


def test_the_bias_is_added_and_values_out_of_range_are_clipped() -> None:
    rgb = shown(png_of(torch.zeros(4, 2, 2), IDENTITY, (0.0, 5.0, -5.0), width_px=16, height_px=16))
    assert rgb[0, 0].tolist() == [128, 255, 0]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10), (10, 6), (2, 40)])
def test_packed_latents_are_unpacked_as_flux_packs_them(height: int, width: int) -> None:
    cells = latents(height, width)
    packed = FluxPipeline._pack_latents(cells, 1, 4, height, width)
    unpacked = png_of(packed, IDENTITY, width_px=8 * width, height_px=8 * height)
    assert (shown(unpacked) == shown(png_of(cells, IDENTITY, width_px=8 * width, height_px=8 * height))).all()
    assert unpacked == png_of(packed[0], IDENTITY, width_px=8 * width, height_px=8 * height)


def test_what_cannot_be_shown_is_dropped() -> None:
    broken = latents(4, 4)
    broken[0, 0, 0, 0] = torch.nan
    assert png_of(broken, IDENTITY, width_px=32, height_px=32) is None
    assert png_of(torch.zeros(1, 16, 4, 4), IDENTITY, width_px=32, height_px=32) is None
    assert png_of(torch.zeros(1, 7, 16), IDENTITY, width_px=32, height_px=32) is None


def test_latents_are_left_as_they_were() -> None:
    cells = latents(4, 4)
    before = cells.clone()
    png_of(cells, IDENTITY, width_px=32, height_px=32)
    assert torch.equal(cells, before)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_data_of_every_family_fit(name: str) -> None:
    family = FAMILIES[name]
    assert family.latent_rgb is not None
    channels = len(family.latent_rgb)
    random = torch.randn(1, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    rgb = shown(png_of(random, family.latent_rgb, family.latent_rgb_bias, width_px=64, height_px=64))
    assert rgb.std() > 5


def test_a_thin_flux_is_previewed_at_every_step_of_a_real_run() -> None:
    pipeline = zoo.build("flux-schnell")
    factors = FAMILIES["flux1"].latent_rgb
    assert factors is not None
    previews: list[bytes | None] = []

    def keep(pipe: object, step: int, timestep: object, arguments: dict[str, Tensor]) -> dict[str, Tensor]:
        previews.append(png_of(arguments["latents"], factors, width_px=96, height_px=64))
        return arguments

    pipeline(  # pyright: ignore[reportCallIssue]
        "a red circle", width=96, height=64, num_inference_steps=2, callback_on_step_end=keep, output_type="latent"
    )
    assert [shown(png).shape for png in previews] == [(8, 12, 3), (8, 12, 3)]
