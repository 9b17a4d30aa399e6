"""Finding a base by what people call it, and by what a model says it was made from."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gesso.models.bases import others, stable_diffusion, transformers
from gesso.models.bases.base import Base

BASES: tuple[Base, ...] = (*stable_diffusion.BASES, *transformers.BASES, *others.BASES)

_BY_NAME: Mapping[str, Base] = MappingProxyType({name: base for base in BASES for name in (base.name, *base.aliases)})
_BY_HUB_ID: Mapping[str, Base] = MappingProxyType({id_.casefold(): base for base in BASES for id_ in base.hub_ids})


def known_names() -> list[str]:
    """Every name and alias."""
    return [*_BY_NAME]


def base_named(name: str) -> Base | None:
    """The base of that name, alias or hub id, in any case."""
    return _BY_NAME.get(name.casefold()) or _BY_HUB_ID.get(name.casefold())


def base_of(*, hub_ids: tuple[str | None, ...], pipeline: str) -> Base | None:
    """The base that a model says it is.

    Args:
        hub_ids: where it says it is from, the surest first.
        pipeline: its pipeline's class, which must be that of the base: another is made for something else.
    """
    for hub_id in hub_ids:
        base = _BY_HUB_ID.get(hub_id.casefold()) if hub_id else None
        if base is not None and base.pipeline == pipeline:
            return base
    return None


def as_data(base: Base) -> dict[str, Any]:
    """What `gesso models bases --json` prints of a base."""
    sizes = base.native_sizes or ((base.native_px, base.native_px),)
    return {
        "name": base.name,
        "aliases": base.aliases,
        "title": base.title,
        "hub_id": base.hub_id,
        "other_hub_ids": base.other_hub_ids,
        "family": base.family,
        "variant": base.variant,
        "pipeline": base.pipeline,
        "task": base.task,
        "native_sizes": sizes,
        "prediction": base.prediction,
        "steps": base.defaults.steps if base.defaults else None,
        "guidance": base.defaults.guidance if base.defaults else None,
        "burns_above_guidance": base.burns_above,
        "training_sizes": None
        if base.training is None
        else {
            "least_px": base.training.least_px,
            "most_px": base.training.most_px,
            "multiple_px": base.training.multiple_px,
        },
        "licence": base.licence,
        "gated": base.gated,
        "controlnets": base.controlnets,
        "source": base.source,
    }
