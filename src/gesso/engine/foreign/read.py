"""From what other programs left in a picture to a request."""

import json
from dataclasses import dataclass
from typing import Any

from gesso.engine import infotext
from gesso.engine.foreign import pairs, sdnext
from gesso.engine.foreign.comfyui import carry as comfyui
from gesso.engine.foreign.comfyui.graph import Graph, graph_of
from gesso.engine.foreign.comfyui.workflow import graph_of_workflow
from gesso.engine.foreign.origin import origin_of
from gesso.engine.foreign.values import ForeignRecipe, Ledger, Program


@dataclass(frozen=True, kw_only=True)
class ForeignTexts:
    """What programs leave in pictures, as it stands there.

    Attributes:
        parameters: the text that AUTOMATIC1111 and most others write.
        graph: ComfyUI's graph, as JSON.
        workflow: ComfyUI's drawing of it, as JSON.
    """

    parameters: str | None = None
    graph: str | None = None
    workflow: str | None = None


def read_texts(texts: ForeignTexts) -> ForeignRecipe | None:
    """The recipe; `None` if there is none that is understood. Never fails.

    A graph says more than the text that a node may have written beside it, so it is read first.
    """
    words = texts.parameters if texts.parameters is not None and is_prose(texts.parameters) else None
    found = _graph(texts)
    if found is not None:
        ledger = Ledger()
        model = comfyui.carry(found, ledger)
        if "prompt" in ledger.fields or words is None:
            return ledger.closed(Program.COMFYUI, None, model)
    return None if words is None else read_parameters(words)


def is_prose(parameters: str) -> bool:
    """Whether a `parameters` text is one of words and pairs. Some programs write JSON there, others nothing."""
    text = parameters.strip()
    return bool(text) and not (text[0] in "{[" and isinstance(_json(text), dict | list))


def read_parameters(text: str) -> ForeignRecipe:
    """The recipe of a `parameters` text. Never fails: what is not understood is prompt."""
    said = infotext.parse(text)
    origin = origin_of(said.pairs)
    ledger = Ledger()
    model = sdnext.carry(said, ledger) if origin.program is Program.SDNEXT else pairs.carry(said, origin, ledger)
    pairs.carry_rest(said, ledger)
    return ledger.closed(origin.program, origin.version, model)


def _graph(texts: ForeignTexts) -> Graph | None:
    documents = [(texts.graph, graph_of), (texts.workflow, graph_of_workflow)]
    if texts.parameters is not None and texts.parameters.startswith("{"):  # as some nodes save JPEG and WebP
        said = _json(texts.parameters)
        both = said if isinstance(said, dict) and said.keys() & {"prompt", "workflow"} else {"prompt": said}
        documents += [(both.get("prompt"), graph_of), (both.get("workflow"), graph_of_workflow)]
    for document, read in documents:
        graph = read(_json(document) if isinstance(document, str) else document)
        if graph is not None:
            return graph
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
