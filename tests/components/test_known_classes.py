"""The data of the real classes: their calls bind, merge, and split into what each would have got alone."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

import zoo
from bench import Bench
from gesso.components.layouts import LAYOUTS
from gesso.components.tree import leaves
from zoo.networks import tiny_vae

TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 5e-5}
Arguments = Callable[[torch.Generator, int], dict[str, Any]]


def _noise(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator)


def _unet(generator: torch.Generator, count: int) -> dict[str, Any]:
    return {
        "sample": _noise(generator, count, 4, 8, 8),
        "timestep": torch.tensor(int(torch.randint(1000, (), generator=generator))),
        "encoder_hidden_states": _noise(generator, count, 7, 32),
        "timestep_cond": None,
        "cross_attention_kwargs": None,
        "added_cond_kwargs": None,
        "return_dict": False,
    }


def _sdxl_unet(generator: torch.Generator, count: int) -> dict[str, Any]:
    added = {"text_embeds": _noise(generator, count, 24), "time_ids": _noise(generator, count, 6)}
    return _unet(generator, count) | {
        "encoder_hidden_states": _noise(generator, count, 7, 40),
        "added_cond_kwargs": added,
    }


def _sd3(generator: torch.Generator, count: int) -> dict[str, Any]:
    return {
        "hidden_states": _noise(generator, count, 16, 8, 8),
        "timestep": torch.rand(1, generator=generator).expand(count) * 1000,
        "encoder_hidden_states": _noise(generator, count, 9, 48),
        "pooled_projections": _noise(generator, count, 40),
        "joint_attention_kwargs": None,
        "return_dict": False,
    }


def _flux(generator: torch.Generator, count: int) -> dict[str, Any]:
    return {
        "hidden_states": _noise(generator, count, 16, 64),
        "timestep": torch.rand(1, generator=generator).expand(count),
        "guidance": torch.full((count,), 3.5),
        "pooled_projections": _noise(generator, count, 16),
        "encoder_hidden_states": _noise(generator, count, 5, 32),
        "txt_ids": torch.zeros(5, 3),
        "img_ids": torch.arange(48.0).reshape(16, 3),
        "joint_attention_kwargs": {},
        "return_dict": False,
    }


def _tokens(generator: torch.Generator, count: int) -> dict[str, Any]:
    ids = torch.randint(2, 100, (count, 9), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "output_hidden_states": True}


def _asked_by(kind: str, attribute: str, *, words: int = 3) -> tuple[str, str, Arguments]:
    """The arguments with which the pipeline of `kind` itself calls a network, for as many prompts as there are rows."""
    seen: list[dict[str, Any]] = []

    def look(network: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        signature = inspect.signature(inspect.unwrap(type(network).forward))
        bound = signature.bind(None, *args, **kwargs).arguments
        named = {name: value for name, value in list(bound.items())[1:] if name != "kwargs"}
        seen.append(named | bound.get("kwargs", {}))

    def arguments(generator: torch.Generator, count: int) -> dict[str, Any]:
        known = [word for word in zoo.WORDS if word.isalpha()]
        texts = [
            " ".join(known[index] for index in torch.randint(len(known), (words,), generator=generator))
            for _ in range(count)
        ]
        pipeline: Any = zoo.built(kind)
        hook = getattr(pipeline, attribute).register_forward_pre_hook(look, with_kwargs=True)
        try:
            pipeline(
                prompt=texts,
                guidance_scale=1.0,
                num_inference_steps=2,
                width=64,
                height=64,
                generator=generator,
                output_type="latent",
                **zoo.ARGUMENTS.get(kind, {}),
            )
        finally:
            hook.remove()
        return seen[-1]

    return kind, attribute, arguments


def _flux2(generator: torch.Generator, count: int) -> dict[str, Any]:
    return {
        "hidden_states": _noise(generator, count, 16, 128),
        "timestep": torch.rand(1, generator=generator).expand(count),
        "guidance": torch.full((count,), 4.0),
        "encoder_hidden_states": _noise(generator, count, 5, 24),
        "txt_ids": torch.zeros(1, 5, 4),
        "img_ids": torch.arange(64.0).reshape(1, 16, 4),
        "joint_attention_kwargs": None,
        "return_dict": False,
    }


def _z_image(generator: torch.Generator, count: int) -> dict[str, Any]:
    lengths = torch.randint(9, 33, (count,), generator=generator).tolist()  # all are padded to 32
    return {
        "x": [_noise(generator, 16, 1, 8, 8) for _ in lengths],
        "t": torch.rand(1, generator=generator).expand(count),
        "cap_feats": [_noise(generator, length, 32) for length in lengths],
        "joint_attention_kwargs": None,
        "return_dict": False,
    }


def _qwen_image(generator: torch.Generator, count: int) -> dict[str, Any]:
    return {
        "hidden_states": _noise(generator, count, 16, 64),
        "timestep": torch.rand(1, generator=generator).expand(count),
        "guidance": None,
        "encoder_hidden_states_mask": None,
        "encoder_hidden_states": _noise(generator, count, 7, 32),
        "img_shapes": [[(1, 4, 4)]] * count,
        "attention_kwargs": {},
        "return_dict": False,
    }


def _conversation(generator: torch.Generator, count: int) -> dict[str, Any]:
    given = _tokens(generator, count)
    given["attention_mask"][:, -2:] = 0
    return given | {"use_cache": False}


NETWORKS: dict[str, tuple[str, str, Arguments]] = {
    "UNet2DConditionModel": ("sd1", "unet", _unet),
    "UNet2DConditionModel of SDXL": ("sdxl", "unet", _sdxl_unet),
    "SD3Transformer2DModel": ("sd3", "transformer", _sd3),
    "FluxTransformer2DModel": ("flux-dev", "transformer", _flux),
    "CLIPTextModel": ("sd1", "text_encoder", _tokens),
    "CLIPTextModelWithProjection": ("sdxl", "text_encoder_2", _tokens),
    "T5EncoderModel": ("sd3", "text_encoder_3", _tokens),
    "Flux2Transformer2DModel": ("flux2", "transformer", _flux2),
    "ZImageTransformer2DModel": ("z-image", "transformer", _z_image),
    "QwenImageTransformer2DModel": ("qwen-image", "transformer", _qwen_image),
    "Qwen3Model": ("z-image", "text_encoder", _conversation),
    "Qwen3ForCausalLM": ("flux2-klein", "text_encoder", _conversation),
    "Mistral3ForConditionalGeneration": ("flux2", "text_encoder", _conversation),
    "Qwen2_5_VLForConditionalGeneration": ("qwen-image", "text_encoder", _conversation),
    "T5EncoderModel of Chroma": _asked_by("chroma", "text_encoder"),
    "UMT5EncoderModel": _asked_by("aura-flow", "text_encoder"),
    "BertModel": _asked_by("hunyuan-dit", "text_encoder"),
    "PixArtTransformer2DModel": _asked_by("pixart", "transformer"),
    "ChromaTransformer2DModel": _asked_by("chroma", "transformer"),
    "SanaTransformer2DModel": _asked_by("sana", "transformer"),
    "SanaTransformer2DModel of Sprint": _asked_by("sana-sprint", "transformer"),
    "Lumina2Transformer2DModel": _asked_by("lumina2", "transformer"),
    "AuraFlowTransformer2DModel": _asked_by("aura-flow", "transformer"),
    "HunyuanDiT2DModel": _asked_by("hunyuan-dit", "transformer"),
    "CogView3PlusTransformer2DModel": _asked_by("cogview3plus", "transformer"),
    "CogView4Transformer2DModel": _asked_by("cogview4", "transformer"),
    "Kandinsky3UNet": _asked_by("kandinsky3", "unet"),
    "OvisImageTransformer2DModel": _asked_by("ovis", "transformer"),
}


def test_every_class_with_data_is_tried_here() -> None:
    elsewhere = {
        "AutoencoderKL",
        "AutoencoderKLFlux2",
        "AutoencoderKLQwenImage",
        "AutoencoderTiny",
        "AutoencoderDC",
        "VQModel",
        "LayerNorm",
    }
    assert {name.partition(" ")[0] for name in NETWORKS} | elsewhere == set(LAYOUTS)


@pytest.mark.parametrize("name", NETWORKS)
def test_calls_of_a_real_network_merge_and_each_gets_what_it_would_have_got_alone(name: str) -> None:
    kind, attribute, arguments = NETWORKS[name]
    network: Any = getattr(zoo.build(kind), attribute)
    generator = torch.Generator().manual_seed(7)
    given = [arguments(generator, count) for count in (2, 1, 2)]
    with torch.no_grad():
        expected = [network(**one) for one in given]
    bench = Bench(network)
    calls = [bench.call(**one) for one in given]
    assert bench.said == []
    assert bench.agree(calls[0], calls[1])
    found = bench.run(*calls)
    assert [segment.batch_rows for call in calls for segment in call.segments] == [5, 5, 5]
    for output, reference in zip(found, expected, strict=True):
        assert type(output) is type(reference)
        tensors = dict(leaves(output))
        assert tensors.keys() == dict(leaves(reference)).keys()
        for path, value in leaves(reference):
            torch.testing.assert_close(tensors[path], value, **TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_lone_call_of_a_real_network_has_the_bytes_of_the_plain_one(name: str) -> None:
    kind, attribute, arguments = NETWORKS[name]
    network: Any = getattr(zoo.build(kind), attribute)
    given: Any = arguments(torch.Generator().manual_seed(7), 2)
    with torch.no_grad():
        expected = network(**given)
    bench = Bench(network)
    [found] = bench.run(bench.call(**given))
    for (path, value), (_, reference) in zip(leaves(found), leaves(expected), strict=True):
        assert torch.equal(value, reference), path


@pytest.mark.parametrize("name", NETWORKS)
def test_the_bytes_of_a_row_do_not_depend_on_what_its_neighbours_hold(name: str) -> None:
    kind, attribute, arguments = NETWORKS[name]
    network: Any = getattr(zoo.build(kind), attribute)
    generator = torch.Generator().manual_seed(7)
    own, *others = [arguments(generator, count) for count in (1, 3, 3)]
    bench = Bench(network)
    first, second = [dict(leaves(bench.run(bench.call(**own), bench.call(**neighbours))[0])) for neighbours in others]
    for path, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[path]), path


def test_texts_of_full_and_of_padded_length_do_not_agree() -> None:
    """A mask that hides nothing is left out of the sums, for all rows or for none."""
    for kind in ("chroma", "aura-flow", "hunyuan-dit", "sd1"):
        bench = Bench(getattr(zoo.build(kind), "text_encoder"))  # noqa: B009 (not every pipeline has one)
        ids = torch.randint(5, 60, (1, 12), generator=torch.Generator().manual_seed(3))
        full, padded = torch.ones(1, 12, dtype=torch.long), (torch.arange(12) < 7).long().unsqueeze(0)
        calls = [bench.call(input_ids=ids, attention_mask=mask) for mask in (full, padded, padded.roll(1))]
        assert not bench.agree(calls[0], calls[1])
        assert bench.agree(calls[1], calls[2])


def test_texts_of_other_lengths_do_not_agree_where_the_longest_decides() -> None:
    kind, attribute, short = _asked_by("lumina2", "transformer", words=2)
    _, _, long = _asked_by("lumina2", "transformer", words=5)
    bench = Bench(getattr(zoo.build(kind), attribute))
    generator = torch.Generator().manual_seed(7)
    one, other = bench.call(**short(generator, 1)), bench.call(**long(generator, 1))
    assert not bench.agree(one, other)
    assert bench.agree(one, bench.call(**short(generator, 2)))


def test_flux_calls_of_other_picture_sizes_do_not_agree_and_equal_ones_do() -> None:
    bench = Bench(zoo.build("flux-dev").components["transformer"])
    generator = torch.Generator().manual_seed(7)
    call = bench.call(**_flux(generator, 1))
    other: dict[str, Any] = _flux(generator, 1) | {"img_ids": torch.arange(48.0).reshape(16, 3) + 1}
    assert bench.agree(call, bench.call(**_flux(generator, 2)))
    assert not bench.agree(call, bench.call(**other))


def test_a_distribution_is_split_as_well() -> None:
    vae: Any = zoo.build("sd1").components["vae"]
    generator = torch.Generator().manual_seed(7)
    pictures = [_noise(generator, count, 3, 32, 32) for count in (1, 2)]
    with torch.no_grad():
        expected = [vae.encode(picture).latent_dist.parameters for picture in pictures]
    bench = Bench(vae)
    calls = [bench.call(picture, method="encode") for picture in pictures]
    assert calls[0].key == calls[1].key
    for output, reference in zip(bench.run(*calls), expected, strict=True):
        assert isinstance(output.latent_dist, DiagonalGaussianDistribution)
        torch.testing.assert_close(output.latent_dist.parameters, reference, **TOLERANCE)
        drawn = output.latent_dist.sample(torch.Generator().manual_seed(1))
        assert drawn.shape == (len(reference), 4, 4, 4)
    assert bench.said == []


@pytest.mark.parametrize(("kind", "name", "shape"), [("sana", "vae", (32, 2, 2)), ("kandinsky3", "movq", (4, 8, 8))])
def test_rows_of_other_autoencoders_are_told_apart(kind: str, name: str, shape: tuple[int, ...]) -> None:
    vae: Any = zoo.build(kind).components[name]
    generator = torch.Generator().manual_seed(7)
    options: dict[str, Any] = {"force_not_quantize": True} if kind == "kandinsky3" else {}
    inputs = {
        "encode": ([_noise(generator, count, 3, 64, 64) for count in (1, 2)], {}),
        "decode": ([_noise(generator, count, *shape) for count in (1, 2)], options),
    }
    bench = Bench(vae)
    for method, (tensors, extra) in inputs.items():
        with torch.no_grad():
            expected = [getattr(vae, method)(tensor, return_dict=False, **extra)[0] for tensor in tensors]
        calls = [bench.call(tensor, return_dict=False, method=method, **extra) for tensor in tensors]
        assert calls[0].key == calls[1].key
        for output, reference in zip(bench.run(*calls), expected, strict=True):
            torch.testing.assert_close(output[0], reference, **TOLERANCE)
    assert bench.said == []


def test_a_generator_that_decoding_does_not_use_makes_no_difference() -> None:
    vae: Any = zoo.build("sd1").components["vae"]
    latents = [_noise(torch.Generator().manual_seed(seed), 1, 4, 8, 8) for seed in (1, 2)]
    with torch.no_grad():
        expected = [vae.decode(latent, return_dict=False)[0] for latent in latents]
    bench = Bench(vae)
    calls = [
        bench.call(latent, return_dict=False, generator=torch.Generator().manual_seed(9), method="decode")
        for latent in latents
    ]
    assert calls[0].key == calls[1].key
    for output, reference in zip(bench.run(*calls), expected, strict=True):
        torch.testing.assert_close(output[0], reference, **TOLERANCE)


def test_pictures_are_decoded_one_by_one_and_a_call_of_several_stays_whole() -> None:
    vae: Any = zoo.build("sd1").components["vae"]
    generator = torch.Generator().manual_seed(7)
    bench = Bench(vae)
    calls = [bench.call(_noise(generator, count, 4, 8, 8), method="decode") for count in (1, 2)]
    assert not bench.agree(*calls)
    bench.run(calls[1])
    assert [segment.batch_rows for segment in calls[1].segments] == [2]


def test_inputs_in_another_precision_are_cast_to_that_of_the_network() -> None:
    vae: Any = zoo.build("sd1").components["vae"].to(torch.bfloat16)
    bench = Bench(vae, dtype=torch.bfloat16)
    call = bench.call(torch.zeros(1, 4, 8, 8), return_dict=False, method="decode")
    assert call.arguments["z"].dtype == torch.bfloat16
    assert bench.run(call)[0][0].dtype == torch.bfloat16


def test_flux2_calls_of_other_picture_sizes_do_not_agree_although_they_are_as_large() -> None:
    bench = Bench(zoo.build("flux2").components["transformer"])
    generator = torch.Generator().manual_seed(7)
    call = bench.call(**_flux2(generator, 1))
    other: dict[str, Any] = _flux2(generator, 1) | {"img_ids": torch.arange(64.0).reshape(1, 16, 4) + 1}
    assert bench.agree(call, bench.call(**_flux2(generator, 2)))
    assert not bench.agree(call, bench.call(**other))


def test_qwen_image_calls_of_other_picture_sizes_do_not_agree_although_they_are_as_large() -> None:
    bench = Bench(zoo.build("qwen-image").components["transformer"])
    generator = torch.Generator().manual_seed(7)
    call = bench.call(**_qwen_image(generator, 1))
    other: dict[str, Any] = _qwen_image(generator, 1) | {"img_shapes": [[(1, 2, 8)]]}
    assert bench.agree(call, bench.call(**_qwen_image(generator, 2)))
    assert not bench.agree(call, bench.call(**other))


def test_captions_of_other_lengths_run_apart_where_they_are_padded_to_other_lengths() -> None:
    bench = Bench(zoo.build("z-image").components["transformer"])
    generator = torch.Generator().manual_seed(7)

    def call(*lengths: int) -> Any:
        given = _z_image(generator, len(lengths))
        given["cap_feats"] = [_noise(generator, length, 32) for length in lengths]
        return bench.call(**given)

    assert bench.agree(call(9), call(32))
    assert not bench.agree(call(9), call(33))
    assert bench.agree(call(40, 9), call(64, 30))
    assert not bench.agree(call(40, 9), call(40))  # without the shorter one beside it, nothing is masked


def test_a_guidance_pair_of_captions_of_two_lengths_is_merged_and_gets_what_it_would_have_got_alone() -> None:
    network: Any = zoo.build("z-image").components["transformer"]
    generator = torch.Generator().manual_seed(7)
    given = [_z_image(generator, 2) for _ in range(3)]
    for one in given:
        one["cap_feats"] = [_noise(generator, 40, 32), _noise(generator, 11, 32)]
    with torch.no_grad():
        expected = [network(**one)[0] for one in given]
    bench = Bench(network)
    found = bench.run(*(bench.call(**one) for one in given))
    for [rows], reference in zip(found, expected, strict=True):
        for row, other in zip(rows, reference, strict=True):
            torch.testing.assert_close(row, other, **TOLERANCE)


def test_a_language_model_that_keeps_its_keys_runs_alone_and_says_so() -> None:
    bench = Bench(zoo.build("z-image").components["text_encoder"])
    given: dict[str, Any] = _conversation(torch.Generator().manual_seed(7), 1) | {"use_cache": True}
    bench.run(bench.call(**given), bench.call(**given))
    assert "DynamicCache" in bench.said[0]


@pytest.mark.parametrize("kind", ["flux2", "qwen-image", "tiny"])
@pytest.mark.parametrize("method", ["encode", "decode"])
def test_other_autoencoders_split_too(kind: str, method: str) -> None:
    tiny = zoo.stir(tiny_vae(channels=16), 0) if kind == "tiny" else None
    vae: Any = tiny if tiny is not None else zoo.build(kind).components["vae"]
    generator = torch.Generator().manual_seed(7)
    frames = (1,) if kind == "qwen-image" else ()
    channels = {"encode": 3, "decode": 32 if kind == "flux2" else 16}[method]
    given = [_noise(generator, count, channels, *frames, 8, 8) for count in (1, 2)]
    with torch.no_grad():
        expected = [getattr(vae, method)(one, return_dict=False)[0] for one in given]
    bench = Bench(vae)
    calls = [bench.call(one, return_dict=False, method=method) for one in given]
    assert calls[0].key == calls[1].key
    for output, reference in zip(bench.run(*calls), expected, strict=True):
        distribution = method == "encode" and kind != "tiny"
        found = output[0].parameters if distribution else output[0]
        wanted = reference.parameters if distribution else reference
        torch.testing.assert_close(found, wanted, **TOLERANCE)
    assert bench.said == []
