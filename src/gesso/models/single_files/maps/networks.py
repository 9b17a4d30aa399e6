"""Every way in which a network's tensors are named in files: the original names first, then those of folders."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gesso.models.single_files.maps.autoencoder import autoencoder_map
from gesso.models.single_files.maps.base import Config, KeyMap, Layer
from gesso.models.single_files.maps.flux import flux_map
from gesso.models.single_files.maps.sd3 import sd3_map
from gesso.models.single_files.maps.text import clip_map, open_clip_map, t5_map
from gesso.models.single_files.maps.unet import unet_map

_ATTENTION_BEFORE_2023 = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def own_names(keys: KeyMap, rename: Callable[[str], str] = lambda name: name) -> KeyMap:
    """The map of files that have the names of folders, or those after `rename`."""
    return KeyMap(
        tuple(
            Layer(original=rename(name), diffusers=(name,), suffixes=tuple((ours, ours) for _, ours in layer.suffixes))
            for layer in keys.layers
            for name in layer.diffusers
        )
    )


def _old_attention(name: str) -> str:
    """As diffusers called the layers of the VAE's attention in its first year."""
    block, found, inner = name.partition("mid_block.attentions.0.")
    return block + found + _ATTENTION_BEFORE_2023.get(inner, inner)


def _flat(name: str) -> str:
    return name.removeprefix("text_model.")


def _from_embed_tokens(keys: KeyMap) -> KeyMap:
    """T5 files that have its table of words under the encoder's name alone."""
    first, *others = keys.layers
    return KeyMap((replace(first, original="encoder.embed_tokens"), *others))


def _clips(config: Config, *, projected: bool) -> tuple[KeyMap, ...]:
    named = clip_map(config, projected=projected)
    return named, open_clip_map(config, projected=projected), own_names(named, _flat)


SPELLINGS: Mapping[str, Callable[[Config], tuple[KeyMap, ...]]] = {
    "UNet2DConditionModel": lambda config: (unet_map(config), own_names(unet_map(config))),
    "SD3Transformer2DModel": lambda config: (sd3_map(config), own_names(sd3_map(config))),
    "FluxTransformer2DModel": lambda config: (flux_map(config), own_names(flux_map(config))),
    "AutoencoderKL": lambda config: (
        autoencoder_map(config),
        own_names(autoencoder_map(config)),
        own_names(autoencoder_map(config), _old_attention),
    ),
    "CLIPTextModel": lambda config: _clips(config, projected=False),
    "CLIPTextModelWithProjection": lambda config: _clips(config, projected=True),
    "T5EncoderModel": lambda config: (t5_map(config), _from_embed_tokens(t5_map(config))),
}
"""By the network's class in diffusers or transformers. The first entry of a map is in every file of that network."""

OPEN_CLIP_PREFIX = ".model."
"""What ends the prefix of a text encoder that has the names of OpenCLIP, in every published checkpoint."""


def written_map(class_name: str, config: Config, prefix: str) -> KeyMap:
    """The names that a single file has behind `prefix`.

    Raises:
        KeyError: there is no map for this class.
    """
    spellings = SPELLINGS[class_name](config)
    is_clip = class_name.startswith("CLIPTextModel")
    return spellings[1] if is_clip and prefix.endswith(OPEN_CLIP_PREFIX) else spellings[0]


def original_layers(class_name: str, config: Config) -> Mapping[str, Layer]:
    """Original module name → layer, whose `diffusers` are the modules that it is there, and `rows` the outputs of each.

    For example of `FluxTransformer2DModel`: `double_blocks.0.img_attn.qkv` → `transformer_blocks.0.attn.to_q`, `to_k`
    and `to_v`, 3072 rows each. What kohya's adapters call `lora_unet_double_blocks_0_img_attn_qkv` is the first with
    `_` for `.`. Of a CLIP the names are those of transformers, as published.

    Args:
        config: `config.json` of the network in its diffusers folder.

    Raises:
        KeyError: there is no map for this class.
    """
    return {layer.original: layer for layer in SPELLINGS[class_name](config)[0].layers}
