"""The prompts of a graph."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gesso.engine.foreign.comfyui.encoder import Way
from gesso.engine.foreign.comfyui.graph import Link, Node
from gesso.engine.foreign.comfyui.reading import MADE, Reading
from gesso.engine.foreign.comfyui.walk import CONDITIONING
from gesso.engine.foreign.numbers import real_number, whole_number
from gesso.engine.foreign.values import file_name

_TEXTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "CLIPTextEncode": ("text",),
        "CLIPTextEncodeSDXL": ("text_g", "text_l"),
        "CLIPTextEncodeFlux": ("t5xxl", "clip_l"),
        "CLIPTextEncodeSD3": ("clip_g", "clip_l", "t5xxl"),
    }
)
_SIZES = ("width", "height", "crop_w", "crop_h", "target_width", "target_height")
_EMBEDDING = re.compile(r"embedding:([^\s,():]+)")


@dataclass(kw_only=True)
class TextReading:
    """The prompts while they are read."""

    reading: Reading
    encoders: dict[str, Way] = field(default_factory=dict[str, Way])
    """Field of the request → the way to the text encoder of its text."""

    def take(self, link: Any, into: str, *, idle: bool = False) -> None:
        """Enter what `link` leads to as this field of the request.

        Args:
            idle: nobody reads it.
        """
        reading, ledger = self.reading, self.reading.ledger
        names = CONDITIONING if into == "prompt" else ("negative", *CONDITIONING)  # some nodes hand on both prompts
        node, seen = reading.graph.at(link), set[str]()
        while node is not None and node.kind not in _TEXTS and node.id not in seen:
            seen.add(node.id)
            if node.kind == "ConditioningZeroOut":
                self._nothing(node, idle=idle)
                return
            if node.kind == "FluxGuidance":
                reading.take(node, "conditioning")
                if into == "prompt":
                    _distilled(reading, node)
                else:
                    reading.describe(node, "guidance")
            node = next((found for name in names if (found := reading.graph.at(node.inputs.get(name)))), None)
        if node is None or node.kind not in _TEXTS:
            ledger.leave(into.replace("_", " "), "", "no node that reads it is known")
            return
        self._encoded(node, into, idle=idle)

    def _nothing(self, node: Node, *, idle: bool) -> None:
        """A prompt that is not even empty."""
        reading = self.reading
        reading.take(node, "conditioning")
        if not idle:
            reading.ledger.leave(node.name, "", "nothing at all is no prompt here, an empty one is")
            return
        reading.ledger.describe(node.name, "")
        # What it comes from does nothing either, unless something else needs it.
        reading.graph.read.update(found.id for found in reading.graph.upstream(node) if found.kind in _TEXTS)

    def _encoded(self, node: Node, into: str, *, idle: bool) -> None:
        reading, graph = self.reading, self.reading.graph
        texts = {name: graph.text(node.inputs.get(name)) for name in _TEXTS[node.kind] if name in node.inputs}
        reading.take(node, *texts, "clip")
        first = next(iter(texts.values()), None)
        for name, text in texts.items():
            if text is None:
                value = node.inputs[name]
                reading.ledger.leave(f"{node.name}.{name}", value, MADE if isinstance(value, Link) else "it is no text")
            elif text != first:
                reading.ledger.leave(f"{node.name}.{name}", text, "the text encoders read one text here")
        if first is not None:
            _enter(reading, f"{node.name}.{next(iter(texts))}", first, into, idle=idle)
        if node.kind == "CLIPTextEncodeFlux" and into == "prompt":
            _distilled(reading, node)
        if node.kind == "CLIPTextEncodeSDXL":
            _sizes(reading, node, into)
        self.encoders[into] = self._way(node)

    def _way(self, text: Node) -> Way:
        way: dict[str, Node] = {}
        node = self.reading.graph.at(text.inputs.get("clip"))
        while node is not None and node.id not in way:
            way[node.id] = node
            node = self.reading.graph.at(node.inputs.get("clip"))
        return [*way.values()]


def _enter(reading: Reading, name: str, text: str, into: str, *, idle: bool) -> None:
    if into == "negative_prompt" and (idle or not text.strip()):
        reading.ledger.describe(name, text)
        return
    reading.ledger.carry(name, text, **{into: _EMBEDDING.sub(lambda found: file_name(found[1]), text)})
    for found in dict.fromkeys(_EMBEDDING.findall(text)):
        reading.ledger.carry("embedding", found)


def _distilled(reading: Reading, node: Node) -> None:
    """Guidance that a model was trained with; that of the sampler is then a second one, by the negative prompt."""
    ledger = reading.ledger
    second = next((one for one in ledger.carried if "guidance" in one.fields), None)
    if second is not None:
        ledger.carried.remove(second)
        scale = ledger.fields.pop("guidance")
        if scale == 1:
            ledger.describe(second.name, second.value)
        else:
            ledger.carry(second.name, second.value, arguments={"true_cfg_scale": scale})
    reading.carry(node, "guidance", lambda value: {"guidance": real_number(value, 0, 1000)})


def _sizes(reading: Reading, node: Node, into: str) -> None:
    """What SDXL is told of the size; the picture's own unless the pipeline is told otherwise."""
    ledger, prefix = reading.ledger, "" if into == "prompt" else "negative_"
    reading.take(node, *_SIZES)
    try:
        width, height, left, top, wide, high = (whole_number(node.inputs.get(name), 0, 2**20) for name in _SIZES)
    except ValueError as error:
        ledger.leave(f"{node.name}.width", node.inputs.get("width"), str(error))
        return
    told = {
        f"{prefix}original_size": [height, width],
        f"{prefix}crops_coords_top_left": [top, left],
        f"{prefix}target_size": [high, wide],
    }
    arguments = {**ledger.fields.get("arguments", {}), **told}
    ledger.carry(f"{node.name}.width …", f"{width}x{height}, {left}, {top}, {wide}x{high}", arguments=arguments)
