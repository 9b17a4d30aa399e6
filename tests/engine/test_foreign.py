"""Recipes of other programs: every field carried over as what it means there, or named as not."""

import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from effects import Effect
from foreign_corpus import (
    A1111,
    BASE,
    COMFYUI,
    CORPUS,
    FORGE,
    GRAPH,
    MEANT,
    PAIRS,
    UNLIKE,
    Specimen,
    nodes,
    refined,
    workflow,
)
from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest
from gesso.engine.foreign.beginning import with_beginning
from gesso.engine.foreign.read import ForeignTexts, read_parameters, read_texts
from gesso.engine.foreign.values import ForeignRecipe, Program
from gesso.engine.pictures import read_recipe

FIELDS = ImageRequest.model_fields.keys()


def read(specimen: Specimen) -> ForeignRecipe:
    recipe = read_texts(specimen.texts)
    assert recipe is not None
    return with_beginning(recipe, specimen.given, flow=False)


# --- the corpus


def test_the_corpus_is_large_and_nearly_all_of_it_is_carried_over_whole(effect: Effect) -> None:
    assert len(CORPUS) >= 60
    assert {specimen.program for specimen in CORPUS} == {*Program} - {Program.OTHER}
    effect(
        "Recipes of other programs that are carried over whole; share",
        sum(read(specimen).whole for specimen in CORPUS) / len(CORPUS),
        least=0.95,
        on="texts built from the formats",
    )


@pytest.mark.parametrize("specimen", [*CORPUS, *UNLIKE], ids=lambda specimen: f"{specimen.program}: {specimen.name}")
def test_every_field_is_what_it_should_be(specimen: Specimen) -> None:
    recipe = read(specimen)
    assert recipe.program == specimen.program
    assert dict(recipe.fields) == dict(specimen.fields)
    assert tuple(one.name for one in recipe.left_out) == specimen.left_out
    model = None if recipe.model is None else (recipe.model.name, recipe.model.hash_)
    assert model == specimen.model
    assert recipe.request == ImageRequest(**specimen.fields)
    # and every field says where it is from
    assert {name for one in recipe.carried for name in one.fields} == recipe.fields.keys()


@pytest.mark.parametrize(
    ("pairs", "name", "why"),
    [
        (
            "Hires upscaler: R-ESRGAN 4x+, Hires upscale: 2, Denoising strength: 0.7",
            "Hires upscaler",
            "Lanczos enlarges in its place",
        ),
        ("Hires upscale: 2, Hires prompt: a <lora:x:1>, Denoising strength: 0.7", "Hires prompt", "networks"),
        ("Hires upscale: 2, Hires checkpoint: b [01], Denoising strength: 0.7", "Hires checkpoint", "networks"),
        ("Hires upscale: 2, Denoising strength: 0", "Denoising strength", "not between"),
        ("Denoising strength: 0.7, Mask blur: 4", "Mask blur", "began with"),
        ("Denoising strength: 0.7, Mask blur: 4", "Denoising strength", "began with"),
        ("Refiner: xl [0123456789]", "Refiner", "when it goes on"),
        ("Refiner: xl [0123456789], Refiner switch at: soon", "Refiner switch at", "when it goes on"),
        ("Hires upscale: 2, Hires refiner: first pass, Denoising strength: 0.7", "Hires refiner", "networks"),
        ("Tiling: perhaps", "Tiling", "no such way"),
        ('ControlNet 0: "Module: canny, Model: x"', "ControlNet 0", "control"),
        ("Face restoration: CodeFormer", "Face restoration", "faces"),
        ("Token merging ratio: 0.5", "Token merging ratio", "token"),
        ("Seed resize from: 512x512", "Seed resize from", "noise"),
        ("Hypernet: x, Hypernet strength: 0.5", "Hypernet", "hypernetworks"),
        ("Emphasis: None", "Emphasis", "no such rule"),
        ("RNG: dice", "RNG", "no such noise"),
        ("Something new: 3", "Something new", "not known"),
        ("CFG scale: nan", "CFG scale", "no number"),
        ("Steps: 1_0", "Steps", "no whole number"),
        ("Seed: 99999999999", "Seed", "32 bits"),
        ("Seed: -1", "Seed", "not kept"),
        ("Clip skip: 40", "Clip skip", "not between"),
        ("Size: 7x7", "Size", "smaller"),
        ("Schedule type: KL Optimal", "Schedule type", "no such schedule"),
        ("Sampler: DDIM CFG++", "Sampler", "`gesso samplers`"),
        ("Eta: 3", "Eta", "not between"),
        ("Size: 512x512 ?!", "Size", "no size"),
    ],
)
def test_what_has_no_counterpart_is_named_with_the_reason(pairs: str, name: str, why: str) -> None:
    key = pairs.partition(":")[0]
    first = re.sub(rf"{key}: [^,]*", pairs, PAIRS) if f"{key}: " in PAIRS else f"{PAIRS}, {pairs}"
    recipe = read_parameters(f"a cat\n{first}, Version: v1.10.1")
    reasons = {one.name: one.why for one in recipe.left_out}
    assert why in reasons[name]
    assert f"{name} `" in "\n".join(recipe.warnings())
    asked = {"CFG scale": "guidance", "Steps": "steps", "Seed": "seed", "Sampler": "sampler", "Size": "width"}
    assert asked.get(name) not in recipe.fields


