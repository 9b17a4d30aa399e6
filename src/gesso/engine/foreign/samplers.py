"""Names of samplers and schedules in the four programs, and how theirs differ from ours of that name."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gesso.core.errors import GessoError
from gesso.engine.samplers.table import AUTOMATIC, SAMPLERS, SCHEDULES, resolve_sampler, take_apart

_BROWNIAN = "its noise at the steps is of the same law, the numbers are others"
_CONSISTENCY = "its steps are those of the distillation here"
_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "DPM++ SDE": _BROWNIAN,
        "DPM++ 2M SDE": _BROWNIAN,
        "DPM++ 2M SDE Heun": _BROWNIAN,
        "DPM++ 3M SDE": _BROWNIAN,
        "UniPC": "it ends at level 0 here, there at the cleanest trained one",
        "DEIS": "it is of the same order here, and its polynomials are in log sigma",
        "LCM": _CONSISTENCY,
        "TCD": _CONSISTENCY,
    }
)
"""Samplers that are not quite the same here."""

_SAME_IN_SDNEXT = frozenset({"DPM++ 2M SDE"})
"""diffusers' draws its noise from the picture's own generator, as we do."""

_SDNEXT: Mapping[str, str] = MappingProxyType(
    {
        "euler": "Euler",
        "euler a": "Euler a",
        "heun": "Heun",
        "lmsd": "LMS",
        "kdpm2": "DPM2",
        "kdpm2 a": "DPM2 a",
        "dpm++ 2m": "DPM++ 2M",
        "dpm++ 2m sde": "DPM++ 2M SDE",
        "dpm sde": "DPM++ SDE",
        "unipc": "UniPC",
        "deis": "DEIS",
        "ddim": "DDIM",
        "ddpm": "DDPM",
        "pndm": "PLMS",
        "lcm": "LCM",
        "tcd": "TCD",
    }
)
"""Its names of classes of diffusers. Others of its names are of rules that are not here, whatever they sound like."""

_OF_DIFFUSERS = "it is the class of diffusers there, which rounds noise levels to whole timesteps"
_SDNEXT_NOTES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("DPM++ 2M", "DPM++ 2M SDE", "DDIM", "DDPM", "PLMS"), _OF_DIFFUSERS),
        **dict.fromkeys(("DPM2", "DPM2 a"), f"{_OF_DIFFUSERS}, and takes the last level before 0"),
    }
)

_COMFYUI: Mapping[str, str] = MappingProxyType(
    {
        "euler": "Euler",
        "euler_ancestral": "Euler a",
        "heun": "Heun",
        "dpm_2": "DPM2",
        "dpm_2_ancestral": "DPM2 a",
        "lms": "LMS",
        "dpmpp_2s_ancestral": "DPM++ 2S a",
        "dpmpp_sde": "DPM++ SDE",
        "dpmpp_sde_gpu": "DPM++ SDE",
        "dpmpp_2m": "DPM++ 2M",
        "dpmpp_2m_sde": "DPM++ 2M SDE",
        "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
        "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
        "dpmpp_2m_sde_heun_gpu": "DPM++ 2M SDE Heun",
        "dpmpp_3m_sde": "DPM++ 3M SDE",
        "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
        "ddim": "Euler",  # its own table says so
        "ddpm": "Euler a",  # the same step on levels of any placement
        "lcm": "LCM",
        "deis": "DEIS",
        "uni_pc": "UniPC",
    }
)
_COMFYUI_NOTES: Mapping[str, str] = MappingProxyType(
    {
        "dpmpp_3m_sde": f"{_BROWNIAN}; it takes the last level before 0 there",
        "dpmpp_3m_sde_gpu": f"{_BROWNIAN}; it takes the last level before 0 there",
        "uni_pc": "it leaves the last level before 0 out there",
        "deis": "its polynomials are in sigma there",
    }
)
_COMFYUI_SCHEDULES: Mapping[str, str] = MappingProxyType(
    {
        "normal": "uniform",
        "karras": "karras",
        "exponential": "exponential",
        "sgm_uniform": "sgm-uniform",
        "simple": "simple",
    }
)
_OWN_LEVELS = frozenset({"DDIM", "PLMS", "UniPC"})
"""Of AUTOMATIC1111: they step on levels of their own, whatever the schedule."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A sampler and a schedule by their names here.

    Attributes:
        note: how the sampler differs from the one of that name there.
        lost: the schedule that is not here, and why; the sampler's own stands in.
    """

    sampler: str
    schedule: str
    note: str = ""
    lost: str = ""


def of_automatic1111(name: str, schedule: str | None, *, says_schedules: bool) -> Rule:
    """What `Sampler` and `Schedule type` mean.

    Args:
        says_schedules: whether the version has schedules of their own. Older ones name it after the sampler, and where
            they do not, the levels are the model's.

    Raises:
        ValueError: there is no such sampler here.
    """
    sampler, suffix = _named(name)
    asked = _schedule(schedule) if schedule is not None else AUTOMATIC
    if asked is None:
        rule = _paired(sampler, suffix)
        return Rule(sampler=rule.sampler, schedule=rule.schedule, note=rule.note, lost="there is no such schedule")
    if sampler in _OWN_LEVELS:
        return Rule(sampler=sampler, schedule=AUTOMATIC, note=_NOTES.get(sampler, ""))
    if suffix == AUTOMATIC and schedule is None and not says_schedules and "uniform" in _schedules_of(sampler):
        suffix = "uniform"
    # The suffix was the whole name before there were schedules; a schedule that is written wins over it.
    return _paired(sampler, suffix if asked == AUTOMATIC else asked)


def of_sdnext(name: str, sigma: str | None, spacing: str | None) -> Rule:
    """What `Sampler`, `Sampler sigma` and `Sampler spacing` mean. Raises as `of_automatic1111` does."""
    sampler = _SDNEXT.get(name.casefold())
    if sampler is None:
        raise ValueError("there is no such sampler")
    sigmas = {None: "", "default": "", "karras": "karras", "exponential": "exponential"}
    spacings = {None: "uniform", "default": "uniform", "linspace": "uniform", "trailing": "simple"}
    note = _SDNEXT_NOTES.get(sampler) or ("" if sampler in _SAME_IN_SDNEXT else _NOTES.get(sampler, ""))
    if "uniform" not in _schedules_of(sampler):
        lost = "the sampler has levels of its own here" if sigma or spacing else ""
        return Rule(sampler=sampler, schedule=AUTOMATIC, note=note, lost=lost)
    placed, spaced = sigmas.get(sigma), spacings.get(spacing)
    lost = "there is no such schedule" if placed is None or spaced is None else ""
    return Rule(sampler=sampler, schedule=placed or spaced or "uniform", note=note, lost=lost)


def of_comfyui(name: str, schedule: str) -> Rule:
    """What the names of a sampler and of a schedule mean. Raises as `of_automatic1111` does."""
    sampler = _COMFYUI.get(name)
    if sampler is None:
        raise ValueError("there is no such sampler")
    note = _COMFYUI_NOTES.get(name) or _NOTES.get(sampler, "")
    placed = _COMFYUI_SCHEDULES.get(schedule)
    if placed is None:
        return Rule(sampler=sampler, schedule=AUTOMATIC, note=note, lost="there is no such schedule")
    if placed not in _schedules_of(sampler):
        return Rule(sampler=sampler, schedule=AUTOMATIC, note=note)
    return Rule(sampler=sampler, schedule=placed, note=note)


def _named(name: str) -> tuple[str, str]:
    try:
        return take_apart(name, flow=False)
    except GessoError as error:
        raise ValueError("there is no such sampler") from error


def _schedule(name: str) -> str | None:
    """Canonical; `None` if there is no such schedule here."""
    found = name.casefold()
    for schedule in SCHEDULES.values():
        if found in {schedule.name, schedule.label.casefold(), *schedule.aliases}:
            return schedule.name
    return None


def _schedules_of(sampler: str) -> tuple[str, ...]:
    form = SAMPLERS[sampler].diffusion if sampler in SAMPLERS else None
    return form.schedules if form is not None else ()


def _paired(sampler: str, schedule: str) -> Rule:
    note = _NOTES.get(sampler, "")
    try:
        sampler, schedule = resolve_sampler(sampler, schedule, flow=False)
    except GessoError as error:
        return Rule(sampler=sampler, schedule=AUTOMATIC, note=note, lost=error.message)
    if schedule == AUTOMATIC and "uniform" in _schedules_of(sampler):
        schedule = "uniform"  # theirs goes by k-diffusion's own levels, whatever a model's config says
    return Rule(sampler=sampler, schedule=schedule, note=note)
