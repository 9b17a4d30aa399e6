"""Z-Image, Flux.2 and Qwen-Image: what their guidance means, what is refused, and how their folders load."""

import io
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import studios
import zoo
from gesso.core.errors import InputError
from gesso.core.events import PreviewReady
from gesso.core.requests import ImageRequest
from gesso.engine.studio import Studio

KINDS = ("z-image", "z-image-turbo", "flux2", "flux2-klein", "flux2-klein-base", "qwen-image")
SIZE = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def request(kind: str, prompt: str = "a red circle", **fields: Any) -> ImageRequest:
    return ImageRequest(**{"model": str(zoo.saved(kind)), "prompt": prompt, "seed": 5, "steps": 3, **SIZE} | fields)


def paint(studio: Studio, kind: str, prompt: str = "a red circle", **fields: Any) -> Image.Image:
    return studio.submit(request(kind, prompt, **fields)).result(60).images[0]


def diffusers_picture(kind: str, prompt: str, **arguments: Any) -> Image.Image:
    """What a user of plain diffusers gets."""
    pipeline: Any = zoo.build(kind)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        return pipeline(prompt=prompt, num_inference_steps=3, generator=generator, **SIZE, **arguments).images[0]


@pytest.mark.parametrize(
    ("kind", "fields", "arguments"),
    [
        ("z-image", {"guidance": 3.0, "negative_prompt": "dark"}, {"guidance_scale": 3.0, "negative_prompt": "dark"}),
        ("z-image", {"guidance": 0.5}, {"guidance_scale": 0.5}),
        ("z-image-turbo", {}, {"guidance_scale": 0.0}),
        (
            "z-image",
            {"guidance": 4.0, "arguments": {"cfg_normalization": True, "cfg_truncation": 0.9}},
            {"guidance_scale": 4.0, "cfg_normalization": True, "cfg_truncation": 0.9},
        ),
        ("flux2", {"guidance": 2.5}, {"guidance_scale": 2.5}),
        ("flux2-klein", {}, {"guidance_scale": 1.0}),
        ("flux2-klein-base", {"guidance": 5.0}, {"guidance_scale": 5.0}),
        ("qwen-image", {}, {"true_cfg_scale": 4.0, "negative_prompt": " "}),
        (
            "qwen-image",
            {"guidance": 2.0, "negative_prompt": "dark"},
            {"true_cfg_scale": 2.0, "negative_prompt": "dark"},
        ),
        ("qwen-image", {"guidance": 1.0}, {"true_cfg_scale": 1.0}),
    ],
)
def test_a_picture_has_the_bytes_of_plain_diffusers_with_the_same_text(
    studio: Studio, kind: str, fields: dict[str, Any], arguments: dict[str, Any]
) -> None:
    expected = diffusers_picture(kind, "a red circle", **arguments)
    assert paint(studio, kind, **fields).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("z-image", {"negative_prompt": "a dark river"}),
        ("z-image-turbo", {"negative_prompt": "a dark river", "guidance": 2.0}),
        ("flux2-klein-base", {"negative_prompt": "a dark river"}),
        ("qwen-image", {"negative_prompt": "a dark river"}),
        ("flux2", {"guidance": 9.0}),
        ("z-image", {"guidance": 9.0}),
        ("qwen-image", {"guidance": 9.0}),
    ],
)
def test_guidance_and_negative_prompts_have_an_effect(studio: Studio, kind: str, fields: dict[str, Any]) -> None:
    without = {name: value for name, value in fields.items() if name == "guidance" and "negative_prompt" in fields}
    assert studios.mean_distance(paint(studio, kind, **without), paint(studio, kind, **fields)) > 1e-4


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("flux2", {"negative_prompt": "dark"}, ("does not take a negative prompt",)),
        ("flux2-klein", {"negative_prompt": "dark"}, ("no effect", "leave the negative prompt out")),
        ("flux2-klein", {"guidance": 4.0}, ("Guidance has no effect",)),
        ("qwen-image", {"arguments": {"true_cfg_scale": 3.0}}, ("`true_cfg_scale` is set by Gesso", "`guidance`")),
        ("qwen-image", {"arguments": {"guidance_scale": 3.0}}, ("`guidance_scale` is set by Gesso", "`guidance`")),
        ("qwen-image", {"arguments": {"max_sequence_length": 1024}}, ("has no effect",)),
        ("flux2", {"arguments": {"caption_upsample_temperature": 0.15}}, ("has no effect",)),
        ("flux2-klein", {"arguments": {"text_encoder_out_layers": [1, 2, 3]}}, ("has no effect",)),
        ("z-image", {"clip_skip": 2}, ("no clip skip",)),
        ("z-image", {"width": 72}, ("multiples of 16",)),
        ("flux2", {"prompt": "red " * 600}, ("tokens", "at most 512", "shorten it")),
        ("qwen-image", {"negative_prompt": "red " * 1100}, ("The negative prompt", "at most 1058")),
    ],
)
def test_what_has_no_effect_or_does_not_fit_is_refused(
    studio: Studio, kind: str, fields: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as refused:
        studio.submit(request(kind, **fields)).result(60)
    told = f"{refused.value.message} {refused.value.hint}"
    assert all(word in told for word in words), told


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_those_of_the_family(studio: Studio, kind: str) -> None:
    resolved = studio.resolve(ImageRequest(model=str(zoo.saved(kind)), prompt="a red circle"))
    steps, guidance, side = {
        "z-image": (50, 4.0, 1024),
        "z-image-turbo": (8, 0.0, 1024),
        "flux2": (50, 4.0, 1024),
        "flux2-klein": (4, 0.0, 1024),
        "flux2-klein-base": (50, 4.0, 1024),
        "qwen-image": (50, 4.0, 1328),
    }[kind]
    assert (resolved.steps, resolved.guidance) == (steps, guidance)
    assert (resolved.width, resolved.height) == (side, side)


@pytest.mark.parametrize("kind", ["z-image", "flux2", "flux2-klein-base", "qwen-image"])
def test_the_denoiser_merges_and_no_network_says_that_it_cannot(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        studios.studio() as opened,
        studios.gathered(opened, "transformer", 3),
    ):
        result = opened.submit(request(kind, count=3)).result(100)
    assert "alone" not in caplog.text
    assert "not merged" not in caplog.text
    shared = {
        entry.component
        for recipe in result.recipes
        for entry in recipe.run.trace
        if any(segment.batch_rows > segment.rows for segment in entry.segments)
    }
    assert "transformer" in shared


@pytest.mark.parametrize("kind", ["z-image", "qwen-image"])
def test_pictures_of_one_request_share_their_conditioning(studio: Studio, kind: str) -> None:
    result = studio.submit(request(kind, count=3)).result(60)
    encoded = [[entry for entry in r.run.trace if entry.component == "text_encoder"] for r in result.recipes]
    assert len(encoded[0]) == 2
    assert encoded[0] == encoded[1] == encoded[2]
    assert len({image.tobytes() for image in result.images}) == 3


@pytest.mark.parametrize("kind", ["z-image", "flux2", "qwen-image"])
def test_previews_are_one_pixel_for_each_latent(kind: str) -> None:
    with studios.studio(previews=True) as opened:
        handle = opened.submit(request(kind))
        found = [event for event in handle.events() if isinstance(event, PreviewReady)]
        handle.result(60)
    assert found
    with Image.open(io.BytesIO(found[-1].png)) as preview:
        assert preview.size == (8, 8)


# --- the folder that people download


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """Flux.2 dev as it is published: a processor of texts and pictures where the pipeline has its tokenizer."""
    path = Path(shutil.copytree(zoo.saved("flux2"), tmp_path / "flux2"))
    index = json.loads((path / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "PixtralProcessor"]
    (path / "model_index.json").write_text(json.dumps(index))
    processor = {"processor_class": "PixtralProcessor", "patch_size": 14, "spatial_merge_size": 2}
    (path / "tokenizer/processor_config.json").write_text(json.dumps(processor))
    pictures = {"image_processor_type": "PixtralImageProcessor", "processor_class": "PixtralProcessor"}
    (path / "tokenizer/preprocessor_config.json").write_text(json.dumps(pictures))
    return path


def test_a_processor_that_wants_torchvision_is_read_as_its_tokenizer(studio: Studio, downloaded: Path) -> None:
    found = paint(studio, "flux2", model=str(downloaded))
    assert found.tobytes() == paint(studio, "flux2").tobytes()
