"""The law of activation memory against live tensors of real networks, a tenth as wide as the released ones."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import T5Config, T5EncoderModel

from gesso.memory.plan import LIBRARY_BYTES, TEXT_TOKENS, activation_estimate


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that operations make, while they live."""

    def __init__(self, weights: nn.Module) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in (*weights.parameters(), *weights.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._known:
                    self._known.add(storage._cdata)
                    self._live += storage.nbytes()
                    self.peak = max(self.peak, self._live)
                    weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return output

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size


def unet() -> tuple[nn.Module, Callable[[Any], Any], dict[str, Any]]:
    network = UNet2DConditionModel(
        block_out_channels=(32, 64, 128, 128), cross_attention_dim=64, norm_num_groups=8, attention_head_dim=4
    )
    inputs = torch.zeros(2, 4, 32, 32), 1, torch.zeros(2, 77, 64)
    facts = {"role": "denoiser", "width_px": 256, "height_px": 256, "rows": 2, "channels": 32}
    return network, lambda network: network(*inputs), facts


def flux() -> tuple[nn.Module, Callable[[Any], Any], dict[str, Any]]:
    network = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=8,
        joint_attention_dim=64,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 6, 6),
    )
    tokens = 32 * 32
    inputs = {
        "hidden_states": torch.zeros(1, tokens, 64),
        "encoder_hidden_states": torch.zeros(1, TEXT_TOKENS, 64),
        "pooled_projections": torch.zeros(1, 32),
        "timestep": torch.ones(1),
        "img_ids": torch.zeros(tokens, 3),
        "txt_ids": torch.zeros(TEXT_TOKENS, 3),
    }
    facts = {"role": "denoiser", "width_px": 512, "height_px": 512, "rows": 1, "channels": 128, "patch": 2}
    return network, lambda network: network(**inputs), facts


def vae() -> tuple[nn.Module, Callable[[Any], Any], dict[str, Any]]:
    options: dict[str, Any] = {
        "block_out_channels": (16, 32, 64, 64),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "norm_num_groups": 8,
    }
    network = AutoencoderKL(**options)
    facts = {"role": "vae", "width_px": 256, "height_px": 256, "rows": 1, "channels": 16}
    return network, lambda network: network.decode(torch.zeros(1, 4, 32, 32)), facts


def t5() -> tuple[nn.Module, Callable[[Any], Any], dict[str, Any]]:
    config = T5Config(
        vocab_size=100, d_model=768, d_kv=64, d_ff=1920, num_layers=2, num_heads=12, feed_forward_proj="gated-gelu"
    )
    facts = {"role": "text", "width_px": 512, "height_px": 512, "rows": 1, "channels": 768}
    return T5EncoderModel(config), lambda network: network(torch.ones(1, TEXT_TOKENS, dtype=torch.long)), facts


@pytest.mark.parametrize("made", [unet, flux, vae, t5])
def test_the_estimate_covers_what_a_forward_holds_and_is_not_twice_as_much(
    made: Callable[[], tuple[nn.Module, Callable[[Any], Any], dict[str, Any]]],
) -> None:
    with torch.random.fork_rng(devices=[]):
        network, run, facts = made()
    counter = LiveBytes(network.eval())
    with torch.no_grad(), counter:
        run(network)
    estimate = activation_estimate(facts.pop("role"), bytes_per_value=4, **facts) - LIBRARY_BYTES
    assert counter.peak <= estimate <= 2 * counter.peak
