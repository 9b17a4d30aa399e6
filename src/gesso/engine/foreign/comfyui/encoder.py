"""The text encoder that reads the prompts."""

from collections.abc import Mapping, Sequence
from typing import Any

from gesso.engine.foreign.comfyui.graph import Node
from gesso.engine.foreign.comfyui.reading import Reading
from gesso.engine.foreign.numbers import whole_number

Way = Sequence[Node]
"""From a text to the loader of the text encoder that reads it, the nearest first."""
_SKIP, _LAYER = "CLIPSetLastLayer", "stop_at_clip_layer"


def take_encoder(reading: Reading, ways: Mapping[str, Way], *, unguided: bool) -> None:
    """Enter the one that reads the prompt. Both prompts have it here, so one of the negative prompt's own is told.

    Args:
        ways: to that of each of the two, by field of the request.
        unguided: nobody reads the negative prompt.
    """
    prompt, negative = ways["prompt"], ways.get("negative_prompt", ways["prompt"])
    skip = next((node for node in prompt if node.kind == _SKIP), None)
    if skip is not None:  # of several the nearest counts
        reading.take(skip, "clip")
        reading.carry(skip, _LAYER, lambda value: {"clip_skip": -whole_number(value, -12, -1)})
    differ = not unguided and _effect(reading, prompt) != _effect(reading, negative)
    if differ:
        why = f"that of the prompt, `{_said(prompt)}`, reads both here"
        reading.ledger.leave("text encoder of the negative prompt", _said(negative), why)
    for node in (*prompt, *negative):
        if node.kind == _SKIP and node.id not in reading.taken:
            reading.take(node, "clip", _LAYER)
            if not differ:
                reading.describe(node, _LAYER)


def _effect(reading: Reading, way: Way) -> tuple[list[Any], list[Any]]:
    """The same of two encoders that read a text alike."""
    layers = [reading.number(node, _LAYER) for node in way if node.kind == _SKIP]
    others: list[Any] = []
    for node in way:
        if node.kind == "LoraLoader":
            strength = reading.number(node, "strength_clip")
            others += [(node.inputs.get("lora_name"), strength)] if strength else []
        elif node.kind != _SKIP:
            others.append(node.id)
    return layers[:1], others


def _said(way: Way) -> str:
    return ", ".join(node.name for node in way)
