"""The `parameters` text: as AUTOMATIC1111 writes it, and read back whoever wrote it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.core.requests import Inpaint, ResolvedInpaint
from gesso.engine.foreign.read import read_parameters
from gesso.engine.infotext import NEGATIVE, parse, write
from recipes import recipe


def test_the_text_is_written_as_automatic1111_writes_it() -> None:
    text = write(
        recipe(prompt="a cat, (hat:1.2) <lora:foo:0.8>", negative_prompt="blurry", clip_skip=2, guidance_rescale=0.7)
    )
    assert text == (
        "a cat, (hat:1.2) <lora:foo:0.8>\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 42, Size: 512x768, "
        "Model hash: 0123456789, Model: toy, Clip skip: 2, RNG: CPU, CFG rescale: 0.7, Version: Gesso 0.1.0"
    )


@pytest.mark.parametrize(
    ("inpaint", "written"),
    [
        (None, ""),
        ({}, ""),
        (
            {"invert": True, "blur": 4.0, "only_masked": True, "fill": "noise"},
            ", Mask mode: Inpaint not masked, Mask blur: 4, Inpaint area: Only masked, Masked area padding: 32, "
            "Masked content: latent noise",
        ),
        ({"fill": "blur", "blur": 1.5}, ", Mask blur: 1.5, Masked content: fill"),
    ],
)
def test_what_a_picture_began_with_is_written_as_automatic1111_writes_it(
    inpaint: dict[str, Any] | None, written: str
) -> None:
    picture = {"source": "/pictures/cat.png", "sha256": "0" * 64}
    mask = None if inpaint is None else Inpaint.model_validate({"mask": "mask.png"} | inpaint)
    resolved = None if mask is None else ResolvedInpaint.model_validate(dict(mask) | {"mask": picture})
    text = write(recipe(image=picture, strength=0.6, inpaint=resolved, noise_source="cpu"))
    assert f"Model: toy, Denoising strength: 0.6, RNG: CPU{written}, Version: Gesso" in text
    assert read_parameters(text).fields.get("hires") is None


def test_the_strength_of_what_reads_pictures_whole_is_not_written() -> None:
    picture = {"source": "/pictures/cat.png", "sha256": "0" * 64}
    assert "Denoising" not in write(recipe(image=picture, pipeline="FluxKontextPipeline"))


def test_what_was_not_used_is_not_written() -> None:
    text = write(recipe(sampler="default", schedule="automatic", weights="pending"))
    assert (
        text == "a cat\nSteps: 20, CFG scale: 7.0, Seed: 42, Size: 512x768, Model: toy, RNG: CPU, Version: Gesso 0.1.0"
    )


def test_noise_is_written_as_automatic1111_writes_it() -> None:
    fields = {"noise_source": "nv", "eta_seed_offset": 31337, "variation_seed": 100, "variation_strength": 0.25}
    text = write(recipe(clip_skip=2, index=2, **fields))
    assert text.endswith(
        "Seed: 42, Size: 512x768, Model hash: 0123456789, Model: toy, Variation seed: 102, "
        "Variation seed strength: 0.25, Clip skip: 2, ENSD: 31337, RNG: NV, Version: Gesso 0.1.0"
    )
    assert read_parameters(text).fields.items() >= (fields | {"seed": 42, "variation_seed": 102}).items()


def test_a_variation_seed_of_nought_is_written_too() -> None:
    assert "Variation seed: 0, Variation seed strength: 1.0," in write(recipe(variation_strength=1.0))


@pytest.mark.parametrize(
    ("resolved", "written"),
    [
        ({"sampler": "Euler a", "eta": 0.4}, "Eta: 0.4"),
        ({"sampler": "DDIM", "eta": 0.5}, "Eta DDIM: 0.5"),
        ({"sampler": "Euler", "s_churn": 3.0}, "Sigma churn: 3.0"),
        (
            {"sampler": "Heun", "s_churn": 3.0, "s_tmin": 0.1, "s_tmax": 9.0, "s_noise": 1.01},
            "Sigma churn: 3.0, Sigma tmin: 0.1, Sigma tmax: 9.0, Sigma noise: 1.01",
        ),
    ],
)
def test_noise_on_the_way_is_written_as_automatic1111_writes_it(resolved: dict[str, Any], written: str) -> None:
    text = write(recipe(schedule="automatic", **resolved))
    assert f", {written}, RNG: CPU" in text
    assert read_parameters(text).fields.items() >= resolved.items()


def test_noise_on_the_way_that_is_the_samplers_own_is_not_written() -> None:
    for sampler, eta in (("Euler a", 1.0), ("Euler a", None), ("DDIM", 0.0), ("TCD", 0.3), ("Euler", None)):
        text = write(recipe(sampler=sampler, eta=eta))
        assert "Eta" not in text
        assert "Sigma" not in text


def test_an_automatic_schedule_is_named_so_only_where_the_sampler_prefers_none() -> None:
    assert "Sampler: Euler, Schedule type: Automatic," in write(recipe(sampler="Euler", schedule="automatic"))


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("org/model-xl", "Model: org/model-xl,"),
        ("/home/me/secret/model", "Model: model,"),
        ("./models/mine", "Model: mine,"),
        ("v1.5, pruned", 'Model: "v1.5, pruned",'),
        ('a: "b"', 'Model: "a: \\"b\\"",'),
        ("Model", "Model,"),
    ],
)
def test_a_model_is_named_and_quoted_where_needed(model: str, written: str) -> None:
    text = write(recipe(model=model))
    assert written in text
    assert parse(text).pairs["Model"] == (
        model if "/" not in model or model.startswith("org") else model.split("/")[-1]
    )


def test_the_seed_is_that_of_the_picture() -> None:
    assert "Seed: 44," in write(recipe(seed=44, index=2))


def normalised(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n")).strip()


nasty = st.text(
    st.one_of(st.characters(exclude_categories=("Cs",)), st.sampled_from("\n\n\"\\,,::()[]<>{}🎨é\u2028\r\t '")),
    max_size=80,
) | st.sampled_from(["Steps: 1, Seed: 2, Size: 1x1", '"', "\\", "a\n\nb", "Negative prompt", "🎨" * 10, ","])


@given(prompt=nasty, negative=nasty, model=nasty, steps=st.integers(1, 999), guidance=st.floats(0, 30))
def test_whatever_the_prompt_it_is_read_back(
    prompt: str, negative: str, model: str, steps: int, guidance: float
) -> None:
    if any(line.strip().startswith(NEGATIVE) for line in prompt.split("\n")):
        prompt = prompt.replace(NEGATIVE, "")  # the one thing that the format cannot say
    read = parse(
        write(recipe(prompt=prompt, negative_prompt=negative, model=f"m {model}", steps=steps, guidance=guidance))
    )
    assert read.prompt == normalised(prompt)
    assert read.negative_prompt == normalised(negative)
    assert read.pairs["Steps"] == str(steps)
    assert float(read.pairs["CFG scale"]) == guidance
    assert read.pairs["Size"] == "512x768"
    assert read.pairs["RNG"] == "CPU"
    assert read.pairs["Version"] == "Gesso 0.1.0"


@given(st.text())
def test_reading_never_fails(text: str) -> None:
    read = parse(text)
    if not read.pairs:
        assert NEGATIVE in text or read.prompt == normalised(text)


def test_the_text_of_automatic1111_is_read() -> None:
    read = parse(
        "a cat, (hat:1.2)\nsecond line\nNegative prompt: blurry,\nugly\n"
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 42, Size: 512x768, Model hash: 0123456789, "
        'Model: toy, Denoising strength: 0.7, Clip skip: 2, Lora hashes: "foo: 0123456789ab, bar: \\"x\\"", '
        "Hires upscaler: Latent, Version: v1.10.1"
    )
    assert read.prompt == "a cat, (hat:1.2)\nsecond line"
    assert read.negative_prompt == "blurry,\nugly"
    assert read.pairs["Lora hashes"] == 'foo: 0123456789ab, bar: "x"'
    assert read.pairs["Version"] == "v1.10.1"


def test_a_key_that_stands_alone_is_its_own_value() -> None:
    assert parse("x\nSteps: 1, Tiling, Seed: 2, Size: 8x8").pairs["Tiling"] == "Tiling"


@pytest.mark.parametrize("text", ["", "a cat", "a cat, a dog, a house, a tree", "a: b, c: d", "one\ntwo, three"])
def test_a_text_without_pairs_is_all_prompt(text: str) -> None:
    assert parse(text).prompt == text
    assert not parse(text).pairs


def test_what_is_no_pair_is_kept_apart() -> None:
    read = parse('x\nSteps: 1, ?!, Seed: 2 , Size: 8x8, Seed: 3, Hashes: {"a": 1, "b": 2}, Model: "a, b" c')
    assert read.unread == ("?!", "c")
    assert read.repeated == (("Seed", "2"),)
    assert read.pairs["Hashes"] == '{"a": 1, "b": 2}'
    assert read.pairs["Model"] == "a, b"


def test_lines_about_templates_are_no_part_of_the_prompts() -> None:
    read = parse("a cat\nNegative prompt: a dog\nSteps: 1, Seed: 2, Size: 8x8\nTemplate: a {cat|cow}\nand more")
    assert (read.prompt, read.negative_prompt, read.pairs["Seed"]) == ("a cat", "a dog", "2")
    assert read.templates == {"Template": "a {cat|cow}"}
    assert read.unread == ("and more",)
