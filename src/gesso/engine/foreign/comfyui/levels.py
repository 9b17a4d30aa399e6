"""The rule of a sampler and its noise levels, which are nodes of their own or not."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gesso.core.requests import MAX_STEPS
from gesso.engine.foreign.comfyui.graph import Link, Node
from gesso.engine.foreign.comfyui.reading import MADE, Reading
from gesso.engine.foreign.numbers import is_near, real_number, whole_number
from gesso.engine.foreign.samplers import of_comfyui

DENOISE = ".denoise"
"""How the names of fields end that say a strength."""
_SAMPLER_NODES: Mapping[str, str] = MappingProxyType(
    {
        "SamplerEulerAncestral": "euler_ancestral",
        "SamplerDPMPP_2S_Ancestral": "dpmpp_2s_ancestral",
        "SamplerDPMPP_SDE": "dpmpp_sde",
        "SamplerDPMPP_3M_SDE": "dpmpp_3m_sde",
    }
)
_SD_LEVELS = {"sigma_max": 14.614642, "sigma_min": 0.0291675}
"""Of Stable Diffusion 1, 2 and XL, as those nodes have them to begin with."""
_LEVELS: Mapping[str, tuple[str, Mapping[str, float]]] = MappingProxyType(
    {
        "KarrasScheduler": ("karras", {**_SD_LEVELS, "rho": 7.0}),
        "ExponentialScheduler": ("exponential", _SD_LEVELS),
        "PolyexponentialScheduler": ("exponential", {**_SD_LEVELS, "rho": 1.0}),
    }
)


def take_rule(reading: Reading, sampler: Node, levels: Node | None, name: Any, schedule: Any) -> None:
    """Enter a sampler and a schedule by the names that ComfyUI has for them."""
    ledger = reading.ledger
    reading.take(sampler, "sampler_name")
    if levels is not None:
        reading.take(levels, "scheduler")
    name, schedule = (reading.graph.number(value) for value in (name, schedule))
    try:
        rule = of_comfyui(str(name), str(schedule))
    except ValueError as error:
        why = MADE if isinstance(name, Link) else error
        ledger.leave(f"{sampler.name}.sampler_name", name, f"{why}; `--sampler` chooses one of `gesso samplers`")
        ledger.leave(f"{(levels or sampler).name}.scheduler", schedule, "its sampler is not here")
        return
    ledger.carry(f"{sampler.name}.sampler_name", name, rule.note, sampler=rule.sampler)
    if rule.lost:
        why = MADE if isinstance(schedule, Link) else rule.lost
        ledger.leave(f"{(levels or sampler).name}.scheduler", schedule, f"{why}; `--schedule` chooses another")
    else:
        ledger.carry(f"{(levels or sampler).name}.scheduler", schedule, schedule=rule.schedule)


def take_steps(reading: Reading, node: Node) -> None:
    """Enter the number of steps."""
    reading.carry(node, "steps", lambda value: {"steps": whole_number(value, 1, MAX_STEPS)})


def take_denoise(reading: Reading, node: Node) -> None:
    """Enter the strength, which is all of it where a picture begins with noise."""
    if is_near(reading.number(node, "denoise", 1), 1):
        reading.describe(node, "denoise")
    else:
        reading.leave(node, "denoise", "it begins with all noise here")


def take_custom(reading: Reading, node: Node) -> None:
    """Enter the sampler and the levels of the two custom nodes."""
    reading.take(node, "sampler", "sigmas")
    sampler, levels = (reading.graph.at(node.inputs.get(name)) for name in ("sampler", "sigmas"))
    schedule: Any = None
    if levels is not None and levels.kind == "BasicScheduler":
        reading.take(levels, "model")
        schedule = levels.inputs.get("scheduler")
        take_denoise(reading, levels)
    elif levels is not None and levels.kind in _LEVELS and _are_usual(reading, levels, _LEVELS[levels.kind][1]):
        schedule = _LEVELS[levels.kind][0]
    if levels is not None and "steps" in levels.inputs:
        take_steps(reading, levels)
    if sampler is None:
        reading.ledger.leave(f"{node.name}.sampler", "", "there is none")
    elif sampler.kind == "KSamplerSelect":
        take_rule(reading, sampler, levels, sampler.inputs.get("sampler_name"), schedule)
    elif sampler.kind in _SAMPLER_NODES:
        take_rule(reading, sampler, levels, _SAMPLER_NODES[sampler.kind], schedule)
        reading.carry(sampler, "eta", lambda value: {"eta": real_number(value, 0, 1)})
        reading.carry(sampler, "s_noise", lambda value: {"s_noise": real_number(value, 0, 2)})
        if sampler.inputs.get("r") == 0.5:
            reading.describe(sampler, "r")


def _are_usual(reading: Reading, node: Node, usual: Mapping[str, float]) -> bool:
    """Whether the levels are those of the model, as far as numbers rounded by hand can say; else they are told."""
    odd = [name for name, value in usual.items() if not is_near(reading.number(node, name, value), value)]
    for name in usual:
        if name in odd:
            reading.leave(node, name, "levels are the model's own")
        elif name in node.inputs:
            reading.describe(node, name)
    return not odd
