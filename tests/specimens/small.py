"""What lies beside checkpoints and LoRAs: embeddings, control networks, upscalers, and what is none of it."""

from dataclasses import replace
from typing import Any

from specimens.base import Shapes, Specimen, specimen
from specimens.originals import flux, prefixed, unet, unet_xl

_HINT: Shapes = {"input_hint_block.0.weight": (16, 3, 3, 3), "zero_convs.0.0.weight": (320, 320, 1, 1)}
_BY_SAI = {"lora_controlnet": (), "input_hint_block.0.weight": (16, 3, 3, 3)}


def _embedding(tensors: Any) -> Any:
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": tensors["vectors"]},
        "name": "my-style",
        "step": 4999,
        "sd_checkpoint_name": "v1-5",
    }


def _hypernetwork(tensors: Any) -> Any:
    layers = {"linear.0.weight": tensors["first"], "linear.1.weight": tensors["second"]}
    return {768: (layers, dict(layers)), "step": 100, "name": "my-net", "activation_func": "relu"}


def _ip_adapter(tensors: Any) -> Any:
    return {"image_proj": {"proj.weight": tensors["proj"]}, "ip_adapter": {"1.to_k_ip.weight": tensors["key"]}}


_MOTION = "motion_modules.0.temporal_transformer.norm.weight"

SMALL: dict[str, Specimen] = {
    "textual inversion, a1111": replace(
        specimen(
            {"vectors": (4, 768)}, "textual inversion", "sd1", vectors=4, widths=[768], title="my-style", base="v1-5"
        ),
        form="ckpt",
        wrapped=_embedding,
    ),
    "textual inversion, a1111 safetensors": specimen({"emb_params": (8, 1024)}, "textual inversion", "sd2", vectors=8),
    "textual inversion of sdxl": specimen(
        {"clip_l": (2, 768), "clip_g": (2, 1280)},
        "textual inversion",
        "sdxl",
        vectors=2,
        widths=[768, 1280],
        layout="original",
    ),
    "textual inversion, diffusers": specimen(
        {"<cat-toy>": (768,)}, "textual inversion", "sd1", vectors=1, token="<cat-toy>", layout="diffusers"
    ),
    "textual inversion, diffusers, of another width": specimen(
        {"<cat-toy>": (3, 96)}, "textual inversion", None, vectors=3, widths=[96], token="<cat-toy>"
    ),
    "hypernetwork": replace(
        specimen({"first": (1536, 768), "second": (768, 1536)}, "hypernetwork", "sd1", title="my-net"),
        form="ckpt",
        wrapped=_hypernetwork,
    ),
    "controlnet of sd1": specimen(
        prefixed("control_model.", {**_HINT, **unet(768)}), "controlnet", "sd1", layout="original"
    ),
    "controlnet of sd1 with its checkpoint": specimen(
        {**prefixed("control_model.", {**_HINT, **unet(768)}), **prefixed("model.diffusion_model.", unet(768))},
        "controlnet",
        "sd1",
        notes=["a checkpoint is in the same file"],
    ),
    "controlnet of sd2": specimen({**_HINT, **unet(1024)}, "controlnet", "sd2"),
    "controlnet of sdxl": specimen({**_HINT, **unet_xl()}, "controlnet", "sdxl"),
    "control-lora of sdxl": specimen(
        {**_BY_SAI, "input_blocks.4.1.transformer_blocks.0.attn2.to_k.down": (128, 2048)},
        "controlnet",
        "sdxl",
        network="control-LoRA",
    ),
    "controlnet of flux.1, x-flux": specimen(
        {**flux(guidance=True), "controlnet_blocks.0.weight": (3072, 3072)}, "controlnet", "flux1", layout="x-flux"
    ),
    "t2i-adapter of sd1": specimen(
        {"conv_in.weight": (320, 192, 3, 3), "body.0.block1.weight": (320, 320, 3, 3)}, "t2i-adapter", "sd1"
    ),
    "t2i-adapter of sdxl": specimen(
        {"adapter.conv_in.weight": (320, 768, 3, 3), "adapter.body.0.block1.weight": (320, 320, 3, 3)},
        "t2i-adapter",
        "sdxl",
    ),
    "ip-adapter of sd1, pickle": replace(
        specimen({"proj": (3072, 1024), "key": (320, 768)}, "ip-adapter", "sd1"), form="ckpt", wrapped=_ip_adapter
    ),
    "ip-adapter of sdxl": specimen(
        {"image_proj.latents": (1, 16, 1280), "ip_adapter.1.to_k_ip.weight": (640, 2048)}, "ip-adapter", "sdxl"
    ),
    "ip-adapter with a lora in it": specimen(
        {
            "image_proj.proj.0.weight": (1024, 512),
            "ip_adapter.1.to_k_ip.weight": (320, 768),
            "ip_adapter.0.to_q_lora.down.weight": (128, 320),
            "ip_adapter.0.to_q_lora.up.weight": (320, 128),
        },
        "ip-adapter",
        "sd1",
    ),
    "ip-adapter of flux.1": specimen(
        {
            "ip_adapter_proj_model.proj.weight": (16384, 768),
            "double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight": (3072, 4096),
        },
        "ip-adapter",
        "flux1",
    ),
    "flux redux": specimen(
        {"redux_up.weight": (12288, 1152), "redux_down.weight": (4096, 12288)}, "ip-adapter", "flux1", network="Redux"
    ),
    "animatediff": specimen(
        {f"down_blocks.{block}.{_MOTION}": (320,) for block in range(4)}, "motion module", "sd1", layout="original"
    ),
    "animatediff of sdxl": specimen(
        {f"down_blocks.{block}.{_MOTION}": (320,) for block in range(3)}, "motion module", "sdxl"
    ),
    "taesd decoder": specimen(
        {"1.weight": (64, 4, 3, 3), "3.conv.0.weight": (64, 64, 3, 3)},
        "tiny vae",
        None,
        families=["sd1", "sd2", "sdxl"],
        network="decoder alone",
    ),
    "taef1 decoder": specimen(
        {"1.weight": (64, 16, 3, 3), "3.conv.0.weight": (64, 64, 3, 3)},
        "tiny vae",
        None,
        families=["sd3", "flux1", "z-image", "chroma", "lumina2"],
    ),
    "taesd encoder": specimen(
        {"0.weight": (64, 3, 3, 3), "1.conv.0.weight": (64, 64, 3, 3)}, "tiny vae", None, network="encoder alone"
    ),
    "esrgan": replace(
        specimen(
            {"conv_first.weight": (64, 3, 3, 3), "body.0.rdb1.conv1.weight": (32, 64, 3, 3)},
            "upscaler",
            None,
            network="ESRGAN",
        ),
        form="ckpt",
        wrapped=lambda tensors: {"params_ema": tensors},
    ),
    "esrgan, old names": specimen(
        {"model.0.weight": (64, 3, 3, 3), "model.1.sub.0.RDB1.conv1.0.weight": (32, 64, 3, 3)}, "upscaler", None
    ),
    "swinir": specimen(
        {
            "conv_first.weight": (180, 3, 3, 3),
            "layers.0.residual_group.blocks.0.attn.qkv.weight": (540, 180),
        },
        "upscaler",
        None,
        network="SwinIR",
    ),
    "something else": specimen({"a.weight": (3, 5), "b.weight": (5,)}, "unknown", None, layout=None),
}
