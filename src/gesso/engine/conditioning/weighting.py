"""What weights of tokens do to their embeddings.

z is the embedding of a token, w its weight, e what the encoder makes of no text at the same place. Begin, end and
padding weigh 1.
"""

from collections.abc import Callable, Sequence

import torch

from gesso.core.requests import Weighting
from gesso.engine.conditioning.base import TextEncoder, Tokenizer
from gesso.engine.conditioning.chunks import ChunkRows, weighted_rows
from gesso.engine.conditioning.texts import NOTHING, Texts, joined
from gesso.engine.prompt.steps import Sections

Reader = tuple[Tokenizer, TextEncoder]


def text_rows(readers: Sequence[Reader], texts: Texts) -> list[ChunkRows]:
    """The rows of `texts` for each encoder; where `weigh` needs to know of no text, with that as the last."""
    return weighted_rows(readers, [*joined(texts.groups), *_beside(texts)], texts.dialect)


def weigh(states: torch.Tensor, rows: ChunkRows, texts: Texts) -> torch.Tensor:
    """Apply the weights of `texts` to what an encoder made of `text_rows`: [B * K, P, C] -> [B, K * P, C]."""
    if not texts.weighted():
        return rows.join(states)
    embeds = states.reshape(-1, rows.chunks, *states.shape[1:])  # [B, K, P, C]
    weights = rows.weights.reshape(*embeds.shape[:3], 1).to(embeds)
    return _RULES[texts.weighting](embeds, weights, [len(group) for group in texts.groups]).flatten(1, 2)


def _beside(texts: Texts) -> list[Sections]:
    return [NOTHING] if texts.weighting is Weighting.COMFYUI and texts.weighted() else []


def _original(embeds: torch.Tensor, weights: torch.Tensor, groups: Sequence[int]) -> torch.Tensor:
    """w z, then each chunk times what keeps its mean over tokens and channels, and over the texts of one schedule."""
    weighted: list[torch.Tensor] = []
    for before, w in zip(embeds.split(list(groups)), weights.split(list(groups)), strict=True):
        after = before * w
        kept = _mean(before) / _mean(after)
        weighted.append(after * kept.to(after))
    return torch.cat(weighted)


def _mean(embeds: torch.Tensor) -> torch.Tensor:
    """[B, K, P, C] -> [1, K, 1, 1]"""
    return embeds.float().mean(dim=(0, 2, 3), keepdim=True)


def _no_norm(embeds: torch.Tensor, weights: torch.Tensor, groups: Sequence[int]) -> torch.Tensor:
    return embeds * weights


def _comfyui(embeds: torch.Tensor, weights: torch.Tensor, groups: Sequence[int]) -> torch.Tensor:
    nothing, embeds, weights = embeds[-1:, :1], embeds[:-1], weights[:-1]
    return torch.where(weights == 1, embeds, nothing + weights * (embeds - nothing))


_RULES: dict[Weighting, Callable[[torch.Tensor, torch.Tensor, Sequence[int]], torch.Tensor]] = {
    Weighting.ORIGINAL: _original,
    Weighting.NO_NORM: _no_norm,
    Weighting.COMFYUI: _comfyui,
}