def test_a_field_that_is_there_twice_is_named() -> None:
    recipe = read_parameters(f"a cat\n{PAIRS}, Seed: 43, ???, Version: v1.10.1")
    assert recipe.fields["seed"] == 43
    assert [(one.name, one.value) for one in recipe.left_out] == [("Seed", "42"), ("text between the fields", "???")]


@pytest.mark.parametrize(
    ("version", "program"),
    [
        ("v1.10.1", A1111),
        ("1.6.0", Program.OTHER),
        ("f2.0.1v1.10.1-previous-519-g44eb4ea8", FORGE),
        ("f2.0.1", FORGE),
        ("neo-2.1", FORGE),
        ("ComfyUI", COMFYUI),
        ("Fooocus v2.3.0", Program.OTHER),
        ("Gesso 0.1.0", Program.GESSO),
    ],
)
def test_the_program_is_known_by_what_it_calls_itself(version: str, program: Program) -> None:
    recipe = read_parameters(f"a cat\n{PAIRS}, Version: {version}")
    assert recipe.program is program
    assert (recipe.fields.get("noise_source") == "nv") == (program in {A1111, FORGE})


def test_a_program_that_is_not_known_is_not_taken_for_another() -> None:
    recipe = read_parameters(f"a cat\n{PAIRS}, Sharpness: 2, Version: Fooocus v2.3.0")
    assert recipe.made_by == "another program Fooocus v2.3.0"
    assert not recipe.fields.keys() & {"noise_source", "dialect", "weighting"}
    assert [one.name for one in recipe.left_out] == ["Sharpness"]


def test_what_was_assumed_is_told() -> None:
    refined = f"a cat\n{PAIRS}, Refiner: xl, Refiner switch at: 0.8"
    assert any("level of noise" in line for line in read_parameters(f"{refined}, Version: v1.10.1").warnings())
    assert not read_parameters(f"{refined}, Version: v1.7.0").warnings()
    old = read_parameters(f"a cat\n{PAIRS}")
    assert any("no version is written" in line for line in old.warnings())
    sde = read_parameters(f"a cat\n{PAIRS.replace('Euler a', 'DPM++ SDE')}, Version: v1.10.1")
    assert any("numbers are others" in line for line in sde.warnings())


# --- graphs


