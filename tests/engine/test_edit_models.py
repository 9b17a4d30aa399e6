"""Models that were made for changing pictures: those that read a mask, and those that follow an instruction."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.flux.pipeline_flux_fill import FluxFillPipeline
from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint import StableDiffusionInpaintPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_instruct_pix2pix import (
    StableDiffusionInstructPix2PixPipeline,
)
from PIL import Image

import studios
import zoo
from effects import Effect
from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest
from gesso.models.folder import describe
from gesso.models.single_files.convert.convert import convert_model


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


def plain(kind: type[Any], path: Path, base: str, **arguments: Any) -> Image.Image:
    """What the unmodified pipeline makes of that folder."""
    pipeline = kind.from_pretrained(path, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    embeddings = studios.plain_embeddings(pipeline, base, "a circle", guidance=4.0)
    generator = torch.Generator("cpu").manual_seed(1)
    with torch.no_grad():
        return pipeline(
            **embeddings, generator=generator, num_inference_steps=3, guidance_scale=4.0, **arguments
        ).images[0]


def values(path: str, mode: str) -> torch.Tensor:
    """[1, C, H, W] in 0..1, of plain strides: of a PIL picture diffusers makes one whose channels are last."""
    with Image.open(path) as image:
        array = np.asarray(image.convert(mode)).astype(np.float32) / 255
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)[None].contiguous()


def test_a_picture_has_the_values_of_plain_diffusers(pictures: dict[str, str], effect: Effect) -> None:
    image, size = values(pictures["image"], "RGB"), {"width": 64, "height": 64}
    asked: dict[str, Any] = {"seed": 1, "steps": 3, "guidance": 4.0, "image": pictures["image"]}
    inpaints, edits, flux = (
        folder(StableDiffusionInpaintPipeline, 9),
        folder(StableDiffusionInstructPix2PixPipeline, 8),
        folder(FluxKontextPipeline),
    )
    with studios.studio() as studio:
        masked = {"mask": pictures["mask"], "keep_outside": False}
        made = [
            studio.generate("a circle", model=str(model), **asked, **given).images[0]
            for model, given in ((inpaints, {"inpaint": masked}), (edits, {}), (flux, {}))
        ]
    mask = {"mask_image": values(pictures["mask"], "L"), "strength": 1.0, **size}
    wanted = [
        plain(StableDiffusionInpaintPipeline, inpaints, "sd1", image=image, **mask),
        plain(StableDiffusionInstructPix2PixPipeline, edits, "sd1", image=image),
        plain(FluxKontextPipeline, flux, "flux-dev", image=image, max_area=64 * 64, _auto_resize=False, **size),
    ]
    effect(
        "Nine channels, an instruction (InstructPix2Pix, Flux Kontext): largest distance to plain diffusers",
        max(studios.distance(one, other) for one, other in zip(made, wanted, strict=True)),
        most=0.01,
        on="thin random weights",
    )


@pytest.mark.parametrize(("kind", "strength"), [(StableDiffusionInpaintPipeline, 1.0), (StableDiffusionPipeline, 0.5)])
def test_a_checkpoint_of_nine_channels_reads_picture_and_mask(
    kind: type[Any], strength: float, pictures: dict[str, str]
) -> None:
    asked: dict[str, Any] = {"model": str(folder(kind, 9)), "seed": 1, "steps": 2, "strength": strength}
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


@pytest.mark.parametrize(
    ("kind", "channels"), [(StableDiffusionInstructPix2PixPipeline, 8), (FluxKontextPipeline, None)]
)
def test_an_instruction_has_the_language_of_prompts(
    kind: type[Any], channels: int | None, pictures: dict[str, str]
) -> None:
    asked: dict[str, Any] = {"model": str(folder(kind, channels)), "seed": 1, "steps": 2, "image": pictures["image"]}
    prompts = ("a red circle", "a (red:1.8) circle", "a red [circle:square:0.5]", "a red circle AND a blue square")
    if kind is FluxKontextPipeline:
        prompts = prompts[:-1]  # its guidance is distilled
    with studios.studio() as studio:
        made = [studio.generate(prompt, **asked).images[0].tobytes() for prompt in prompts]
        same = studio.generate("a red [circle:square:1.0]", **asked).images[0].tobytes()
    assert len(set(made)) == len(prompts)
    assert same == made[0]


@pytest.mark.parametrize(
    ("kind", "channels"), [(StableDiffusionInstructPix2PixPipeline, 8), (StableDiffusionInpaintPipeline, 9)]
)
def test_a_prompt_is_explained_without_a_picture(kind: type[Any], channels: int) -> None:
    with studios.studio() as studio:
        found = studio.explain(ImageRequest(prompt="a (red:1.3) circle", model=str(folder(kind, channels))))
    assert [piece.weight for piece in found.texts[0].chunks[0]] == [1.0, 1.3, 1.0]


def test_what_such_a_model_lacks_is_told(pictures: dict[str, str]) -> None:
    inpaints, edits = folder(StableDiffusionInpaintPipeline, 9), folder(StableDiffusionInstructPix2PixPipeline, 8)
    soft, filled = ({"mask": pictures["mask"], **more} for more in ({"soft": True}, {"fill": "noise"}))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model": str(inpaints)}, "changes pictures: give it one and a mask"),
        ({"model": str(edits)}, "changes pictures: give it one$"),
        ({"model": str(edits), "image": pictures["image"], "guidance_stop": 0.5}, "take an interval of guidance"),
        ({"model": str(inpaints), "image": pictures["image"]}, "paints under a mask, and there is none"),
        ({"model": str(inpaints), "image": pictures["image"], "inpaint": soft}, "a soft one has no effect"),
        ({"model": str(inpaints), "image": pictures["image"], "inpaint": filled}, "with `noise` has no effect"),
    ]
    with studios.studio() as studio:
        for fields, told in cases:
            with pytest.raises(InputError, match=told):
                studio.resolve(ImageRequest.model_validate({"prompt": "a circle"} | fields))


def test_a_single_file_of_nine_channels_paints_what_its_folder_does(pictures: dict[str, str], tmp_path: Path) -> None:
    model = folder(StableDiffusionInpaintPipeline, 9)
    asked: dict[str, Any] = {"seed": 1, "steps": 2, "image": pictures["image"], "inpaint": {"mask": pictures["mask"]}}
    with studios.studio() as studio:
        file = tmp_path / "one.safetensors"
        convert_model(describe(model), file, cache_folder=studio.settings.cache_folder)
        one, other = (studio.generate("a circle", model=str(path), **asked) for path in (model, file))
    assert other.recipes[0].resolved.pipeline == "StableDiffusionInpaintPipeline"
    assert one.images[0].tobytes() == other.images[0].tobytes()


def test_flux_fill_reads_picture_and_mask(pictures: dict[str, str], tmp_path: Path, effect: Effect) -> None:
    base: Any = zoo.built("flux-dev")
    parts = {name: part for name, part in base.components.items() if part is not None}
    own = {name: value for name, value in base.transformer.config.items() if not name.startswith("_")}
    widths = {"in_channels": 384, "out_channels": 64}  # latents, those of the masked picture, and the mask of 8x8 px
    parts["transformer"] = FluxTransformer2DModel(**{**own, **widths})
    zoo.stir(parts["transformer"], 5)
    FluxFillPipeline(**parts).save_pretrained(tmp_path / "fill")
    asked: dict[str, Any] = {"model": str(tmp_path / "fill"), "seed": 1, "steps": 3, "guidance": 4.0}
    masked = {"mask": pictures["mask"], "keep_outside": False}
    with studios.studio() as studio:
        (made,) = studio.generate("a circle", image=pictures["image"], inpaint=masked, **asked).images
    mask, image = values(pictures["mask"], "L"), values(pictures["image"], "RGB")
    size = {"width": 64, "height": 64}
    wanted = plain(FluxFillPipeline, tmp_path / "fill", "flux-dev", image=image, mask_image=mask, strength=1.0, **size)
    effect(
        "Flux Fill, which reads picture and mask beside the latents: largest distance to plain diffusers",
        studios.distance(made, wanted),
        most=0.01,
        on="thin random weights",
    )
