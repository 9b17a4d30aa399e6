"""Qwen-Image-Edit, whose text encoder reads the picture beside the instruction."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor

import studios
import zoo
from effects import Effect
from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest, Weighting
from gesso.engine.conditioning.qwen_image_edit import PICTURE_TOKEN, encode_numbered_texts, encode_texts
from gesso.engine.conditioning.texts import Texts
from gesso.engine.handle import Result
from gesso.engine.prompt.steps import Piece
from gesso.engine.studio import Studio

ASKED: dict[str, Any] = {"seed": 1, "steps": 2, "width": 64, "height": 64}


@cache
def folder(kind: str) -> Path:
    """Its folder as the released ones are: the processor is one of texts and pictures, which wants torchvision."""
    path = zoo.session_folder() / f"released-{kind}"
    shutil.copytree(zoo.saved(kind), path)
    index = json.loads((path / "model_index.json").read_text())
    index["processor"] = ["transformers", "Qwen2VLProcessor"]
    (path / "model_index.json").write_text(json.dumps(index))
    file = path / "processor" / "preprocessor_config.json"
    config = json.loads(file.read_text())
    kinds = {"image_processor_type": "Qwen2VLImageProcessorFast", "processor_class": "Qwen2VLProcessor"}
    file.write_text(json.dumps({**config, **kinds}))
    return path


@pytest.fixture
def picture(tmp_path: Path) -> str:
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "source.png")
    return str(tmp_path / "source.png")


def processor(pipeline: Any) -> Qwen2VLProcessor:
    """The real one, without the part for films, which cannot be made without torchvision."""
    made = Qwen2VLProcessor.__new__(Qwen2VLProcessor)
    made.image_processor, made.tokenizer, made.video_processor = pipeline.processor, pipeline.tokenizer, None
    made.chat_template = None
    for name, token in (("image", PICTURE_TOKEN), ("video", "<|video_pad|>")):
        setattr(made, f"{name}_token", token)
        setattr(made, f"{name}_token_id", pipeline.tokenizer.convert_tokens_to_ids(token))
    return made


def told_of_pictures(kind: str) -> Any:
    """The unmodified pipeline, whose text encoder is told which of its tokens are the picture's."""
    pipeline: Any = zoo.build(kind)
    pipeline.processor = processor(pipeline)
    token = pipeline.text_encoder.config.image_token_id

    def tell(_: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "mm_token_type_ids": (kwargs["input_ids"] == token).long()}

    pipeline.text_encoder.register_forward_pre_hook(tell, with_kwargs=True)
    return pipeline


