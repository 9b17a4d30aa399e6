"""The map of a network, by its class in diffusers or transformers."""

from collections.abc import Callable, Mapping

from gesso.models.single_files.maps.autoencoder import autoencoder_map
from gesso.models.single_files.maps.base import Config, KeyMap, Layer
from gesso.models.single_files.maps.flux import flux_map
from gesso.models.single_files.maps.sd3 import sd3_map
from gesso.models.single_files.maps.text import clip_map, t5_map
from gesso.models.single_files.maps.unet import unet_map

MAPS: Mapping[str, Callable[[Config], KeyMap]] = {
    "UNet2DConditionModel": unet_map,
    "SD3Transformer2DModel": sd3_map,
    "FluxTransformer2DModel": flux_map,
    "AutoencoderKL": autoencoder_map,
    "CLIPTextModel": lambda config: clip_map(config, projected=False),
    "CLIPTextModelWithProjection": lambda config: clip_map(config, projected=True),
    "T5EncoderModel": t5_map,
}
"""Of a CLIP, that of the checkpoints with the names of transformers."""


def original_layers(class_name: str, config: Config) -> Mapping[str, Layer]:
    """Original module name → layer, whose `diffusers` are the modules that it is there, and `rows` the outputs of each.

    For example of `FluxTransformer2DModel`: `double_blocks.0.img_attn.qkv` → `transformer_blocks.0.attn.to_q`, `to_k`
    and `to_v`, 3072 rows each. What kohya's adapters call `lora_unet_double_blocks_0_img_attn_qkv` is the first with
    `_` for `.`.

    Args:
        config: `config.json` of the network in its diffusers folder.

    Raises:
        KeyError: there is no map for this class.
    """
    return {layer.original: layer for layer in MAPS[class_name](config).layers}
