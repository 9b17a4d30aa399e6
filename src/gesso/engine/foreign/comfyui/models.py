"""The model that is loaded, and what is put onto it on its way to the sampler."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gesso.engine.foreign.comfyui.graph import Node
from gesso.engine.foreign.comfyui.reading import Reading, file_in
from gesso.engine.foreign.numbers import real_number
from gesso.engine.foreign.values import NamedModel

LOADERS: Mapping[str, str] = MappingProxyType(
    {
        "CheckpointLoaderSimple": "ckpt_name",
        "CheckpointLoader": "ckpt_name",
        "UNETLoader": "unet_name",
        "UnetLoaderGGUF": "unet_name",
    }
)
_THRESHOLD = ("mimic_scale", "threshold_percentile")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model and its adapters, in the order in which they are applied."""

    model: NamedModel | None
    adapters: Sequence[Node]


def take_model(reading: Reading, link: Any) -> Loaded:
    """Enter the model, and what changes it but for its adapters."""
    adapters: list[Node] = []
    node, seen = reading.graph.at(link), set[str]()
    while node is not None and node.id not in seen:
        seen.add(node.id)
        if node.kind in {"LoraLoader", "LoraLoaderModelOnly"}:
            adapters.append(node)
        elif node.kind == "DynamicThresholdingSimple":
            reading.take(node, "model")
            _threshold(reading, node)
        elif node.kind in LOADERS:
            return Loaded(model=_loader(reading, node), adapters=adapters[::-1])
        node = reading.graph.at(node.inputs.get("model"))
    reading.ledger.leave("model", "", "no node that loads it is known")
    return Loaded(model=None, adapters=adapters[::-1])


def _loader(reading: Reading, node: Node) -> NamedModel | None:
    if node.inputs.get("weight_dtype") == "default":
        reading.describe(node, "weight_dtype")
    key = LOADERS[node.kind]
    try:
        name = file_in(reading.number(node, key))
    except ValueError as error:
        reading.leave(node, key, str(error))
        return None
    reading.take(node, key)
    reading.ledger.describe(f"{node.name}.{key}", name)
    return NamedModel(name=name)


def _threshold(reading: Reading, node: Node) -> None:
    scale, percentile = (reading.number(node, name) for name in _THRESHOLD)
    reading.take(node, *_THRESHOLD)
    try:
        threshold = {"mimic_scale": real_number(scale, 0, 1000), "percentile": real_number(percentile, 0, 1)}
    except ValueError as error:
        reading.ledger.leave(node.name, f"{scale}, {percentile}", str(error))
    else:
        reading.ledger.carry(node.name, f"{scale}, {percentile}", dynamic_thresholding=threshold)


def take_adapters(reading: Reading, adapters: Sequence[Node], encoder: Set[str]) -> None:
    """Enter the adapters. Those among the nodes of `encoder` are on the text encoder too."""
    ledger, uses = reading.ledger, list[dict[str, Any]]()
    for node in adapters:
        reading.take(node, "lora_name", "strength_model", "strength_clip", "model", "clip")
        name = reading.number(node, "lora_name")
        on_text = node.kind == "LoraLoader" and node.id in encoder
        try:
            name = file_in(name)
            weight = real_number(reading.number(node, "strength_model", 1), -100, 100)
            text = real_number(reading.number(node, "strength_clip", 0), -100, 100) if on_text else 0.0
        except ValueError as error:
            ledger.leave(node.name, name, str(error))
            continue
        if not weight and not text:
            ledger.describe(node.name, name)
            continue
        uses.append({"name": name, "weight": weight, "text_encoder_weight": text})
        ledger.carry(node.name, f"{name} {weight:g} {text:g}", adapters=tuple(uses))
