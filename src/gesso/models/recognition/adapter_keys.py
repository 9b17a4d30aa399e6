"""The keys of LoRAs and their kin in every published layout: which layer, which factor, how many of what.

An adapter stores, for each layer, factors of a change of its weights. Sources of the names: kohya-ss/sd-scripts
(`lora_down`, `lora_up`), KohakuBlueleaf/LyCORIS (`hada_*`, `lokr_*`, `diff`, `oft_*`, `a1`), huggingface/peft
(`lora_A`, `lora_B`, `boft_*`), diffusers before PEFT (`_lora.down`), XLabs-AI/x-flux (`_lora1.down`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from gesso.models.recognition.kinds import Layout
from gesso.models.recognition.marks import Tensors

Factor = Literal["down", "up", "w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "whole", "other"]


@dataclass(frozen=True, kw_only=True)
class Suffix:
    """How a key of an adapter ends."""

    pattern: str
    algorithm: str
    layout: Layout
    factor: Factor = "other"
    named: bool = False
    """It tells something only of a layer that is named as adapters of that layout name it."""


SUFFIXES = (
    Suffix(pattern=r"\.lora_down\.weight", algorithm="LoRA", layout=Layout.KOHYA, factor="down"),
    Suffix(pattern=r"\.lora_up\.weight", algorithm="LoRA", layout=Layout.KOHYA, factor="up"),
    Suffix(pattern=r"\.lora_mid\.weight", algorithm="LoRA", layout=Layout.KOHYA),
    Suffix(pattern=r"\.lora_A(?:\.\w+)?\.weight", algorithm="LoRA", layout=Layout.PEFT, factor="down"),
    Suffix(pattern=r"\.lora_B(?:\.\w+)?\.weight", algorithm="LoRA", layout=Layout.PEFT, factor="up"),
    Suffix(
        pattern=r"(?:[._]lora|\.lora_linear_layer)\.down\.weight",
        algorithm="LoRA",
        layout=Layout.DIFFUSERS_OLD,
        factor="down",
    ),
    Suffix(
        pattern=r"(?:[._]lora|\.lora_linear_layer)\.up\.weight",
        algorithm="LoRA",
        layout=Layout.DIFFUSERS_OLD,
        factor="up",
    ),
    Suffix(pattern=r"_lora[12]\.down\.weight", algorithm="LoRA", layout=Layout.X_FLUX, factor="down"),
    Suffix(pattern=r"_lora[12]\.up\.weight", algorithm="LoRA", layout=Layout.X_FLUX, factor="up"),
    Suffix(pattern=r"\.hada_w1_a", algorithm="LoHa", layout=Layout.KOHYA, factor="w1_a"),
    Suffix(pattern=r"\.hada_w1_b", algorithm="LoHa", layout=Layout.KOHYA, factor="w1_b"),
    Suffix(pattern=r"\.hada_(?:w2_[ab]|t[12])", algorithm="LoHa", layout=Layout.KOHYA),
    Suffix(pattern=r"\.lokr_w1", algorithm="LoKr", layout=Layout.KOHYA, factor="w1"),
    Suffix(pattern=r"\.lokr_w1_a", algorithm="LoKr", layout=Layout.KOHYA, factor="w1_a"),
    Suffix(pattern=r"\.lokr_w1_b", algorithm="LoKr", layout=Layout.KOHYA, factor="w1_b"),
    Suffix(pattern=r"\.lokr_w2", algorithm="LoKr", layout=Layout.KOHYA, factor="w2"),
    Suffix(pattern=r"\.lokr_w2_a", algorithm="LoKr", layout=Layout.KOHYA, factor="w2_a"),
    Suffix(pattern=r"\.lokr_w2_b", algorithm="LoKr", layout=Layout.KOHYA, factor="w2_b"),
    Suffix(pattern=r"\.lokr_t2", algorithm="LoKr", layout=Layout.KOHYA),
    Suffix(pattern=r"\.oft_(?:blocks|diag)", algorithm="OFT", layout=Layout.KOHYA),
    Suffix(pattern=r"\.oft_R(?:\.\w+)?\.weight", algorithm="OFT", layout=Layout.PEFT),
    Suffix(pattern=r"\.boft_[Rs](?:\.\w+)*", algorithm="BOFT", layout=Layout.PEFT),
    Suffix(pattern=r"\.glora_[A-E](?:\.\w+)*", algorithm="GLoRA", layout=Layout.PEFT),
    Suffix(pattern=r"\.[ab][12]\.weight", algorithm="GLoRA", layout=Layout.KOHYA, named=True),
    Suffix(pattern=r"\.on_input", algorithm="IA3", layout=Layout.KOHYA),
    Suffix(pattern=r"\.ia3_l(?:\.\w+)?", algorithm="IA3", layout=Layout.PEFT),
    Suffix(pattern=r"\.diff", algorithm="full difference", layout=Layout.KOHYA, factor="whole"),
    Suffix(pattern=r"\.diff_b", algorithm="full difference", layout=Layout.KOHYA),
    Suffix(pattern=r"\.dora_scale", algorithm="DoRA", layout=Layout.KOHYA),
    Suffix(pattern=r"\.lora_magnitude_vector(?:\.\w+)*", algorithm="DoRA", layout=Layout.PEFT),
)
_NAMED = ("lora_", "lycoris_")
_BUTTERFLY_DIMENSIONS = 4
"""Of the blocks of BOFT in LyCORIS, which are called as those of OFT; these have three."""
SIDE = re.compile(r"\.(?:alpha|weight|scalar|w_norm|b_norm|bias|rescale)$")
"""Ends of keys that tell nothing by themselves. IA3 of LyCORIS stores its factors as `weight`."""

_MOST_PARTS = 4
"""Dots in the longest ending."""

_TEXT_ENCODER = re.compile(r"(?:base_model\.model\.)?(?:lora_te(\d?)_|text_encoder(?:_(\d))?\.)")
_TRUNK = re.compile(
    r"base_model\.model\.|lora_(?:unet|transformer|prior_unet)_|lycoris_(?:unet_)?|"
    r"model\.diffusion_model\.|diffusion_model\.|unet\.|transformer\."
)


@dataclass(kw_only=True)
class AdaptedLayer:
    """One layer that is changed, and the shapes of its factors."""

    key: str
    """One of its keys, to be shown."""
    name: str
    """The same for every layout: `_` for dots, no prefix; layers of text encoders begin with `te`, `te1`, `te2`, …"""
    factors: dict[Factor, tuple[int, ...]] = field(default_factory=dict["Factor", tuple[int, ...]])

    @property
    def rank(self) -> int | None:
        shapes = self.factors
        shape = shapes.get("down") or shapes.get("w1_b") or shapes.get("w2_b")
        return shape[0] if shape else None

    @property
    def width_in(self) -> int | None:
        """Features that the layer reads."""
        shapes = self.factors
        if (down := shapes.get("down") or shapes.get("whole")) and len(down) > 1:
            return down[1]
        return self._product(1, "b")

    @property
    def width_out(self) -> int | None:
        """Features that the layer makes."""
        shapes = self.factors
        if up := shapes.get("up") or shapes.get("whole"):
            return up[0]
        return self._product(0, "a")

    def _product(self, dimension: int, half: Literal["a", "b"]) -> int | None:
        """LoHa: the size of one factor. LoKr: a Kronecker product, the sizes multiply."""
        shapes = self.factors
        one = shapes.get("w1") or shapes.get("w1_a" if half == "a" else "w1_b", ())
        other = shapes.get("w2") or shapes.get("w2_a" if half == "a" else "w2_b", ())
        if len(one) <= dimension:
            return None
        if not shapes.keys() & {"w2", "w2_a", "w2_b"}:  # LoHa; the second pair has the same sizes
            return one[dimension]
        return one[dimension] * other[dimension] if len(other) > dimension else None


@dataclass(frozen=True, kw_only=True)
class AdapterKeys:
    """What the keys of an adapter say."""

    layers: Mapping[str, AdaptedLayer]
    algorithms: Mapping[str, str]
    """Name → a key that shows it."""
    layout: Layout
    matched: int
    """Keys that are an adapter's."""