@pytest.mark.parametrize(
    ("graph", "name", "why"),
    [
        (nodes(n3={"denoise": 0.5}), "KSampler #3.denoise", "all noise"),
        (nodes(n3={"sampler_name": "ipndm"}), "KSampler #3.sampler_name", "no such sampler"),
        (nodes(n3={"scheduler": "ddim_uniform"}), "KSampler #3.scheduler", "no such schedule"),
        (nodes(n3={"scheduler": "beta"}), "KSampler #3.scheduler", "no such schedule"),
        (nodes(n3={"steps": "many"}), "KSampler #3.steps", "no whole number"),
        (nodes(n3={"hue": 3}), "KSampler #3.hue", "not known"),
        (nodes(n5={"batch_size": 4}), "EmptyLatentImage #5.batch_size", "which of the batch"),
        (
            nodes(
                n3={"latent_image": ["20", 0]},
                n20=("VAEEncode", {"pixels": ["21", 0], "vae": ["4", 2]}),
                n21=("LoadImage", {"image": "a.png"}),
            ),
            "LoadImage #21",
            "began with",
        ),
        (
            nodes(n3={"positive": ["20", 0]}, n20=("ControlNetApply", {"conditioning": ["6", 0], "strength": 1.0})),
            "ControlNetApply #20",
            "control",
        ),
        (
            nodes(
                n3={"model": ["20", 0]},
                n20=("ModelSamplingDiscrete", {"model": ["4", 0], "sampling": "v_prediction", "zsnr": True}),
            ),
            "ModelSamplingDiscrete #20",
            "as it is",
        ),
        (
            nodes(n9={"images": ["20", 0]}, n20=("ImageScaleBy", {"image": ["8", 0], "scale_by": 2})),
            "ImageScaleBy #20",
            "finished",
        ),
        (
            nodes(n6={"text": ["20", 0]}, n20=("Chatbot", {"text": "a", "mood": "b"})),
            "CLIPTextEncode #6.text",
            "not known",
        ),
        (
            nodes(n3={"negative": ["20", 0]}, n20=("ConditioningZeroOut", {"conditioning": ["6", 0]})),
            "ConditioningZeroOut #20",
            "nothing at all",
        ),
        (nodes(n4=("MysteryLoader", {"file": "x"})), "MysteryLoader #4", "not known"),
        (nodes(n20=("SaveImage", {"filename_prefix": "x", "images": ["8", 0]})), "output", "several pictures"),
        (
            nodes(
                n8={"samples": ["20", 0]},
                n20=("KSampler", {**GRAPH["3"]["inputs"], "latent_image": ["21", 0], "seed": 7, "denoise": 0.5}),
                n21=(
                    "LatentUpscale",
                    {
                        "samples": ["3", 0],
                        "upscale_method": "bislerp",
                        "width": 1024,
                        "height": 1536,
                        "crop": "disabled",
                    },
                ),
            ),
            "KSampler #20",
            "second pass",
        ),
    ],
)
def test_nodes_that_shape_the_picture_and_are_not_known_are_named(graph: dict[str, Any], name: str, why: str) -> None:
    recipe = read_texts(ForeignTexts(graph=json.dumps(graph)))
    assert recipe is not None
    assert why in {one.name: one.why for one in recipe.left_out}[name]
    if "Sampler #20" in name:
        assert (recipe.fields["seed"], recipe.fields["width"]) == (42, 512)  # of the first pass


def test_which_text_encoder_reads_both_prompts_is_told() -> None:
    graph = nodes(n6={"clip": ["10", 0]}, n10=("CLIPSetLastLayer", {"stop_at_clip_layer": -2, "clip": ["4", 1]}))
    recipe = read_texts(ForeignTexts(graph=json.dumps(graph)))
    assert recipe is not None
    assert recipe.warnings() == [
        "text encoder of the negative prompt `CheckpointLoaderSimple #4` is not carried over: "
        "that of the prompt, `CLIPSetLastLayer #10, CheckpointLoaderSimple #4`, reads both here"
    ]


