"""The second pass of a ComfyUI graph: a sampler that goes on from the enlarged latents of the first."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gesso.engine.foreign.graph import Graph, Node
from gesso.engine.foreign.samplers import of_comfyui
from gesso.engine.foreign.values import Ledger

_METHODS: Mapping[str, str] = MappingProxyType(
    {"nearest-exact": "latent-nearest-exact", "bilinear": "latent", "bicubic": "latent-bicubic"}
)
"""Of enlarging latents, by their names here. Others (`area`, `bislerp`) are not here."""
_SHARED = ("model", "positive", "negative")
_LATENT_PX = 8


@dataclass(frozen=True, kw_only=True)
class SecondPass:
    """A second pass as it would be asked for, and where each part of it is from."""

    fields: Mapping[str, Any]
    sampler: Node
    upscaler: Node
    note: str = ""


def second_pass(graph: Graph, base: Node, second: Node, ledger: Ledger) -> SecondPass | None:
    """What `second` asks for after `base`; `None` if it is no second pass as one can be asked for here.

    Both are `KSampler`s of the same model, prompts and seed, with nothing between them but one enlarging of the
    latents, whole and in proportion.
    """
    upscaler = graph.at(second.inputs.get("latent_image"))
    if upscaler is None or graph.at(upscaler.inputs.get("samples")) is not base:
        return None
    if {base.kind, second.kind} != {"KSampler"} or any(base.inputs.get(k) != second.inputs.get(k) for k in _SHARED):
        return None
    read = {name: graph.number(second.inputs.get(name)) for name in ("seed", "steps", "cfg", "denoise")}
    size = _size(graph, upscaler, ledger.fields)
    method = _METHODS.get(str(upscaler.inputs.get("upscale_method")))
    if read["seed"] != graph.number(base.inputs.get("seed")) or size is None or method is None:
        return None
    try:
        rule = of_comfyui(str(second.inputs.get("sampler_name")), str(second.inputs.get("scheduler")))
    except ValueError:
        return None
    if rule.lost or not _is_number(read["steps"], 1, 10_000) or int(read["steps"]) != read["steps"]:
        return None
    if not _is_number(read["cfg"], 0, 1000) or not _is_number(read["denoise"], 0.01, 1):
        return None
    numbers = {"steps": int(read["steps"]), "guidance": float(read["cfg"]), "strength": float(read["denoise"])}
    fields = {**size, "upscaler": method, **numbers, "sampler": rule.sampler, "schedule": rule.schedule}
    return SecondPass(fields=fields, sampler=second, upscaler=upscaler, note=rule.note)


def _size(graph: Graph, upscaler: Node, first: Mapping[str, Any]) -> dict[str, Any] | None:
    """Whole latents, in the proportions of the first pass."""
    sides = [first.get("width"), first.get("height")]
    if upscaler.kind == "LatentUpscaleBy":
        scale = graph.number(upscaler.inputs.get("scale_by"))
        if not _is_number(scale, 1, 16) or any(side is None or side * scale % _LATENT_PX for side in sides):
            return None
        return {"scale": float(scale)}
    if upscaler.kind != "LatentUpscale" or upscaler.inputs.get("crop") != "disabled":
        return None
    wanted = [graph.number(upscaler.inputs.get(name)) for name in ("width", "height")]
    if not all(_is_number(side, 64, 16_384) and int(side) == side and side % _LATENT_PX == 0 for side in wanted):
        return None
    if None in sides or wanted[0] * sides[1] != wanted[1] * sides[0]:
        return None
    return {"width": int(wanted[0]), "height": int(wanted[1])}


def _is_number(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
