"""ComfyUI's graph of nodes, as it is sent to be run and kept in the chunk `prompt`.

    {"3": {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["4", 0], …}}, "4": {…}}

An input is a value, or a link to an output of another node.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_NODES = 20_000
_PASSING = ("Reroute", "Reroute (rgthree)", "PrimitiveNode")
_TEXT_INPUTS = ("value", "string", "text", "String", "Text", "prompt")
"""What nodes that only hold a text call it."""
_SAVING = ("SaveImage", "Image Save", "SaveImageWebsocket", "Save Image", "SaveAnimatedWEBP", "SaveAnimatedPNG")
_SHOWING = ("PreviewImage",)


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node. Inputs are values, or `Link`s."""

    id: str
    kind: str
    inputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As people see it."""
        return f"{self.kind} #{self.id}"


@dataclass(frozen=True)
class Link:
    """Where an input comes from."""

    node: str
    output: int

    def __str__(self) -> str:
        """As people see it."""
        return f"output {self.output} of node #{self.node}"


@dataclass(kw_only=True)
class Graph:
    """A graph, and which of its nodes have been understood."""

    nodes: Mapping[str, Node]
    read: set[str] = field(default_factory=set[str])
    """Those whose every input was looked at."""

    def at(self, value: Any) -> Node | None:
        """The node that a link leads to, past those that hand on what they get. `None` where there is none."""
        seen: set[str] = set()
        while isinstance(value, Link) and value.node not in seen:
            seen.add(value.node)
            node = self.nodes.get(value.node)
            if node is None or node.kind not in _PASSING:
                return node
            self.read.add(node.id)
            value = next((inner for inner in node.inputs.values() if isinstance(inner, Link)), None)
        return None

    def text(self, value: Any) -> str | None:
        """A text that is written, or that a node holds; `None` if it is made of something."""
        if isinstance(value, str):
            return value
        node = self.at(value)
        if node is None or len(node.inputs) > 1:
            return None
        found = next((inner for name, inner in node.inputs.items() if name in _TEXT_INPUTS), None)
        if isinstance(found, str):
            self.read.add(node.id)
            return found
        return None

    def number(self, value: Any) -> Any:
        """A number that is written, or that a node holds under its one input."""
        node = self.at(value) if isinstance(value, Link) else None
        if node is None:
            return value
        if len(values := [inner for inner in node.inputs.values() if not isinstance(inner, Link)]) == 1:
            self.read.add(node.id)
            return values[0]
        return value

    def outputs(self) -> list[Node]:
        """Nodes that save pictures, else those that show them; in the order of their numbers."""
        for kinds in (_SAVING, _SHOWING):
            found = [node for node in self.nodes.values() if node.kind.startswith(kinds)]
            if found:
                return sorted(found, key=lambda node: (len(node.id), node.id))
        return []

    def upstream(self, start: Node) -> Iterator[Node]:
        """`start` and all that its result comes from, each once, the nearest first."""
        waiting, seen = [start], {start.id}
        for node in waiting:
            yield node
            for value in node.inputs.values():
                if isinstance(value, Link) and value.node not in seen and value.node in self.nodes:
                    seen.add(value.node)
                    waiting.append(self.nodes[value.node])


def graph_of(document: Any) -> Graph | None:
    """The graph in a JSON document; `None` if it holds none."""
    if not isinstance(document, dict) or not document or len(document) > MOST_NODES:
        return None
    nodes: dict[str, Node] = {}
    for name, found in document.items():
        kind = found.get("class_type") if isinstance(found, dict) else None
        inputs = found.get("inputs") if isinstance(found, dict) else None
        if not isinstance(kind, str) or not isinstance(inputs, dict):
            return None
        read = {str(key): _input(value) for key, value in inputs.items()}
        nodes[str(name)] = Node(id=str(name), kind=kind, inputs=read)
    return Graph(nodes=nodes)


def _input(value: Any) -> Any:
    match value:
        case [str() | int() as node, int() as output] if not isinstance(node, bool):
            return Link(str(node), output)
        case _:
            return value
