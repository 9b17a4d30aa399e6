"""Which program wrote a text of pairs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gesso.engine.foreign.values import Program

_FIRST_WITH_SCHEDULES = (1, 9)
"""The version that has schedules apart from samplers, and always writes them."""
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
    note: str = ""
    """What was assumed of it."""


def origin_of(pairs: Mapping[str, str]) -> Origin:
    """The program, by what it calls itself; AUTOMATIC1111 has not always done so."""
    version = pairs.get("Version")
    if pairs.get("App") == "SD.Next":
        return Origin(program=Program.SDNEXT, version=version)
    if version is None:
        app = pairs.get("App")
        if app is not None or not pairs.keys() >= _BASIC:
            return Origin(program=Program.OTHER, version=app)
        return Origin(program=Program.AUTOMATIC1111, says_schedules="Schedule type" in pairs, note=_OLD)
    if version.startswith("Gesso"):
        return Origin(program=Program.GESSO, version=version.removeprefix("Gesso").strip() or None)
    if version.startswith("ComfyUI"):
        return Origin(program=Program.COMFYUI)
    found = _VERSION.match(version)
    if found is not None:
        program = Program.FORGE if found["forge"] else Program.AUTOMATIC1111
        says = (int(found["major"]), int(found["minor"])) >= _FIRST_WITH_SCHEDULES
        return Origin(program=program, version=version, says_schedules=says)
    if _FORGE.match(version):
        return Origin(program=Program.FORGE, version=version)
    return Origin(program=Program.OTHER, version=version)
