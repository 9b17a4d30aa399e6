"""Where a layer that an adapter names is in a model: which network, which modules, and what is done to their values.

The published namings are two: the path of the module (diffusers, PEFT, ComfyUI), and the path with `_` for `.` (kohya),
which cannot be taken apart again. So every path of the model is made flat, under each name that it has, and looked up.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gesso.models.adapters.other_names import other_names
from gesso.models.single_files.maps.networks import original_layers
from gesso.models.views import Form


@dataclass(frozen=True, kw_only=True)
class LayerShape:
    """A module of a network that has weights."""

    weight: tuple[int, ...]
    bias: bool
    product: bool = True
    """It multiplies what it reads by its weights; a norm or an embedding does not."""


@dataclass(frozen=True, kw_only=True)
class NetworkLayers:
    """What an adapter must know of a network."""

    class_name: str
    config: Mapping[str, Any]
    layers: Mapping[str, LayerShape]
    """By path."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The modules that a layer of an adapter is."""

    network: str
    paths: tuple[str, ...]
    """Several where the adapter's layer is theirs one below the other (a fused query, key and value)."""
    swapped: bool = False
    """The halves of the outputs are the other way round in the model."""
    converted: bool = False
    """The adapter has another name for it than the model."""


_DENOISERS = ("unet", "transformer", "prior")
_PREFIXES = (
    (
        re.compile(r"lora_te3_|text_encoder_3\.|text_encoders\.t5xxl\.transformer\."),
        ("text_encoder_3", "text_encoder_2"),
    ),
    (re.compile(r"lora_te2_|text_encoder_2\.|text_encoders\.clip_g\.transformer\."), ("text_encoder_2",)),
    (re.compile(r"lora_te1?_|text_encoder\.|text_encoders\.clip_l\.transformer\."), ("text_encoder",)),
    (
        re.compile(
            r"lora_(?:unet|transformer|prior_unet)_|lycoris_(?:unet_)?|(?:model\.)?diffusion_model\.|unet\.|transformer\.|"
        ),
        _DENOISERS,
    ),
)
"""How names of layers begin, and in which networks those are; the last also without a beginning."""
_PEFT = "base_model.model."
_MAPPED = {
    **{name: name for name in ("UNet2DConditionModel", "SD3Transformer2DModel", "FluxTransformer2DModel")},
    "ChromaTransformer2DModel": "FluxTransformer2DModel",
}
"""Denoisers with original names of their own → whose map of names is theirs."""
_X_FLUX = re.compile(r"(double_blocks_\d+)_(qkv|proj)_lora([12])")
_X_FLUX_SINGLE = re.compile(r"single_blocks_(\d+)_qkv")


class Names:
    """Every name of every layer of a model.

    Args:
        networks: by their names in the pipeline.
    """

    def __init__(self, networks: Mapping[str, NetworkLayers]) -> None:
        self.networks = networks
        self._places = {name: _places(name, network) for name, network in networks.items()}

    def find(self, module: str) -> Place | None:
        """Where a layer is that an adapter calls `module`; `None` if the model has no such layer."""
        networks, rest = _split(module)
        flat = _flat(rest)
        for name in networks:
            places = self._places.get(name, {})
            for spelling in _spellings(flat):
                if (place := places.get(spelling)) is not None:
                    return place if spelling == flat else replace(place, converted=True)
        return None

    def missing_network(self, module: str) -> str | None:
        """The network that a layer is of, if the model does not have it."""
        names, _ = _split(module)
        return None if any(name in self.networks for name in names) else names[0]


def _split(module: str) -> tuple[tuple[str, ...], str]:
    """(networks that it may be in, the name inside)"""
    while module.startswith(_PEFT):
        module = module.removeprefix(_PEFT)
    for prefix, networks in _PREFIXES:
        if (found := prefix.match(module)) is not None:
            return networks, module[found.end() :].removeprefix(_PEFT)
    raise AssertionError("the last prefix may be empty")


def _flat(path: str) -> str:
    return path.replace(".processor.", ".").replace(".", "_")


def _spellings(flat: str) -> Iterator[str]:
    """The name itself, then what else it may be called in a model."""
    yield flat
    if (found := _X_FLUX.fullmatch(flat)) is not None:
        yield f"{found[1]}_{'img' if found[3] == '1' else 'txt'}_attn_{found[2]}"
    if (found := _X_FLUX_SINGLE.fullmatch(flat)) is not None:
        yield f"single_blocks_{found[1]}_qkv_of_linear1"
    # transformers 5 leaves `text_model.` out of some text encoders.
    yield flat.removeprefix("text_model_") if flat.startswith("text_model_") else f"text_model_{flat}"
    # diffusers before PEFT named a layer by what its processor did.
    if flat.endswith("_to_out"):
        yield f"{flat}_0"
    for old, new in {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}.items():
        if flat.endswith(f"self_attn_{old}"):
            named = flat.removesuffix(old) + new
            yield named
            yield named.removeprefix("text_model_")


def _places(name: str, network: NetworkLayers) -> dict[str, Place]:
    places = {_flat(path): Place(network=name, paths=(path,)) for path in network.layers}
    for other in other_names(network.class_name, network.layers.keys()):
        place = Place(network=name, paths=other.diffusers, swapped=other.swapped, converted=True)
        places.setdefault(_flat(other.original), place)
    kind = _MAPPED.get(network.class_name)
    if kind is None:
        return places
    for original, layer in original_layers(kind, network.config).items():
        if all(path in network.layers for path in layer.diffusers):
            place = Place(network=name, paths=layer.diffusers, swapped=layer.form is Form.SWAPPED, converted=True)
            places.setdefault(_flat(original), place)
            if len(layer.diffusers) == 4:  # of Flux: query, key, value and what the feed-forward reads
                places[f"{_flat(original).removesuffix('_linear1')}_qkv_of_linear1"] = replace(
                    place, paths=layer.diffusers[:3]
                )
    return places
