"""A graph while it is read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gesso.engine.foreign.comfyui.graph import Graph, Link, Node
from gesso.engine.foreign.values import Ledger, file_name

ALL_STEPS = 10_000
"""What "to the last step" is written as."""
MADE = "it is made by nodes that are not known"
"""Why what has no value in the graph is left out."""


@dataclass(kw_only=True)
class Reading:
    """A graph, the ledger that its inputs are entered in, and which of them were."""

    graph: Graph
    ledger: Ledger
    taken: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Node → inputs that were entered, or followed."""

    def take(self, node: Node, *names: str) -> None:
        """These inputs are seen to."""
        self.taken.setdefault(node.id, set()).update(names)

    def number(self, node: Node, name: str, usual: Any = None) -> Any:
        """The number of an input, wherever it is written."""
        return self.graph.number(node.inputs.get(name, usual))

    def describe(self, node: Node, name: str) -> None:
        """The input shapes nothing, or says what is so anyway."""
        self.take(node, name)
        if name in node.inputs:
            self.ledger.describe(f"{node.name}.{name}", node.inputs[name])

    def leave(self, node: Node, name: str, why: str) -> None:
        """The input shapes the picture and has no counterpart."""
        self.take(node, name)
        value = self.number(node, name)
        self.ledger.leave(f"{node.name}.{name}", value, MADE if isinstance(value, Link) else why)

    def carry(self, node: Node, name: str, become: Callable[[Any], dict[str, Any]]) -> None:
        """The input becomes these fields of the request, unless `become` says why it cannot (`ValueError`)."""
        self.take(node, name)
        if name not in node.inputs:
            return
        value = self.number(node, name)
        try:
            fields = become(value)
        except ValueError as error:
            self.leave(node, name, str(error))
        else:
            self.ledger.carry(f"{node.name}.{name}", value, **fields)


def file_in(value: Any) -> str:
    """The file that a value names; `ValueError` says why it names none."""
    if not isinstance(value, str):
        raise ValueError(MADE if isinstance(value, Link) else "it is no name of a file")
    return file_name(value)