def test_where_a_value_comes_from_is_said_in_words() -> None:
    graph = nodes(
        n3={"seed": ["50", 0], "model": ["10", 0]},
        n4={"ckpt_name": ["4", 0]},
        n6={"text": ["6", 0]},
        n7={"text": None},
        n10=("LoraLoaderModelOnly", {"lora_name": ["50", 1], "strength_model": 1.0, "model": ["4", 0]}),
    )
    recipe = read_texts(ForeignTexts(graph=json.dumps(graph)))
    assert recipe is not None
    assert recipe.warnings() == [
        f"{name} is not carried over: {why}"
        for name, why in (
            ("KSampler #3.seed `output 0 of node #50`", "it is made by nodes that are not known"),
            ("CheckpointLoaderSimple #4.ckpt_name `output 0 of node #4`", "it is made by nodes that are not known"),
            ("CLIPTextEncode #6.text `output 0 of node #6`", "it is made by nodes that are not known"),
            ("CLIPTextEncode #7.text `None`", "it is no text"),
            ("LoraLoaderModelOnly #10 `output 1 of node #50`", "it is made by nodes that are not known"),
        )
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"n15": ("CLIPTextEncode", {"text": "a dog", "clip": ["12", 1]})},
        {"n15": ("CLIPTextEncodeSDXLRefiner", {"text": "a cat", "clip": ["12", 1], "ascore": 9.0})},
        {"n12": ("LoraLoaderModelOnly", {"model": ["4", 0], "lora_name": "x", "strength_model": 1.0})},
    ],
)
def test_a_sampler_that_goes_on_otherwise_is_no_refiner(changes: dict[str, Any]) -> None:
    recipe = read_texts(ForeignTexts(graph=json.dumps(refined(**changes))))
    assert recipe is not None
    assert "refiner" not in recipe.fields
    assert {"KSamplerAdvanced #3.end_at_step", "KSamplerAdvanced #11"} <= {one.name for one in recipe.left_out}


def test_that_a_sampler_begins_anew_with_the_refiner_is_told() -> None:
    graph = refined()
    for node in ("3", "11"):
        graph[node]["inputs"]["sampler_name"] = "dpmpp_2m"
    recipe = read_texts(ForeignTexts(graph=json.dumps(graph)))
    assert recipe is not None
    assert recipe.whole
    assert any("begins anew" in line for line in recipe.warnings())


def test_nodes_that_the_picture_does_not_come_from_are_no_matter() -> None:
    graph = nodes(n20=("LoadImage", {"image": "a.png"}), n21=("KSampler", {**GRAPH["3"]["inputs"], "seed": 7}))
    recipe = read_texts(ForeignTexts(graph=json.dumps(graph)))
    assert recipe is not None
    assert recipe.whole
    assert recipe.fields["seed"] == 42


@pytest.mark.parametrize("parameters", ["", " \n", '{"prompt": "a cat", "steps": 30}', '["a cat"]'])
def test_nothing_and_json_are_no_prompt(parameters: str) -> None:
    assert read_texts(ForeignTexts(parameters=parameters)) is None
    unknown = nodes(n3=("SamplerOfMine", GRAPH["3"]["inputs"]))
    recipe = read_texts(ForeignTexts(graph=json.dumps(unknown), parameters=parameters))
    assert recipe is not None
    assert [one.name for one in recipe.left_out] == ["graph"]


@pytest.mark.parametrize("prompt", ["{a|b} cat", "[cat:dog:0.5]", '{"subject": "a cat"}, a photo'])
def test_brackets_alone_are_a_prompt(prompt: str) -> None:
    recipe = read_texts(ForeignTexts(parameters=f"{prompt}\n{PAIRS}, Version: v1.10.1"))
    assert recipe is not None
    assert recipe.fields["prompt"] == prompt


