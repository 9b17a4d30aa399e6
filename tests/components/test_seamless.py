"""Networks that wrap round: what is rolled comes out rolled, to rounding; and they are as before afterwards."""

from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from gesso.components.seamless import Seamless

AXES = {"x": -1, "y": -2}


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def unet(kind: str, latents: Tensor) -> Tensor:
    network: Any = getattr(zoo.built(kind), "unet")  # noqa: B009 - pipelines declare no attributes
    given: dict[str, Any] = {"encoder_hidden_states": noise(1, 7, network.config.cross_attention_dim)}
    if network.config.addition_embed_type:
        pooled = network.config.projection_class_embeddings_input_dim - 6 * network.config.addition_time_embed_dim
        given["added_cond_kwargs"] = {"text_embeds": noise(1, pooled), "time_ids": torch.ones(1, 6)}
    return network(latents, 500, **given).sample


def decode(kind: str, latents: Tensor) -> Tensor:
    vae: Any = getattr(zoo.built(kind), "vae")  # noqa: B009
    return vae.decode(latents).sample


def encode(kind: str, latents: Tensor) -> Tensor:
    vae: Any = getattr(zoo.built(kind), "vae")  # noqa: B009
    return vae.encode(latents).latent_dist.mean


CALLS = {"unet": (unet, noise(1, 4, 16, 16), 8, 8), "decode": (decode, noise(1, 4, 16, 16), 1, 8)}
CALLS["encode"] = (encode, noise(1, 3, 128, 128), 8, 1)
"""What is called, of what, and by how many cells input and output are rolled."""


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("axis", AXES)
def test_what_is_rolled_along_a_wrapped_axis_comes_out_rolled(kind: str, call: str, axis: str) -> None:
    function, given, by, then = CALLS[call]
    module: Any = getattr(zoo.built(kind), "unet" if call == "unet" else "vae")
    along, across = AXES[axis], -3 - AXES[axis]

    def gap(dimension: int) -> float:
        """How far the output of the rolled input is from the rolled output."""
        straight = function(kind, given).roll(then, dimension)
        return float((function(kind, given.roll(by, dimension)) - straight).abs().max() / straight.abs().max())

    with torch.no_grad():
        before = function(kind, given)
        with Seamless(x=axis == "x", y=axis == "y").entered(module):
            assert gap(along) < 1e-4
            assert gap(across) > 1e-3
        torch.testing.assert_close(function(kind, given), before, rtol=0, atol=0)
    assert not [part for part in module.modules() if "_conv_forward" in part.__dict__]
