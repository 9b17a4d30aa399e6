"""Weights of pieces of a text as weights of the tokens of all of it, for encoders that read a text whole.

The text is tokenized as it would be without weights, so that the ids are the very same; a token has the weight of the
piece in which it ends.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from gesso.core.errors import ModelError
from gesso.engine.conditioning.base import Tokenizer
from gesso.engine.prompt.steps import Piece


def weighted_ids(tokenizer: Tokenizer, pieces: Sequence[Piece]) -> list[tuple[int, float]]:
    """Ids and weights of a text, without begin and end.

    Raises:
        ModelError: it has weights, and the tokenizer does not say where its tokens are.
    """
    text = "".join(piece.text for piece in pieces)
    options = {"add_special_tokens": False, "truncation": False, "padding": False, "verbose": False}
    if all(piece.weight == 1 for piece in pieces):
        return [(token, 1.0) for token in tokenizer(text, **options)["input_ids"]]
    found = with_places(tokenizer, text, **options)
    weights = weights_at(pieces, [end for _, end in found["offset_mapping"]])
    return list(zip(found["input_ids"], weights, strict=True))


def with_places(tokenizer: Tokenizer, text: str, **options: Any) -> Mapping[str, Any]:
    """What the tokenizer makes of `text`, with `offset_mapping`: first and last character of each token."""
    try:
        return tokenizer(text, return_offsets_mapping=True, **options)
    except NotImplementedError as error:
        raise ModelError(
            "The tokenizer of this model does not say where its tokens are, so words cannot be weighed",
            hint="add the model's `tokenizer.json`, or write the prompt without weights",
        ) from error


def weights_at(pieces: Sequence[Piece], ends: Sequence[int]) -> list[float]:
    """The weight of the piece in which each token ends; 1 before the first and behind the last.

    Args:
        ends: of each token, as a number of characters from the begin of the first piece.
    """
    bounds = list(accumulate(len(piece.text) for piece in pieces))
    return [pieces[bisect_left(bounds, end)].weight if bounds and 0 < end <= bounds[-1] else 1.0 for end in ends]
