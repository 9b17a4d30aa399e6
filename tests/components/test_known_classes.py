"""The data of the real classes: their calls bind, merge, and split into what each would have got alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

import zoo
from bench import Bench
from gesso.components.layouts import LAYOUTS
from gesso.components.tree import leaves

TOLERANCE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
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


NETWORKS: dict[str, tuple[str, str, Arguments]] = {
    "UNet2DConditionModel": ("sd1", "unet", _unet),
    "UNet2DConditionModel of SDXL": ("sdxl", "unet", _sdxl_unet),
    "SD3Transformer2DModel": ("sd3", "transformer", _sd3),
    "FluxTransformer2DModel": ("flux-dev", "transformer", _flux),
    "CLIPTextModel": ("sd1", "text_encoder", _tokens),
    "CLIPTextModelWithProjection": ("sdxl", "text_encoder_2", _tokens),
    "T5EncoderModel": ("sd3", "text_encoder_3", _tokens),
}


def test_every_class_with_data_is_tried_here() -> None:
    assert {name.partition(" ")[0] for name in NETWORKS} | {"AutoencoderKL", "LayerNorm"} == set(LAYOUTS)


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
    assert bench.agree(*calls)
    for output, reference in zip(bench.run(*calls), expected, strict=True):
        assert isinstance(output.latent_dist, DiagonalGaussianDistribution)
        torch.testing.assert_close(output.latent_dist.parameters, reference, **TOLERANCE)
        drawn = output.latent_dist.sample(torch.Generator().manual_seed(1))
        assert drawn.shape == (len(reference), 4, 4, 4)
    assert bench.said == []


def test_pictures_decode_together_although_each_brings_its_generator() -> None:
    vae: Any = zoo.build("sd1").components["vae"]
    latents = [_noise(torch.Generator().manual_seed(seed), 1, 4, 8, 8) for seed in (1, 2)]
    with torch.no_grad():
        expected = [vae.decode(latent, return_dict=False)[0] for latent in latents]
    bench = Bench(vae)
    calls = [
        bench.call(latent, return_dict=False, generator=torch.Generator().manual_seed(9), method="decode")
        for latent in latents
    ]
    assert bench.agree(*calls)
    for output, reference in zip(bench.run(*calls), expected, strict=True):
        torch.testing.assert_close(output[0], reference, **TOLERANCE)


def test_inputs_in_another_precision_are_cast_to_that_of_the_network() -> None:
    vae: Any = zoo.build("sd1").components["vae"].to(torch.bfloat16)
    bench = Bench(vae, dtype=torch.bfloat16)
    call = bench.call(torch.zeros(1, 4, 8, 8), return_dict=False, method="decode")
    assert call.arguments["z"].dtype == torch.bfloat16
    assert bench.run(call)[0][0].dtype == torch.bfloat16