@pytest.mark.parametrize("graph", [nodes(n3=("SamplerOfMine", GRAPH["3"]["inputs"])), nodes(n6={"text": ["50", 0]})])
def test_a_picture_without_a_prompt_that_is_understood_wants_one(graph: dict[str, Any]) -> None:
    recipe = read_texts(ForeignTexts(graph=json.dumps(graph)))
    assert recipe is not None
    with pytest.raises(InputError, match="There is no prompt"):
        recipe.again(seed=1)
    assert recipe.again(prompt="a cat").prompt == "a cat"
    empty = read_texts(ForeignTexts(graph=json.dumps(nodes(n6={"text": ""}))))
    assert empty is not None
    assert empty.again(seed=1).prompt == ""


def test_the_graph_is_believed_before_a_text_beside_it_and_before_its_drawing() -> None:
    texts = ForeignTexts(
        graph=json.dumps(nodes(n3={"seed": 1})),
        workflow=json.dumps(workflow(named=True)),
        parameters=f"a cat\n{PAIRS}, Version: ComfyUI",
    )
    recipe = read_texts(texts)
    assert recipe is not None
    assert recipe.fields["seed"] == 1


# --- where it stands in a picture

TEXT = f"a 猫\n{PAIRS}, Version: v1.10.1"


def png(tmp_path: Path, **chunks: tuple[str, str]) -> ForeignRecipe | None:
    info = PngImagePlugin.PngInfo()
    for name, (kind, text) in chunks.items():
        if kind == "tEXt":
            info.add(b"tEXt", f"{name}\0".encode() + text.encode("latin-1"))
        elif kind == "zTXt":
            info.add(b"zTXt", f"{name}\0\0".encode() + zlib.compress(text.encode("latin-1")))
        else:
            info.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    return read_recipe(tmp_path / "a.png").foreign


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_every_kind_of_text_chunk_is_read(kind: str, tmp_path: Path) -> None:
    text = TEXT if kind == "iTXt" else TEXT.replace("猫", "é")
    recipe = png(tmp_path, parameters=(kind, text))
    assert recipe is not None
    assert recipe.fields == {**BASE, **MEANT, "prompt": text.partition("\n")[0]}
    recipe = png(tmp_path, prompt=(kind, json.dumps(GRAPH)), workflow=(kind, json.dumps(workflow(named=True))))
    assert recipe is not None
    assert recipe.program is COMFYUI


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + TEXT.encode("utf-16-be"),
        b"UNICODE\0" + TEXT.encode("utf-16-le"),
        b"ASCII\0\0\0" + TEXT.encode(),
        TEXT.encode(),
    ],
    ids=["UTF-16 BE", "UTF-16 LE", "ASCII", "UTF-8"],
)
def test_every_encoding_of_a_user_comment_is_read(comment: bytes, suffix: str, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    Image.new("RGB", (8, 8)).save(tmp_path / f"a.{suffix}", exif=tags.tobytes())
    recipe = read_recipe(tmp_path / f"a.{suffix}").foreign
    assert recipe is not None
    assert recipe.fields == {**BASE, **MEANT, "prompt": "a 猫"}


@pytest.mark.parametrize("drawn", [False, True])
def test_comfyui_writes_into_the_tags_of_a_webp(drawn: bool, tmp_path: Path) -> None:
    tags = Image.Exif()
    if not drawn:
        tags[0x0110] = f"prompt:{json.dumps(GRAPH)}"
    tags[0x010F] = f"workflow:{json.dumps(workflow(named=False))}"
    Image.new("RGB", (8, 8)).save(tmp_path / "a.webp", exif=tags.tobytes())
    recipe = read_recipe(tmp_path / "a.webp").foreign
    assert recipe is not None
    assert recipe.program is COMFYUI
    assert recipe.fields["seed"] == 42


def test_a_graph_in_a_user_comment_is_read(tmp_path: Path) -> None:
    tags = Image.Exif()
    document = json.dumps({"prompt": GRAPH, "workflow": workflow(named=True)})
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"ASCII\0\0\0" + document.encode()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=tags.tobytes())
    recipe = read_recipe(tmp_path / "a.jpg").foreign
    assert recipe is not None
    assert recipe.program is COMFYUI


