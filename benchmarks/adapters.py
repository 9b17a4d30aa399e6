"""What an adapter costs a forward: rank 16 on every attention layer, against none and against merged weights.

`python -m benchmarks.adapters [--device cuda:0] [--size sdxl]` prints the ratios; all arms in turn, in one process.
"""

import argparse
import copy
import json
import time
import weakref
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from gesso.components.adapters import Adapted, AdaptedLayers, AdapterWeights, BoundChange, adapted_forward
from gesso.models.adapters.changes import LayerChange, LowRank
from gesso.primer import weights_folder

RANK = 16
_SDXL: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""Config of stabilityai/stable-diffusion-xl-base-1.0."""
_SD1: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
"""Config of Stable Diffusion 1.5: diffusers' defaults but for the width of the text."""


def network(size: str, device: str) -> tuple[Any, dict[str, Any]]:
    """A UNet (the primer's own, or one of random weights of the size of SD 1.5 or SDXL) and inputs of two rows."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    if size == "primer":
        unet: Any = UNet2DConditionModel.from_pretrained(weights_folder() / "unet", torch_dtype=dtype)
    else:
        unet = UNet2DConditionModel(**(_SDXL if size == "sdxl" else _SD1))
    unet = unet.to(device, dtype).eval().requires_grad_(False)
    side, width = unet.config.sample_size, unet.config.cross_attention_dim
    inputs: dict[str, Any] = {
        "sample": torch.randn(2, 4, side, side, device=device, dtype=dtype),
        "timestep": torch.tensor(500.0, device=device),
        "encoder_hidden_states": torch.randn(2, 77, width, device=device, dtype=dtype),
    }
    if size == "sdxl":
        inputs["added_cond_kwargs"] = {
            "text_embeds": torch.randn(2, 1280, device=device, dtype=dtype),
            "time_ids": torch.ones(2, 6, device=device, dtype=dtype),
        }
    return unet, inputs


def adapted(unet: Any, *, adapters: int) -> tuple[Adapted, AdaptedLayers, Any]:
    """(a state with so many adapters, what it must not outlive, the network with the same merged)."""
    merged = copy.deepcopy(unet)
    forwards: list[tuple[Any, Callable[..., Any]]] = []
    for path, layer in unet.named_modules():
        if not (isinstance(layer, torch.nn.Linear) and (".attn1." in path or ".attn2." in path)):
            continue
        changes: list[tuple[BoundChange, float]] = []
        for _ in range(adapters):
            down = torch.randn(RANK, layer.in_features).to(layer.weight) * 0.01
            up = torch.randn(layer.out_features, RANK).to(layer.weight) * 0.01
            merged.get_submodule(path).weight.data += up @ down
            changes.append((BoundChange(change=LayerChange(low_rank=LowRank(down=down, up=up))), 1.0))
        forwards.append((layer, adapted_forward(layer, changes)))
    layers = AdaptedLayers(forwards)
    key = tuple(AdapterWeights(sha256=str(number), weight=1.0) for number in range(adapters))
    return Adapted(key, weakref.ref(layers)), layers, merged


def measured(unet: Any, inputs: dict[str, Any], *, rounds: int) -> dict[str, float]:
    """Median seconds of a forward of each arm."""
    one, _one, merged = adapted(unet, adapters=1)
    three, _three, _ = adapted(unet, adapters=3)

    def entered(state: Adapted) -> None:
        with state.entered(unet):
            unet(**inputs)

    arms: dict[str, Callable[[], Any]] = {
        "no adapter": lambda: unet(**inputs),
        "merged": lambda: merged(**inputs),
        "one adapter": lambda: entered(one),
        "three adapters": lambda: entered(three),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    with torch.no_grad():
        for number in range(rounds + 2):
            for name, arm in arms.items():
                begun = time.perf_counter()
                arm()
                if inputs["sample"].is_cuda:
                    torch.cuda.synchronize()
                if number > 1:  # the first rounds choose kernels
                    seconds[name].append(time.perf_counter() - begun)
    return {name: median(found) for name, found in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="primer", choices=("primer", "sd1", "sdxl"))
    parser.add_argument("--rounds", type=int, default=25)
    asked = parser.parse_args()
    unet, inputs = network(asked.size, asked.device)
    seconds = measured(unet, inputs, rounds=asked.rounds)
    ratios = {name: round(each / seconds["no adapter"], 3) for name, each in seconds.items()}
    print(json.dumps({"size": asked.size, "device": asked.device, "seconds": seconds, "ratios": ratios}))


if __name__ == "__main__":
    main()
