"""A map of names: which tensors of the original layout are which of diffusers', and what must be done to their values.

An original tensor is one diffusers tensor or several of them, one below the other (a fused query, key and value). No
name is met twice on either side, and every operation can be undone, so one map serves both ways.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

Config = Mapping[str, Any]
"""`config.json` of the network in a diffusers folder."""


class Form(StrEnum):
    """How the values of a weight differ between the layouts."""

    SAME = "same"
    CONVOLUTION = "convolution"
    """A 1x1 convolution [O, I, 1, 1] originally, a linear layer [O, I] in diffusers."""
    TRANSPOSED = "transposed"
    SWAPPED = "swapped halves"
    """Shift above scale originally, scale above shift in diffusers; the bias too."""


Suffixes = tuple[tuple[str, str], ...]
WEIGHT: Suffixes = ((".weight", ".weight"),)
WEIGHT_AND_BIAS: Suffixes = ((".weight", ".weight"), (".bias", ".bias"))


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One module of the original network and the modules of diffusers' that it is."""

    original: str
    diffusers: tuple[str, ...]
    suffixes: Suffixes = WEIGHT_AND_BIAS
    """What follows the module's name in the name of each of its tensors, originally and in diffusers."""
    form: Form = Form.SAME
    rows: tuple[int, ...] = ()
    """Where there are several: how many rows (outputs) each of them has."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One original tensor and the diffusers tensors that it is."""

    original: str
    diffusers: tuple[str, ...]
    form: Form
    rows: tuple[int, ...]


@dataclass(frozen=True)
class KeyMap:
    """All layers of one network."""

    layers: tuple[Layer, ...]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every tensor, in the order of the layers."""
        return tuple(
            Entry(
                original=layer.original + theirs,
                diffusers=tuple(name + ours for name in layer.diffusers),
                form=Form.SAME if layer.form is not Form.SWAPPED and ours == ".bias" else layer.form,
                rows=layer.rows,
            )
            for layer in self.layers
            for theirs, ours in layer.suffixes
        )

    @cached_property
    def by_original(self) -> Mapping[str, Entry]:
        return {entry.original: entry for entry in self.entries}

    @cached_property
    def by_diffusers(self) -> Mapping[str, Entry]:
        return {name: entry for entry in self.entries for name in entry.diffusers}


def layer(
    original: str,
    *diffusers: str,
    suffixes: Suffixes = WEIGHT_AND_BIAS,
    form: Form = Form.SAME,
    rows: tuple[int, ...] = (),
) -> Layer:
    """A layer, short enough for tables."""
    return Layer(original=original, diffusers=diffusers, suffixes=suffixes, form=form, rows=rows)


def below(original: str, diffusers: str, layers: Iterable[Layer]) -> Iterable[Layer]:
    """`layers` of a block, named by where the block is in both networks."""
    for inner in layers:
        yield Layer(
            original=f"{original}.{inner.original}",
            diffusers=tuple(f"{diffusers}.{name}" for name in inner.diffusers),
            suffixes=inner.suffixes,
            form=inner.form,
            rows=inner.rows,
        )
