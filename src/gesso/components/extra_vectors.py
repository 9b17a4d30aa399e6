"""Words that only one caller of a text encoder knows, as call state: ids below zero are vectors of the call's own.

The vocabulary of the shared encoder stays as it is. The ids are below zero since CLIP's pooled output is read where the
id is highest, of all encoders whose config was written before transformers 4.31.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gesso.core.errors import ClosedError


@dataclass(frozen=True)
class ExtraVectors:
    """A text encoder that reads id -1 - i as row i of a table. Equal where the rows are of the same files.

    The table is held weakly, since what calls agreed on is remembered for longer than a request runs.
    """

    rows: tuple[tuple[str, int], ...]
    """sha256 and number of vectors of each file, in the order of the table."""
    table: "weakref.ref[Tensor]" = field(compare=False, repr=False)  # [rows, C]

    @contextmanager
    def entered(self, module: nn.Module) -> Iterator[None]:
        table = self.table()
        if table is None:
            raise ClosedError("The request of the embeddings has ended")
        layers = _tables(module)
        own = [layer.__dict__.get("forward") for layer in layers]
        try:
            for layer in layers:
                layer.__dict__["forward"] = _reading(layer.forward, table)
            yield
        finally:
            for layer, forward in zip(layers, own, strict=True):
                layer.__dict__.pop("forward", None)
                if forward is not None:  # of an adapter, that changes the vocabulary
                    layer.__dict__["forward"] = forward


def _tables(encoder: nn.Module) -> list[nn.Embedding]:
    """Where a text encoder looks up tokens. T5 has its table twice, and uses the one that it does not name."""
    named: nn.Embedding = encoder.get_input_embeddings()  # pyright: ignore[reportCallIssue, reportAssignmentType]
    size = (named.num_embeddings, named.embedding_dim)
    return [
        part
        for part in encoder.modules()
        if isinstance(part, nn.Embedding) and (part.num_embeddings, part.embedding_dim) == size
    ]


def _reading(known: Callable[[Tensor], Tensor], table: Tensor) -> Callable[[Tensor], Tensor]:
    def forward(ids: Tensor) -> Tensor:
        vectors = known(ids.clamp(min=0))
        extra = table.to(vectors)[(-1 - ids).clamp(min=0)]
        return torch.where((ids < 0).unsqueeze(-1), extra, vectors)

    return forward
