"""Models that were made for changing pictures: those that read a mask, and those that follow an instruction."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint import StableDiffusionInpaintPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix import (
    StableDiffusionInstructPix2PixPipeline,
)
from PIL import Image

import studios
import zoo
from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest


@cache
def folder(kind: type[Any], channels: int | None = None) -> Path:
    """Thin random networks of that pipeline; the UNet reads so many channels."""
    base: Any = zoo.built("flux-dev" if channels is None else "sd1")
    parts = dict(base.components)
    if channels is not None:
        unet: Any = UNet2DConditionModel.from_config({**base.unet.config, "in_channels": channels})
        zoo.stir(unet, 5)
        parts["unet"] = unet
        parts["requires_safety_checker"] = False
    path = zoo.session_folder() / f"{kind.__name__}-{channels}"
    kind(**parts).save_pretrained(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, str]:
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "source.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (8, 8, 40, 40))
    mask.save(tmp_path / "mask.png")
    return {"image": str(tmp_path / "source.png"), "mask": str(tmp_path / "mask.png")}


@pytest.mark.parametrize("kind", [StableDiffusionInpaintPipeline, StableDiffusionPipeline])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_checkpoint_of_nine_channels_reads_picture_and_mask(
    kind: type[Any], strength: float, pictures: dict[str, str]
) -> None:
    asked: dict[str, Any] = {"model": str(folder(kind, 9)), "seed": 1, "steps": 4, "strength": strength}
    with studios.studio() as studio:
        result = studio.generate("a circle", image=pictures["image"], inpaint={"mask": pictures["mask"]}, **asked)
    resolved = result.recipes[0].resolved
    assert (resolved.pipeline, resolved.family) == ("StableDiffusionInpaintPipeline", "sd1")
    with Image.open(pictures["image"]) as source, Image.open(pictures["mask"]) as mask:
        same = (np.asarray(source) == np.asarray(result.images[0])).all(-1)
        assert same[np.asarray(mask) == 0].all()
        assert not same[np.asarray(mask) > 0].all()


@pytest.mark.parametrize(
    ("model", "pipeline"),
    [
        (lambda: folder(StableDiffusionInstructPix2PixPipeline, 8), "StableDiffusionInstructPix2PixPipeline"),
        (lambda: folder(FluxKontextPipeline), "FluxKontextPipeline"),
        (lambda: zoo.saved("flux2-klein"), "Flux2KleinPipeline"),
    ],
)
def test_a_model_that_follows_an_instruction_reads_the_picture(
    model: Any, pipeline: str, pictures: dict[str, str], tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "other.png")
    asked: dict[str, Any] = {"model": str(model()), "seed": 1, "steps": 2}
    with studios.studio() as studio:
        one, other = (
            studio.generate("make it red", image=image, **asked)
            for image in (pictures["image"], str(tmp_path / "other.png"))
        )
        with pytest.raises(InputError, match="edits whole pictures as an instruction says, and takes no mask"):
            studio.resolve(ImageRequest(image=pictures["image"], inpaint={"mask": pictures["mask"]}, **asked))  # pyright: ignore[reportArgumentType]
        with pytest.raises(InputError, match="takes no strength"):
            studio.resolve(ImageRequest(image=pictures["image"], strength=0.5, **asked))
    assert one.recipes[0].resolved.pipeline == pipeline
    assert one.images[0].size == (64, 64)
    assert studios.mean_distance(one.images[0], other.images[0]) > 1e-3


def test_what_such_a_model_lacks_is_told(pictures: dict[str, str]) -> None:
    inpaints, edits = folder(StableDiffusionInpaintPipeline, 9), folder(StableDiffusionInstructPix2PixPipeline, 8)
    soft = {"mask": pictures["mask"], "soft": True}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": str(inpaints)}, "changes pictures: give it one and a mask"),
        ({"model": str(edits)}, "changes pictures: give it one$"),
        ({"model": str(inpaints), "image": pictures["image"]}, "paints under a mask, and there is none"),
        ({"model": str(inpaints), "image": pictures["image"], "inpaint": soft}, "a soft one has no effect"),
    ]
    with studios.studio() as studio:
        for fields, told in cases:
            with pytest.raises(InputError, match=told):
                studio.resolve(ImageRequest.model_validate({"prompt": "a circle"} | fields))