# --- damage


def is_from(text: str, value: Any) -> bool:
    """Whether `value` stands in `text`, or is what the program means anyway."""
    return str(value) in text or str(value).removesuffix(".0") in text


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A text of the corpus with pieces cut out, doubled, moved or replaced."""
    texts = [specimen.texts.parameters for specimen in CORPUS if specimen.texts.parameters is not None]
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        begin, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        piece = draw(
            st.sampled_from(["", text[begin:end] * 2, ", ", '"', "\n", ": ", "\\", "{", "Steps: ", "\0", "9" * 30])
        )
        end = min(end, begin + draw(st.integers(0, 40)))
        text = text[:begin] + piece + text[end:]
    return text


@given(text=damaged())
@settings(max_examples=150, deadline=None)
def test_a_damaged_text_is_read_and_no_field_of_it_is_invented(text: str) -> None:
    recipe = read_parameters(text)
    assert recipe.fields.keys() <= FIELDS
    assert isinstance(recipe.request, ImageRequest)
    for one in recipe.carried:
        if not one.name.startswith("("):
            assert one.value.strip() in {text.strip(), ""} or all(line in text for line in one.value.split("\n"))
        for name in one.fields.keys() & {"steps", "seed", "guidance", "clip_skip", "eta", "variation_seed"}:
            assert is_from(text, one.fields[name])
    for one in recipe.left_out:
        assert one.why


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["4", "KSampler"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged_graphs(draw: st.DrawFn) -> ForeignTexts:
    """A graph or a drawing of the corpus with any values in some of its places."""
    texts = draw(st.sampled_from([specimen.texts for specimen in CORPUS if specimen.texts.parameters is None]))
    document = json.loads(texts.graph or texts.workflow or "")
    for _ in range(draw(st.integers(1, 4))):
        place: Any = document
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from([*place] if isinstance(place, dict) else [*range(len(place))]))
            if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 4)) == 0:
                place[key] = draw(JSON)
                break
            place = place[key]
    said = json.dumps(document)
    return ForeignTexts(graph=said) if texts.graph else ForeignTexts(workflow=said)


@given(texts=damaged_graphs())
@settings(max_examples=200, deadline=None)
def test_a_damaged_graph_is_read_and_no_field_of_it_is_invented(texts: ForeignTexts) -> None:
    recipe = read_texts(texts)
    if recipe is None:
        return
    said = f"{texts.graph}{texts.workflow}"
    assert isinstance(recipe.request, ImageRequest)
    assert recipe.fields.keys() <= FIELDS
    for name in recipe.fields.keys() & {"steps", "guidance", "eta", "s_noise"}:
        assert is_from(said, recipe.fields[name]) or recipe.fields[name] == 1.0
    seed = recipe.fields.get("seed")
    assert seed is None or str(seed) in said or any(str(seed + (high << 32)) in said for high in range(1, 40_000))


@given(st.text(), st.text(), st.text())
@settings(max_examples=50, deadline=None)
def test_any_text_is_read(parameters: str, graph: str, drawing: str) -> None:
    read_texts(ForeignTexts(parameters=parameters, graph=graph, workflow=drawing))


def test_links_in_a_circle_lead_nowhere() -> None:
    graph = nodes(
        n4=("LoraLoader", {"model": ["4", 0], "clip": ["4", 1], "lora_name": "x"}),
        n5=("LatentUpscale", {"samples": ["5", 0]}),
        n6=("ControlNetApply", {"conditioning": ["6", 0]}),
        n8={"samples": ["8", 0]},
    )
    assert read_texts(ForeignTexts(graph=json.dumps(graph))) is not None
    loop = nodes(n20=("Reroute", {"": ["20", 0]}), n3={"model": ["20", 0], "latent_image": ["3", 0]})
    assert read_texts(ForeignTexts(graph=json.dumps(loop))) is not None
