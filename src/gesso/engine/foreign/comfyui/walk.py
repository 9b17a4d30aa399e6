"""The way of a picture through a graph, from the node that saves it back to where it began."""

from collections.abc import Iterator

from gesso.engine.foreign.comfyui.graph import Graph, Node

SAMPLERS = frozenset({"KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"})
WAY_BACK = ("samples", "latent_image", "latent", "pixels", "image", "images")
"""Inputs along which a picture comes."""
CONDITIONING = ("conditioning", "positive", "conditioning_1", "conditioning_to")
"""Inputs along which a prompt comes."""


def back(graph: Graph, node: Node) -> Iterator[Node]:
    """The nodes that a picture was before it was at `node`, the nearest first, each once."""
    seen: set[str] = set()
    found = _before(graph, node)
    while found is not None and found.id not in seen:
        seen.add(found.id)
        yield found
        found = _before(graph, found)


def samplers_of(graph: Graph, output: Node) -> list[Node]:
    """The samplers that made the picture of `output`, in the order in which they ran."""
    return [node for node in back(graph, output) if node.kind in SAMPLERS][::-1]


def _before(graph: Graph, node: Node) -> Node | None:
    links = (node.inputs.get(name) for name in WAY_BACK)
    return next((found for link in links if (found := graph.at(link)) is not None), None)
