"""The keys of an adapter file taken apart: which layer each belongs to, and which of its factors it is.

Endings are those of kohya-ss/sd-scripts (`lora_down`), huggingface/peft (`lora_A`), diffusers before PEFT
(`_lora.down`, `lora_linear_layer.down`), XLabs-AI/x-flux (`_lora1.down`) and KohakuBlueleaf/LyCORIS (`hada_*`,
`lokr_*`, `diff`, `w_norm`, `dora_scale`). How a layer is named is no matter here; see `names`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_ENDINGS: Mapping[str, str] = {
    "down": r"\.lora_down\.weight|\.lora_A(?:\.\w+)?\.weight|(?:[._]lora|\.lora_linear_layer)\.down\.weight",
    "up": r"\.lora_up\.weight|\.lora_B(?:\.\w+)?\.weight|(?:[._]lora|\.lora_linear_layer)\.up\.weight",
    "mid": r"\.lora_mid\.weight",
    "lora_bias": r"\.lora_up\.bias|\.lora_B(?:\.\w+)?\.bias",
    "x_flux_down": r"(?<=_lora[12])\.down\.weight",
    "x_flux_up": r"(?<=_lora[12])\.up\.weight",
    **{name: rf"\.{name}" for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{name: rf"\.{name}" for name in ("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "lokr_w1", "lokr_w2")},
    "lokr_t2": r"\.lokr_t2",
    "diff": r"\.diff|\.w_norm",
    "diff_b": r"\.diff_b|\.b_norm",
    "dora_scale": r"\.dora_scale",
    "lora_magnitude": r"\.lora_magnitude_vector(?:\.\w+)*",
    "alpha": r"(?:[._]lora)?\.alpha",
    "scalar": r"\.scalar",
}
_ENDING = re.compile("|".join(f"(?P<{part}>(?:{ending})$)" for part, ending in _ENDINGS.items()))
_SAME_AS = {"x_flux_down": "down", "x_flux_up": "up"}

_REFUSED: Mapping[str, re.Pattern[str]] = {
    "OFT": re.compile(r"\.(?:oft_blocks|oft_diag|oft_R(?:\.\w+)?\.weight)$"),
    "BOFT": re.compile(r"\.boft_[Rs](?:\.\w+)*$"),
    "IA3": re.compile(r"\.(?:on_input|ia3_l(?:\.\w+)?)$"),
    "GLoRA": re.compile(r"\.(?:[ab][12]\.weight|glora_[A-E](?:\.\w+)*)$"),
    "VeRA": re.compile(r"\.vera_lambda_[bd](?:\.\w+)*$"),
}
"""Algorithms that multiply weights, or rotate them, or share factors that are in another file. None is applied."""


@dataclass(kw_only=True)
class StoredLayer:
    """One layer as a file names it: its factors by name, each with the key that holds it."""

    module: str
    keys: dict[str, str] = field(default_factory=dict[str, str])
    """Factor (`down`, `hada_w1_a`, …) → key of the file."""

    @property
    def algorithm(self) -> str | None:
        """What the factors are those of; `None` if they are not all there."""
        has = self.keys.keys()
        if {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"} <= has:
            return "LoHa"
        if ("lokr_w1" in has or {"lokr_w1_a", "lokr_w1_b"} <= has) and (
            "lokr_w2" in has or {"lokr_w2_a", "lokr_w2_b"} <= has
        ):
            return "LoKr"
        if {"down", "up"} <= has:
            return "LoRA"
        return "full difference" if has & {"diff", "diff_b"} else None


@dataclass(frozen=True, kw_only=True)
class StoredKeys:
    """All keys of a file."""

    layers: Mapping[str, StoredLayer]
    strange: tuple[str, ...]
    """Keys that end like nothing that is known, or that repeat a factor."""
    refused: str | None
    """Name of an algorithm that is known and not applied."""


def take_apart(keys: Iterable[str]) -> StoredKeys:
    """Group the keys of a file by layer."""
    layers: dict[str, StoredLayer] = {}
    strange: list[str] = []
    refused: str | None = None
    for key in keys:
        found = _ENDING.search(key)
        if found is None:
            strange.append(key)
            refused = refused or next((name for name, ending in _REFUSED.items() if ending.search(key)), None)
            continue
        part = found.lastgroup or ""
        module = key[: found.start()]
        layer, part = layers.setdefault(module, StoredLayer(module=module)), _SAME_AS.get(part, part)
        if part in layer.keys:  # the same factor under two names: which of them counts is nobody's to guess
            strange.append(key)
        else:
            layer.keys[part] = key
    return StoredKeys(layers=layers, strange=tuple(strange), refused=refused)
