"""Networks that a prompt names: `<lora:name:0.8>`, `<lora:name:text_weight:weight>`, `<lora:name:te=0.3:unet=0.9>`."""

import math
from dataclasses import dataclass

from gesso.core.errors import InputError
from gesso.core.requests import AdapterUse, PromptDialect
from gesso.engine.prompt.parse import parse
from gesso.engine.prompt.tree import Alternation, Emphasis, Part, Prompt, Schedule, Sequence, Tag

LORA_KINDS = frozenset({"lora", "lyco"})
"""AUTOMATIC1111 once had LyCORIS as a network of its own."""
_PLACES = ("te", "unet")


@dataclass(frozen=True, kw_only=True)
class NamedNetworks:
    """What a prompt names.

    Attributes:
        prompt: the prompt without it.
        adapters: each tag of a LoRA, and what it asks for.
        unknown: tags of kinds that are not applied.
    """

    prompt: str
    adapters: tuple[tuple[str, AdapterUse], ...] = ()
    unknown: tuple[str, ...] = ()


def take_networks(prompt: str, dialect: PromptDialect) -> NamedNetworks:
    """The prompt without the networks that it names, and those.

    A LoRA's first number is its weight in the text encoders, the second that in the denoiser, which is the first if it
    is left out; 1 if both are. A name may have no colon in it.

    Raises:
        InputError: a number that is none, or an argument that is not known.
    """
    tree = parse(prompt, dialect)
    tags: list[Tag] = []
    parts = tuple(Part(_without(part.inside, tags), part.weight) for part in tree.parts)
    if not tags:
        return NamedNetworks(prompt=prompt)
    return NamedNetworks(
        prompt=str(Prompt(parts, dialect)),
        adapters=tuple((str(tag), _adapter(tag)) for tag in tags if tag.kind in LORA_KINDS),
        unknown=tuple(str(tag) for tag in tags if tag.kind not in LORA_KINDS),
    )


def _without(sequence: Sequence, tags: list[Tag]) -> Sequence:
    """`sequence` without its tags, which are added to `tags` in the order of the text."""
    kept: list[object] = []
    for node in sequence:
        match node:
            case Tag():
                tags.append(node)
            case Emphasis(opening=opening, inside=inside, weight=weight, closing=closing):
                kept.append(Emphasis(opening, _without(inside, tags), weight, closing))
            case Schedule(before=before, after=after, when=when):
                before = None if before is None else _without(before, tags)
                kept.append(Schedule(before, _without(after, tags), when))
            case Alternation(choices=choices):
                kept.append(Alternation(tuple(_without(choice, tags) for choice in choices)))
            case _:
                kept.append(node)
    return tuple(kept)  # pyright: ignore[reportReturnType]


def _adapter(tag: Tag) -> AdapterUse:
    name, *arguments = tag.arguments.split(":")
    weights: dict[str, float] = {}
    for place, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        if not equals:
            key, value = (_PLACES[place] if place < len(_PLACES) else "dyn"), argument
        if key.strip() not in _PLACES:
            raise InputError(
                f"`{tag}` in the prompt asks for `{key.strip()}`, which is not applied",
                hint="write <lora:NAME:WEIGHT>, <lora:NAME:TEXT_WEIGHT:WEIGHT> or <lora:NAME:te=…:unet=…>",
            )
        weights[key.strip()] = _number(value, tag)
    text_weight = weights.get("te", 1.0)
    return AdapterUse(name=name.strip(), weight=weights.get("unet", text_weight), text_encoder_weight=text_weight)


def _number(text: str, tag: Tag) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"`{text}` in `{tag}` of the prompt is no number", hint="write <lora:NAME:0.8>")
    return number
