"""Which program wrote a text of pairs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gesso.engine.foreign.values import Program

_FIRST_WITH_SCHEDULES = (1, 9)
"""The version that has schedules apart from samplers, and always writes them."""
_FIRST_BY_LEVEL = (1, 8)
"""The version from which a refiner goes on at a level of noise, not at a step."""
_VERSION = re.compile(r"(?P<forge>f[\w.]*?)?v(?P<major>\d+)\.(?P<minor>\d+)")
_FORGE = re.compile(r"f\d|neo|classic|forge", re.IGNORECASE)
_OLD = "no version is written: read as an old AUTOMATIC1111 would have meant it"
_BASIC = frozenset({"Steps", "Sampler", "Seed"})


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which program wrote a text."""

    program: Program
    version: str | None = None
    says_schedules: bool = True
    refines_by_level: bool = True
    note: str = ""
    """What was assumed of it."""


def origin_of(pairs: Mapping[str, str]) -> Origin:
    """The program, by what it calls itself; AUTOMATIC1111 has not always done so."""
    version = pairs.get("Version")
    if pairs.get("App") == Program.SDNEXT:
        return Origin(program=Program.SDNEXT, version=version)
    if version is None:
        app = pairs.get("App")
        if app is not None or not pairs.keys() >= _BASIC:
            return Origin(program=Program.OTHER, version=app)
        return Origin(
            program=Program.AUTOMATIC1111, says_schedules="Schedule type" in pairs, refines_by_level=False, note=_OLD
        )
    if version.startswith("Gesso"):
        own = version.removeprefix("Gesso").strip() or None
        return Origin(program=Program.GESSO, version=own, refines_by_level=False)
    if version.startswith("ComfyUI"):
        return Origin(program=Program.COMFYUI)
    found = _VERSION.match(version)
    if found is not None:
        program = Program.FORGE if found["forge"] else Program.AUTOMATIC1111
        number = (int(found["major"]), int(found["minor"]))
        says, by_level = number >= _FIRST_WITH_SCHEDULES, number >= _FIRST_BY_LEVEL
        return Origin(program=program, version=version, says_schedules=says, refines_by_level=by_level)
    if _FORGE.match(version):
        return Origin(program=Program.FORGE, version=version)
    return Origin(program=Program.OTHER, version=version)