def read_adapter_keys(tensors: Tensors) -> AdapterKeys | None:
    """Take the keys of an adapter apart; `None` if there are none."""
    layers: dict[str, AdaptedLayer] = {}
    algorithms: dict[str, str] = {}
    layouts: dict[Layout, int] = {}
    matched = 0
    for key, tensor in tensors.items():
        found = _split(key)
        if found is None or (found[1].named and not key.startswith(_NAMED)):
            matched += SIDE.search(key) is not None and key.startswith(_NAMED)
            continue
        matched += 1
        module, suffix = found
        layer = layers.setdefault(module, AdaptedLayer(key=key, name=layer_name(module)))
        layer.factors[suffix.factor] = tensor.shape
        butterfly = suffix.algorithm == "OFT" and len(tensor.shape) == _BUTTERFLY_DIMENSIONS
        algorithms.setdefault("BOFT" if butterfly else suffix.algorithm, key)
        layouts[suffix.layout] = layouts.get(suffix.layout, 0) + 1
    if not layers:
        return None
    layout = max(layouts, key=lambda name: layouts[name])
    if layout is Layout.PEFT and any(_is_of_diffusers(name) for name in layers):
        layout = Layout.DIFFUSERS
    return AdapterKeys(layers=layers, algorithms=algorithms, layout=layout, matched=matched)


def _split(key: str) -> tuple[str, Suffix] | None:
    """Layer and ending. Endings are few and layers many, so that looking for an ending is remembered."""
    end = len(key)
    for _ in range(_MOST_PARTS):
        end = key.rfind(".", 0, end)
        if end <= 0:
            break
        if (suffix := _suffix(key[end:])) is not None:
            return key[:end], suffix
    end = key.rfind("_lora")
    if end > 0 and (suffix := _suffix(key[end:])) is not None:
        return key[:end], suffix
    return None


@lru_cache(maxsize=4096)
def _suffix(ending: str) -> Suffix | None:
    return next((suffix for suffix in SUFFIXES if re.fullmatch(suffix.pattern, ending)), None)


def _is_of_diffusers(module: str) -> bool:
    return module.startswith(("unet.", "transformer.", "text_encoder"))


def layer_name(module: str) -> str:
    """`unet.mid_block.attn1.to_q` and `lora_unet_mid_block_attn1_to_q` as `mid_block_attn1_to_q`."""
    text = _TEXT_ENCODER.match(module)
    if text is not None:
        number = text[1] or text[2] or ("1" if text[0].endswith("text_encoder.") else "")
        return f"te{number}_" + _flat(module[text.end() :])
    previous = ""
    while previous != module:  # `base_model.model.` may stand before another one
        previous, module = module, _TRUNK.sub("", module, count=1) if _TRUNK.match(module) else module
    return _flat(module)


def _flat(module: str) -> str:
    return module.replace(".processor.", ".").replace(".", "_")
