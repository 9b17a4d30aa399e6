"""The second pass of SD.Next, whose keys changed twice: since 2023, 2024 and 2025."""

from collections.abc import Mapping
from types import MappingProxyType

from gesso.engine.foreign.hires import carry_pass
from gesso.engine.foreign.samplers import of_sdnext
from gesso.engine.foreign.values import Ledger
from gesso.engine.infotext import DENOISING

_DESCRIBING = frozenset({"Second pass", "Refine", "Hires force", "Hires size", "HiRes mode", "HiRes resize mode"})
"""That it is made, how it is decided how, and the size that comes out."""
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "Hires scale": "Hires upscale",
        "Hires fixed": "Hires resize",
        "Hires strength": DENOISING,
        "Hires CFG scale": "Hires CFG Scale",
        "Image CFG scale": "Hires CFG Scale",
        "Negative2": "Hires negative prompt",
        "Refiner negative": "Hires negative prompt",
        "Prompt2": "Hires prompt",
        "Refiner prompt": "Hires prompt",
    }
)
"""Its names of what AUTOMATIC1111 has too."""
_UPSCALER, _SCALES, _SIZES = "Hires upscaler", ("Hires scale", "Hires upscale"), ("Hires fixed", "Hires resize")
_OF_PASS = frozenset({*_NAMES, *_DESCRIBING, DENOISING, _UPSCALER, *_SCALES, *_SIZES, "Hires steps"})
_SAMPLER, _CONTEXT = "Hires sampler", ("HiRes context", "HiRes resize context")
_NOISE = (
    "there its noise goes on where that of the first ended, and its schedule has a step more; here it is drawn anew"
)
_USUAL_STRENGTH = 0.3
_STRENGTH = f"that of the first pass is taken, which is not written: {_USUAL_STRENGTH} is the usual one"
_ENLARGED = "there pixels were only enlarged: `gesso upscale` does that to the picture"


def carry_second_pass(pairs: dict[str, str], ledger: Ledger) -> None:
    """Enter what `pairs` say of a second pass, and take it out of them."""
    made = pairs.get("Second pass", pairs.get("Refine", "")).lower() == "true"
    if not made or not pairs.keys() & {_UPSCALER, "Hires force"}:  # or it is that of a refiner
        return
    repaints = _repaints(pairs)
    said = {key: pairs.pop(key) for key in [*pairs] if key in _OF_PASS}
    sampler = pairs.pop(_SAMPLER, None)
    for key in _CONTEXT:
        if (way := pairs.pop(key, "None")) != "None":
            ledger.leave(key, way, "a picture keeps its proportions here")
    for key in _idle(said, repaints=repaints):
        ledger.describe(key, said.pop(key))
    if not repaints:
        for key, value in said.items():
            ledger.leave(key, value, _ENLARGED)
        if sampler is not None:
            ledger.describe(_SAMPLER, sampler)
        return
    strength = said.get("Hires strength")
    if strength is not None and _is_zero(strength):
        ledger.leave("Hires strength", said.pop("Hires strength"), _STRENGTH)
        _add(ledger, "(Hires strength)", str(_USUAL_STRENGTH), strength=_USUAL_STRENGTH)
    if _UPSCALER not in said:
        _add(ledger, "(Hires scale)", "1", scale=1.0)
    carry_pass(said, ledger, size=pairs.get("Size", ""), names=_NAMES)
    if sampler is not None:
        _carry_sampler(sampler, ledger)
    ledger.imply("noise of the second pass", "that of the first goes on", _NOISE)


def _repaints(pairs: Mapping[str, str]) -> bool:
    """Whether the second pass makes steps. What was done is written; what was asked for decides where it is not."""
    done = pairs.get("Operations")
    if done is not None:
        return "hires" in {operation.strip() for operation in done.split(";")}
    asked = pairs.get("Hires force", "").lower() == "true"
    return asked or pairs.get(_UPSCALER, "").lower().startswith("latent")


def _is_zero(value: str) -> bool:
    return value in {"0", "0.0"}


def _idle(said: Mapping[str, str], *, repaints: bool) -> list[str]:
    """Keys that shape nothing, because of others."""
    resized = any(said.get(key, "0x0") != "0x0" for key in _SIZES)
    return [
        key
        for key, value in said.items()
        if key in _DESCRIBING
        or (key == _UPSCALER and value == "None")
        or (key in _SCALES and resized)
        or (key == DENOISING and "Hires strength" in said)
        or (not repaints and key not in (*_SCALES, *_SIZES, _UPSCALER))
    ]


def _carry_sampler(name: str, ledger: Ledger) -> None:
    if name.lower() in {"same as primary", "default", "none"}:
        ledger.describe(_SAMPLER, name)
        return
    try:
        rule = of_sdnext(name, None, None)
    except ValueError as error:
        ledger.leave(_SAMPLER, name, str(error))
        return
    _add(ledger, _SAMPLER, name, rule.note, sampler=rule.sampler, schedule=rule.schedule)


def _add(ledger: Ledger, name: str, value: str, note: str = "", **fields: str | float) -> None:
    ledger.carry(name, value, note, hires={**ledger.fields.get("hires", {}), **fields})
