"""Signatures: the keys and sizes by which a network is known, as data, and how they are looked for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gesso.models.headers.base import TensorShape
from gesso.models.recognition.kinds import Kind, Layout

Tensors = Mapping[str, TensorShape]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A tensor that must be there."""

    key: str
    sizes: Mapping[int, int] = field(default_factory=dict[int, int])
    """Dimension → size that it must have."""

    def evidence(self, tensors: Tensors, prefix: str) -> str | None:
        """How the tensor is told to people; `None` if it is not there, or of another shape."""
        tensor = tensors.get(prefix + self.key)
        if tensor is None or any(
            not -len(tensor.shape) <= dimension < len(tensor.shape) or tensor.shape[dimension] != size
            for dimension, size in self.sizes.items()
        ):
            return None
        return shown(prefix + self.key, tensor if self.sizes else None)


def has(key: str, sizes: Mapping[int, int] | None = None) -> Mark:
    """A mark, short enough for tables."""
    return Mark(key=key, sizes=sizes or {})


def shown(key: str, tensor: TensorShape | None = None) -> str:
    """A key, and if it matters the shape: `to_k.weight` is 320x768."""
    name = f"`{key if len(key) <= 200 else key[:200] + '…'}`"
    return f"{name} is {'x'.join(map(str, tensor.shape)) or 'a number'}" if tensor is not None else name


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A network: where all marks are and none of the absent keys."""

    kind: Kind
    families: tuple[str, ...] = ()
    """Those that use exactly this network."""
    layout: Layout
    marks: tuple[Mark, ...]
    absent: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ("",)
    """What may stand before all keys of the network."""
    variant: str | None = None
    network: str | None = None
    guess: bool = False
    """Other families may look the same."""
    note: str | None = None
    input_key: str | None = None
    """Tensor whose second size is the number of input channels."""
    tasks: Mapping[int, str] = field(default_factory=dict[int, str])
    """Input channels → task, if not pictures from text."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A signature that was found, and where."""

    signature: Signature
    prefix: str
    evidence: tuple[str, ...]


def find(signatures: Iterable[Signature], tensors: Tensors, prefixes: tuple[str, ...] | None = None) -> Match | None:
    """The first signature that is met; the more special ones come first in their tables.

    Args:
        prefixes: instead of those of the signatures.
    """
    for signature in signatures:
        for prefix in signature.prefixes if prefixes is None else prefixes:
            found = [evidence for mark in signature.marks if (evidence := mark.evidence(tensors, prefix)) is not None]
            if len(found) == len(signature.marks) and not any(prefix + key in tensors for key in signature.absent):
                return Match(signature=signature, prefix=prefix, evidence=tuple(found))
    return None
