"""The second pass of a ComfyUI graph: a sampler that goes on from the enlarged latents of the first."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gesso.core.requests import LEAST_STRENGTH, MAX_SIDE_PX, MAX_STEPS
from gesso.engine.foreign.comfyui.graph import Graph, Node
from gesso.engine.foreign.comfyui.reading import Reading
from gesso.engine.foreign.numbers import LATENT_PX, real_number, whole_number
from gesso.engine.foreign.samplers import of_comfyui

_METHODS: Mapping[str, str] = MappingProxyType(
    {"nearest-exact": "latent-nearest-exact", "bilinear": "latent", "bicubic": "latent-bicubic"}
)
"""Of enlarging latents, by their names here. Others (`area`, `bislerp`) are not here."""
_SHARED = ("model", "positive", "negative")


def take_second_pass(reading: Reading, base: Node, second: Node) -> None:
    """Enter the pass of `second` after `base`, if it is one that can be asked for here."""
    upscaler = reading.graph.at(second.inputs.get("latent_image"))
    if upscaler is None or reading.graph.at(upscaler.inputs.get("samples")) is not base:
        return
    found = _pass(reading.graph, base, second, upscaler, reading.ledger.fields)
    if found is None:
        return
    reading.take(second, *second.inputs)
    reading.take(upscaler, *upscaler.inputs)
    said = ", ".join(f"{name} {value}" for name, value in found.fields.items())
    reading.ledger.carry(f"{second.name}, {upscaler.name}", said, found.note, hires=dict(found.fields))


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """A second pass as it would be asked for."""

    fields: Mapping[str, Any]
    note: str


def _pass(graph: Graph, base: Node, second: Node, upscaler: Node, first: Mapping[str, Any]) -> _Pass | None:
    """What `second` asks for after `base`; `None` if it is no second pass as one can be asked for here.

    Both are `KSampler`s of the same model, prompts and seed, with nothing between them but one enlarging of the
    latents, whole and in proportion.
    """
    if {base.kind, second.kind} != {"KSampler"} or any(base.inputs.get(k) != second.inputs.get(k) for k in _SHARED):
        return None
    seed, steps, guidance, strength = (
        graph.number(second.inputs.get(name)) for name in ("seed", "steps", "cfg", "denoise")
    )
    method = _METHODS.get(str(upscaler.inputs.get("upscale_method")))
    if seed != graph.number(base.inputs.get("seed")) or method is None:
        return None
    try:
        size = _size(graph, upscaler, first)
        rule = of_comfyui(str(second.inputs.get("sampler_name")), str(second.inputs.get("scheduler")))
        numbers = {
            "steps": whole_number(steps, 1, MAX_STEPS),
            "guidance": real_number(guidance, 0, 1000),
            "strength": real_number(strength, LEAST_STRENGTH, 1),
        }
    except ValueError:
        return None
    if rule.lost:
        return None
    fields = {**size, "upscaler": method, **numbers, "sampler": rule.sampler, "schedule": rule.schedule}
    return _Pass(fields=fields, note=rule.note)


def _size(graph: Graph, upscaler: Node, first: Mapping[str, Any]) -> dict[str, Any]:
    """Whole latents, in the proportions of the first pass; else `ValueError`."""
    sides = [whole_number(first.get(name), 1, MAX_SIDE_PX) for name in ("width", "height")]
    if upscaler.kind == "LatentUpscaleBy":
        scale = real_number(graph.number(upscaler.inputs.get("scale_by")), 1, 16)
        if any(side * scale % LATENT_PX for side in sides):
            raise ValueError("it is of no whole latents")
        return {"scale": scale}
    if upscaler.kind != "LatentUpscale" or upscaler.inputs.get("crop") != "disabled":
        raise ValueError("it is no enlarging of latents alone")
    wanted = [whole_number(graph.number(upscaler.inputs.get(name)), 64, MAX_SIDE_PX) for name in ("width", "height")]
    if any(side % LATENT_PX for side in wanted) or wanted[0] * sides[1] != wanted[1] * sides[0]:
        raise ValueError("it is of no whole latents, or of other proportions")
    return {"width": wanted[0], "height": wanted[1]}
