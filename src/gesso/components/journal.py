"""The outputs of completed calls, kept on disk: a job killed at step 37 replays 37 steps in milliseconds and goes on.

Entries are numbered in the order of the calls. A call finds its entry only if component, number and the digest of its
input are what they were; from the first call that does not, the rest is dropped. No pickle: a safetensors file a call,
its structure as JSON in the header.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from gesso.components.state import CallState
from gesso.components.trace import digest
from gesso.components.tree import PLAIN, leaves
from gesso.core.files import remove_leftovers, write_atomically
from gesso.core.recipe import TraceEntry

_TRUSTED_PACKAGES = ("diffusers.", "transformers.")
_UNREADABLE = (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, ImportError)


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """What a completed call gave."""

    entry: TraceEntry
    output: Any


class Journal:
    """The calls of one picture, in a folder of its own. Used by the picture's thread.

    Args:
        run: what else decides bytes (the fingerprint); entries of another run are not found.
    """

    def __init__(self, folder: Path, *, run: str = "") -> None:
        self.folder = folder
        self._run = run
        self._next = 0
        self._ended = False
        self._lock = threading.Lock()
        self.found_calls = 0

    def find(
        self, name: str, number: int, arguments: Mapping[str, Any], states: tuple[CallState, ...], exact: bool
    ) -> JournalEntry | None:
        """The entry of the next call if it is this one; otherwise `None`, and what came later is dropped."""
        with self._lock:
            path = self._path(self._next)
            if self._ended or not path.is_file():
                return None
            try:
                found = _read(path, self._identity(name, number, arguments, states, exact))
            except _UNREADABLE:  # half a file of a crashed machine, or one of another version: as if not there
                found = None
            if found is None:
                self._drop_from(self._next)
                return None
            self._next += 1
            self.found_calls += 1
            return found

    def keep(
        self,
        name: str,
        number: int,
        arguments: Mapping[str, Any],
        states: tuple[CallState, ...],
        exact: bool,
        entry: TraceEntry,
        output: Any,
    ) -> None:
        """Write a completed call. An output that cannot be written without pickle ends the journal here."""
        with self._lock:
            if self._ended:
                return
            try:
                structure, held = _described(output)
            except TypeError:
                self._ended = True
                return
            metadata = {
                "identity": self._identity(name, number, arguments, states, exact),
                "entry": entry.model_dump_json(),
                "structure": json.dumps(structure),
            }
            write_atomically(self._path(self._next), save(held, metadata=metadata))
            self._next += 1

    def discard(self) -> None:
        """The picture is safe elsewhere; the journal is not needed any more."""
        with self._lock:
            self._drop_from(0)
            remove_leftovers(self.folder)
            with suppress(OSError):  # not there, or somebody else keeps something in it
                self.folder.rmdir()

    def _identity(
        self, name: str, number: int, arguments: Mapping[str, Any], states: tuple[CallState, ...], exact: bool
    ) -> str:
        values = [(path, _value(leaf)) for path, leaf in leaves(arguments)]
        said = [repr(state) for state in states]
        return f"{name}#{number} {digest(arguments).hex()} {values} {said} {exact} {self._run}"

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:06d}.safetensors"

    def _drop_from(self, index: int) -> None:
        if self.folder.is_dir():
            for path in self.folder.glob("*.safetensors"):
                if path.stem.isdigit() and int(path.stem) >= index:
                    path.unlink(missing_ok=True)


def _value(leaf: Any) -> str:
    """Of tensors only that they are there: their bytes are in the digest. What is not understood equals nothing."""
    if isinstance(leaf, torch.Tensor):
        return "tensor"
    return repr(leaf) if isinstance(leaf, PLAIN) else uuid4().hex


def _read(path: Path, identity: str) -> JournalEntry | None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        if metadata["identity"] != identity:
            return None
        # Copied out of the mapped file, which is removed while its tensors are still in use.
        held = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 (not a mapping)
    return JournalEntry(
        entry=TraceEntry.model_validate_json(metadata["entry"]),
        output=_built(json.loads(metadata["structure"]), held),
    )


def _described(tree: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """(structure that JSON can hold, tensors by name). Raises `TypeError` for anything that is not understood."""
    held: dict[str, torch.Tensor] = {}

    def describe(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            key = f"t{len(held)}"
            held[key] = value.detach().cpu().contiguous().clone()
            return {"tensor": key, "device": str(value.device)}
        if isinstance(value, DiagonalGaussianDistribution):
            return {"gaussian": describe(value.parameters), "deterministic": value.deterministic}
        if isinstance(value, dict):
            kind = type(value)
            name = None if kind is dict else f"{kind.__module__}:{kind.__qualname__}"
            if name is not None and not name.startswith(_TRUSTED_PACKAGES):
                raise TypeError(name)
            if not all(isinstance(key, str) for key in value):
                raise TypeError("keys that JSON would change")
            return {"fields": {key: describe(item) for key, item in value.items()}, "class": name}
        if type(value) in (list, tuple):
            return {"items": [describe(item) for item in value], "tuple": isinstance(value, tuple)}
        if value is None or isinstance(value, bool | int | float | str):
            return {"value": value}
        raise TypeError(type(value).__name__)

    return describe(tree), held


def _built(structure: dict[str, Any], held: Mapping[str, torch.Tensor]) -> Any:
    if "tensor" in structure:
        return held[structure["tensor"]].to(structure["device"])
    if "gaussian" in structure:
        return DiagonalGaussianDistribution(
            _built(structure["gaussian"], held), deterministic=structure["deterministic"]
        )
    if "fields" in structure:
        fields = {key: _built(item, held) for key, item in structure["fields"].items()}
        if structure["class"] is None:
            return fields
        if not structure["class"].startswith(_TRUSTED_PACKAGES):
            raise ValueError(f"`{structure['class']}` is not a class of diffusers or transformers")
        module, _, name = structure["class"].partition(":")
        found = getattr(import_module(module), name)
        if not (isinstance(found, type) and issubclass(found, OrderedDict)):  # the outputs of both libraries are
            raise ValueError(f"`{structure['class']}` is not a class of outputs")
        return found(**fields)
    if "items" in structure:
        items = [_built(item, held) for item in structure["items"]]
        return tuple(items) if structure["tuple"] else items
    return structure["value"]