def opened(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def made_and_plain(studio: Studio, kind: str, picture: str) -> tuple[Result, Image.Image]:
    """What Gesso makes, and what the unmodified pipeline does."""
    asked = {**ASKED, "image": picture, "guidance": 4.0}
    made = studio.generate("make it red", model=str(folder(kind)), **asked)
    assert not made.warnings
    pipeline = told_of_pictures(kind)
    with torch.no_grad():
        plain = pipeline(
            image=opened(picture),
            prompt="make it red",
            negative_prompt=" ",
            true_cfg_scale=4.0,
            width=64,
            height=64,
            num_inference_steps=2,
            generator=torch.Generator("cpu").manual_seed(1),
        ).images[0]
    assert made.recipes[0].resolved.pipeline == type(pipeline).__name__
    return made, plain


def reading(result: Result) -> list[str]:
    """Digests of what the text encoder made."""
    return [entry.digest for entry in result.recipes[0].run.trace if entry.component == "text_encoder"]


def test_a_picture_has_the_values_of_plain_diffusers(picture: str, tmp_path: Path, effect: Effect) -> None:
    kind = "qwen-image-edit-plus"
    with studios.studio() as studio:
        made, plain = made_and_plain(studio, kind, picture)
        Image.new("RGB", (64, 64), "teal").save(tmp_path / "other.png")
        asked = {**ASKED, "model": str(folder(kind)), "guidance": 4.0, "image": str(tmp_path / "other.png")}
        other = studio.generate("make it red", **asked)
    assert len(reading(made)) == len(reading(other)) == 2
    assert not {*reading(made)} & {*reading(other)}  # nothing is remembered of the other picture
    effect(
        "Qwen-Image-Edit, told which tokens are the picture's: largest distance to plain diffusers",
        studios.distance(made.images[0], plain),
        most=0.01,
        on="thin random weights",
    )


@pytest.mark.slow
def test_a_picture_of_the_first_kind_has_the_values_of_plain_diffusers(picture: str) -> None:
    with studios.studio() as studio:
        made, plain = made_and_plain(studio, "qwen-image-edit", picture)
    assert studios.distance(made.images[0], plain) <= 0.01


@pytest.mark.parametrize(
    ("kind", "encode"), [("qwen-image-edit", encode_texts), ("qwen-image-edit-plus", encode_numbered_texts)]
)
def test_a_text_is_what_plain_diffusers_reads(kind: str, encode: Any, picture: str) -> None:
    texts = replace(Texts.plain("make it red", None), image=opened(picture))
    with torch.no_grad():
        read = encode(studios.PlainModel(zoo.built(kind)), texts, clip_skip=1)
        pipeline = told_of_pictures(kind)
        side = 1024 if encode is encode_texts else 384
        seen = pipeline.image_processor.resize(opened(picture), side, side)
        wanted, _ = pipeline.encode_prompt("make it red", seen if encode is encode_texts else [seen])
    assert torch.equal(read.texts[0]["prompt_embeds"], wanted)


def test_what_it_does_not_take_is_told(picture: str, tmp_path: Path) -> None:
    Image.new("L", (64, 64), 255).save(tmp_path / "mask.png")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "changes pictures: give it one$"),
        ({"image": picture, "inpaint": {"mask": str(tmp_path / "mask.png")}}, "takes no mask"),
        ({"image": picture, "strength": 0.5}, "takes no strength"),
        ({"image": picture, "clip_skip": 2}, "(?i)clip skip"),
        (
            {"image": picture, "refiner": {"model": str(zoo.saved("qwen-image"))}},
            "made for text-to-image, not for edit",
        ),
        ({"image": picture, "refiner": {"model": str(folder("qwen-image-edit"))}}, "read for one model alone"),
    ]
    with studios.studio() as studio:
        for fields, told in cases:
            with pytest.raises(InputError, match=told):
                studio.resolve(ImageRequest.model_validate({"model": str(folder("qwen-image-edit")), **fields}))


def test_a_weight_changes_the_words_and_not_the_picture(picture: str) -> None:
    model = studios.PlainModel(zoo.built("qwen-image-edit-plus"))
    with torch.no_grad():
        usual, more = (
            cast(torch.Tensor, encode_texts(model, weighed(weight, picture), clip_skip=1).texts[0]["prompt_embeds"])
            for weight in (1.0, 1.5)
        )
    changed = (usual != more).any(-1)[0]
    places = changed.nonzero().flatten().tolist()
    assert len(places) == 1  # `red`, behind all that stands for the picture
    assert 1000 < places[0] < len(changed) - 4


def test_a_prompt_cannot_stand_for_a_picture(picture: str) -> None:
    texts = replace(Texts.plain(f"a {PICTURE_TOKEN}", None), image=opened(picture))
    with pytest.raises(InputError, match=r"holds `<\|image_pad\|>`, which stands for a picture"), torch.no_grad():
        encode_texts(studios.PlainModel(zoo.built("qwen-image-edit")), texts, clip_skip=1)


def weighed(weight: float, picture: str) -> Texts:
    pieces = (Piece("make it ", 1.0), Piece("red", weight), Piece(" now", 1.0))
    return Texts(prompts=(((pieces,),),), negatives=(), weighting=Weighting.ORIGINAL, image=opened(picture))
