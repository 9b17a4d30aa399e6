"""A pair of samplers of which the second goes on with the last steps of the first, by another model."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gesso.core.requests import MAX_STEPS
from gesso.engine.foreign.comfyui.graph import Graph, Node
from gesso.engine.foreign.comfyui.models import LOADERS
from gesso.engine.foreign.comfyui.reading import ALL_STEPS, Reading, file_in
from gesso.engine.foreign.numbers import is_near, whole_number
from gesso.engine.samplers.table import SAMPLERS

_SAME = ("steps", "cfg", "sampler_name", "scheduler")
_HAND_OVER = (("return_with_leftover_noise", "enable"), ("add_noise", "enable"))
_TAKE_OVER = (("return_with_leftover_noise", "disable"), ("add_noise", "disable"))
_TEXTS: Mapping[str, str] = MappingProxyType(
    {"CLIPTextEncode": "text", "CLIPTextEncodeSDXL": "text_g", "CLIPTextEncodeSDXLRefiner": "text"}
)
_SCORES: Mapping[str, float] = MappingProxyType({"positive": 6.0, "negative": 2.5})
"""Of looks, as they are usual, and the only ones here."""
_FORGETFUL = frozenset({"Euler", "Heun", "DPM2"})
"""Samplers that remember nothing, so that it is no matter whether they begin anew."""


@dataclass(frozen=True, kw_only=True)
class Refiner:
    """What goes on, and from which step on, from 0."""

    sampler: Node
    loader: Node
    model: str
    texts: tuple[Node, ...]
    step: int
    steps: int


def refiner_of(graph: Graph, base: Node, second: Node) -> Refiner | None:
    """The refiner that `second` is for `base`; `None` if it is none as one can be asked for here.

    It makes the steps that the first one leaves, by the same sampler, guidance and prompts, without noise of its own.
    """
    if {base.kind, second.kind} != {"KSamplerAdvanced"} or graph.at(second.inputs.get("latent_image")) is not base:
        return None
    alike = all(graph.number(base.inputs.get(name)) == graph.number(second.inputs.get(name)) for name in _SAME)
    begins = all(base.inputs.get(name, usual) == usual for name, usual in _HAND_OVER)
    goes_on = all(second.inputs.get(name) == usual for name, usual in _TAKE_OVER)
    if not (alike and begins and goes_on):
        return None
    loader = graph.at(second.inputs.get("model"))
    texts = tuple(_same_text(graph, base, second, name) for name in _SCORES)
    if loader is None or loader.kind not in LOADERS or None in texts:
        return None
    try:
        model = file_in(graph.number(loader.inputs.get(LOADERS[loader.kind])))
        steps = whole_number(graph.number(base.inputs.get("steps")), 1, MAX_STEPS)
        left, taken = (
            whole_number(graph.number(node.inputs.get(name)), 1, steps - 1)
            for node, name in ((base, "end_at_step"), (second, "start_at_step"))
        )
        whole_number(graph.number(base.inputs.get("start_at_step", 0)), 0, 0)
        whole_number(graph.number(second.inputs.get("end_at_step", ALL_STEPS)), steps, 2**31)
    except ValueError:
        return None
    if left != taken:
        return None
    found = tuple(text for text in texts if text is not None)
    return Refiner(sampler=second, loader=loader, model=model, texts=found, step=left, steps=steps)


def _same_text(graph: Graph, base: Node, second: Node, name: str) -> Node | None:
    """The node that reads for the second sampler the text that another reads for the first."""
    first, own = (graph.at(node.inputs.get(name)) for node in (base, second))
    if first is None or own is None or first.kind not in _TEXTS or own.kind not in _TEXTS:
        return None
    text = graph.text(own.inputs.get(_TEXTS[own.kind]))
    if text is None or text != graph.text(first.inputs.get(_TEXTS[first.kind])):
        return None
    scored = own.kind != "CLIPTextEncodeSDXLRefiner" or is_near(graph.number(own.inputs.get("ascore")), _SCORES[name])
    return own if scored else None


def take_refiner(reading: Reading, found: Refiner) -> None:
    """Enter it, after what it shares with the first sampler."""
    reading.take(found.sampler, *found.sampler.inputs)
    reading.take(found.loader, LOADERS[found.loader.kind])
    for text in found.texts:
        reading.take(text, _TEXTS[text.kind], "clip", "ascore")
        _sizes(reading, text)
    name = found.model
    use: dict[str, Any] = {"model": name, "at": found.step / found.steps}
    said = f"{name} from step {found.step} of {found.steps}"
    reading.ledger.carry(f"{found.sampler.name}, {found.loader.name}", name, refiner=use)
    reading.ledger.carry(f"{found.sampler.name}.start_at_step", said, _note(reading), refiner=use)


def _sizes(reading: Reading, text: Node) -> None:
    """What it is told of the size; that of the picture here."""
    for side in ("width", "height"):
        if side in text.inputs:
            if reading.number(text, side) == reading.ledger.fields.get(side):
                reading.describe(text, side)
            else:
                reading.leave(text, side, "the refiner is told the size of the picture here")


def _note(reading: Reading) -> str:
    name = reading.ledger.fields.get("sampler", "")
    if (sampler := SAMPLERS.get(name)) is not None and sampler.stochastic:
        return "there its noise at the steps begins anew, with a seed of its own"
    return "" if name in _FORGETFUL else "there the sampler begins anew, here it remembers the steps before"
