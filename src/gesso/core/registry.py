"""Names that cost nothing until they are used.

A registry merges dotted names of built-ins with entry points of installed packages. Listing reads metadata only;
`get` imports. Built-ins go through the same door as plugins, so that the plugin path is always exercised.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from gesso.core.errors import UnknownNameError

T = TypeVar("T")
_KEBAB = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)*")


def load_dotted(name: str) -> Any:
    """The object behind `package.module:attribute`. Raises `ImportError` or `AttributeError` as Python does."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


class Registry(Generic[T]):
    """Things of one kind by lower-case kebab name.

    Args:
        group: the entry-point group that plugins declare, for example `gesso.devices`.
        builtin: name to dotted object, `package.module:attribute`.
    """

    def __init__(self, group: str, *, builtin: Mapping[str, str]) -> None:
        for name in builtin:
            assert _KEBAB.fullmatch(name), f"registry names are lower-case kebab: {name}"
        self.group = group
        self._builtin = dict(builtin)

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        """Looked for once: it means reading the metadata of every installed package."""
        return {point.name: point for point in entry_points(group=self.group) if point.name not in self._builtin}

    def names(self) -> list[str]:
        """All names, built-ins first, without importing anything."""
        return [*self._builtin, *sorted(self._plugins)]

    def get(self, name: str) -> T:
        """Import and return what `name` stands for. Raises `UnknownNameError`, or what the import raises."""
        if name in self._builtin:
            return cast(T, load_dotted(self._builtin[name]))
        plugins = self._plugins
        if name not in plugins:
            raise UnknownNameError(self.group.rpartition(".")[2].rstrip("s"), name, self.names())
        return cast(T, plugins[name].load())
