"""The second pass of AUTOMATIC1111 and Forge ("Hires. fix")."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gesso.core.errors import UnknownNameError
from gesso.core.requests import LEAST_STRENGTH, MAX_STEPS
from gesso.engine.foreign.numbers import LATENT_PX, between, number, whole
from gesso.engine.foreign.numbers import size as parse_size
from gesso.engine.foreign.samplers import of_automatic1111
from gesso.engine.foreign.values import Ledger
from gesso.engine.hires.upscalers import LANCZOS, upscaler_named
from gesso.engine.infotext import DENOISING

_MARKS = ("Hires upscale", "Hires resize", "Hires upscaler")
"""One of these is written where there is a second pass."""
_NETWORK = re.compile(r"<(?:lora|lyco):[^>]+>")
_SAME = frozenset({"use same sampler", "use same scheduler", "use same checkpoint", "use same choices", "built-in"})

_IN_SDNEXT: Mapping[str, str] = MappingProxyType(
    {
        "Latent Nearest": "Latent (nearest)",
        "Latent Nearest exact": "Latent (nearest-exact)",
        "Latent Bilinear": "Latent",
        "Latent Bicubic": "Latent (bicubic)",
        "Latent Bilinear antialias": "Latent (antialiased)",
        "Latent Bicubic antialias": "Latent (bicubic antialiased)",
        "Resize Lanczos": "Lanczos",
        "Resize Nearest": "Nearest",
    }
)
"""What SD.Next calls upscalers."""


@dataclass
class _Pass:
    """A second pass while it is read."""

    ledger: Ledger
    fields: dict[str, Any] = field(default_factory=dict[str, Any])

    def carry(self, key: str, value: str, note: str = "", **fields: Any) -> None:
        self.fields.update(fields)
        self.ledger.carry(key, value, note, hires=dict(self.fields))


def carry_hires(pairs: dict[str, str], ledger: Ledger) -> None:
    """Enter what `pairs` say of a second pass, and take it out of them."""
    if not any(pairs.get(mark, "0x0") != "0x0" for mark in _MARKS):
        return
    said = [key for key in pairs if key.startswith("Hires ") or key == DENOISING]
    carry_pass({key: pairs.pop(key) for key in said}, ledger, size=pairs.get("Size", ""))


def carry_pass(
    said: Mapping[str, str], ledger: Ledger, *, size: str, names: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Enter all that is said of a second pass.

    Args:
        size: of the first.
        names: what AUTOMATIC1111 calls those keys that are called otherwise.
    """
    second = _Pass(ledger, fields=dict(ledger.fields.get("hires", {})))
    for key, value in said.items():
        name = names.get(key, key)
        rule = _RULES.get(name)
        if value.lower() in _SAME or (name, value) in {("Hires steps", "0"), ("Hires resize", "0x0")}:
            ledger.describe(key, value)
            continue
        if rule is None:
            ledger.leave(key, value, "the second pass has the networks of the first")
            continue
        try:
            rule(second, key, value, size)
        except ValueError as error:
            ledger.leave(key, value, str(error))


def _scale(second: _Pass, key: str, value: str, size: str) -> None:
    scale = between(number, 1, 16)(value)
    try:
        sides = [int(side * scale) for side in parse_size(size)]
    except ValueError:
        sides = list[int]()
    if all(side % LATENT_PX == 0 for side in sides):
        second.carry(key, value, scale=scale)
        return
    width, height = (side // LATENT_PX * LATENT_PX for side in sides)
    second.carry(key, value, f"it was rounded down to {width}x{height}", width=width, height=height)


def _resize(second: _Pass, key: str, value: str, _: str) -> None:
    sides = [whole(side) for side in value.split("x")]
    if len(sides) != 2:
        raise ValueError("it is no size")
    named: dict[str, Any] = dict(zip(("width", "height"), sides, strict=True))
    second.carry(key, value, **{name: side // LATENT_PX * LATENT_PX for name, side in named.items() if side})


def _upscaler(second: _Pass, key: str, value: str, _: str) -> None:
    """Upscalers that are networks enlarge pixels, so what stands in for one does too: latents need more noise."""
    try:
        second.carry(key, value, upscaler=upscaler_named(_IN_SDNEXT.get(value, value)))
    except UnknownNameError as error:
        second.carry(f"({key})", LANCZOS, upscaler=LANCZOS)
        raise ValueError("there is no such upscaler; Lanczos enlarges in its place") from error


def _sampler(second: _Pass, key: str, value: str, _: str) -> None:
    rule = of_automatic1111(value, None, says_schedules=True)
    second.carry(key, value, rule.note, sampler=rule.sampler, schedule=second.fields.get("schedule", rule.schedule))


def _schedule(second: _Pass, key: str, value: str, _: str) -> None:
    sampler = second.fields.get("sampler") or second.ledger.fields.get("sampler")
    if sampler is None:
        raise ValueError("there is no sampler for it")
    rule = of_automatic1111(sampler, value, says_schedules=True)
    if rule.lost:
        raise ValueError(rule.lost)
    second.carry(key, value, schedule=rule.schedule)


def _is(name: str, read: Callable[[str], Any]) -> "_Rule":
    return lambda second, key, value, _: second.carry(key, value, **{name: read(value)})


def _prompt(second: _Pass, key: str, value: str, _: str) -> None:
    """There each pass has the networks that its own prompt names."""
    first, own = (set(_NETWORK.findall(text)) for text in (second.ledger.fields.get("prompt", ""), value))
    if own - first:
        raise ValueError("the second pass has the networks of the first, and its prompt")
    second.carry(key, value, "" if own == first else "networks of the first prompt hold for both passes", prompt=value)


_Rule = Callable[[_Pass, str, str, str], None]
_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "Hires upscale": _scale,
        "Hires resize": _resize,
        "Hires upscaler": _upscaler,
        "Hires steps": _is("steps", between(whole, 1, MAX_STEPS)),
        DENOISING: _is("strength", between(number, LEAST_STRENGTH, 1)),
        "Hires sampler": _sampler,
        "Hires schedule type": _schedule,
        "Hires CFG Scale": _is("guidance", between(number, 0, 1000)),
        "Hires prompt": _prompt,
        "Hires negative prompt": _is("negative_prompt", str),
    }
)
