"""Arguments and outputs of networks as trees: nested containers whose leaves are tensors and plain values.

Paths are dotted: `added_cond_kwargs.text_embeds`, `down_block_additional_residuals.3`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from itertools import chain
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

PLAIN = (type(None), bool, int, float, str, Enum, torch.dtype, torch.device)


class NotUnderstoodError(Exception):
    """A leaf that is neither a tensor nor a plain value, so rows cannot be told apart in it."""

    def __init__(self, path: str, leaf: object) -> None:
        self.path = path
        self.type_name = type(leaf).__name__
        super().__init__(f"`{path}` is a {self.type_name}")


def leaves(
    tree: Any, path: str = "", *, containers: bool = False, whole: Collection[str] = ()
) -> list[tuple[str, Any]]:
    """(path, leaf) of everything that is not a container, in a fixed order. Distributions count as their parameters.

    Args:
        containers: give (path, container) as well, before what is in it.
        whole: paths at which a container counts as a leaf.
    """
    found: list[tuple[str, Any]] = []

    def look(tree: Any, path: str) -> None:
        if isinstance(tree, torch.Tensor) or path in whole:
            found.append((path, tree))
        elif isinstance(tree, dict | list | tuple):
            if containers:
                found.append((path, tree))
            inside: Iterable[tuple[Any, Any]] = tree.items() if isinstance(tree, dict) else enumerate(tree)
            for key, value in inside:
                look(value, _join(path, str(key)))
        elif isinstance(tree, DiagonalGaussianDistribution):
            found.append((_join(path, "parameters"), tree.parameters))
        else:
            found.append((path, tree))

    look(tree, path)
    return found


def tensors(tree: Any) -> list[torch.Tensor]:
    """Every tensor of `tree`."""
    return [leaf for _, leaf in leaves(tree) if isinstance(leaf, torch.Tensor)]


def mapped(tree: Any, change: Callable[[str, Any], Any], path: str = "", *, whole: Collection[str] = ()) -> Any:
    """`tree` with every leaf replaced by `change(path, leaf)`; containers keep their classes.

    Args:
        whole: paths at which a container counts as a leaf.
    """
    if isinstance(tree, torch.Tensor) or path in whole:
        return change(path, tree)
    if isinstance(tree, dict):
        changed = {key: mapped(value, change, _join(path, str(key)), whole=whole) for key, value in tree.items()}
        if type(tree) is dict:
            return changed
        return type(tree)(**changed)  # outputs of diffusers and transformers are ordered dictionaries with fields
    if isinstance(tree, list | tuple):
        changed_items = [mapped(item, change, _join(path, str(index)), whole=whole) for index, item in enumerate(tree)]
        if hasattr(tree, "_fields"):
            return type(tree)(*changed_items)
        return type(tree)(changed_items)
    if isinstance(tree, DiagonalGaussianDistribution):
        return DiagonalGaussianDistribution(
            change(_join(path, "parameters"), tree.parameters), deterministic=tree.deterministic
        )
    return change(path, tree)


def take_rows(output: Any, start: int, stop: int, batch_rows: int, *, listed: Collection[str] = ()) -> Any:
    """The part of a forward's output that belongs to rows `start` to `stop`, cloned (a view keeps all rows alive).

    Args:
        listed: paths of lists with one item for each row.

    Raises:
        NotUnderstoodError: a leaf without `batch_rows` rows: whose is it?
    """

    def take(path: str, leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            if leaf.ndim == 0 or leaf.shape[0] != batch_rows:
                raise NotUnderstoodError(path or "output", leaf)
            return leaf[start:stop].clone()
        if path in listed and isinstance(leaf, list) and len(leaf) == batch_rows:
            return [item.clone() for item in leaf[start:stop]]
        if isinstance(leaf, PLAIN):
            return leaf
        raise NotUnderstoodError(path or "output", leaf)

    return mapped(output, take, whole=listed)


def joined_rows(outputs: list[Any], *, listed: Collection[str] = ()) -> Any:
    """The outputs of the parts of one call as if it had run whole; `listed` as for `take_rows`."""
    if len(outputs) == 1:
        return outputs[0]
    by_path: list[dict[str, Any]] = [dict(leaves(output, whole=listed)) for output in outputs]

    def join(path: str, leaf: Any) -> Any:
        return joined([paths[path] for paths in by_path]) if isinstance(leaf, torch.Tensor | list) else leaf

    return mapped(outputs[0], join, whole=listed)


def joined(parts: Sequence[Any]) -> Any:
    """Rows after rows: tensors along their first dimension, lists one after the other."""
    return torch.cat(list(parts)) if isinstance(parts[0], torch.Tensor) else list(chain.from_iterable(parts))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
