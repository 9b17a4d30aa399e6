"""Guidance without the growth of contrast: Lin et al. 2023 (arXiv 2305.08891), equations 15 and 16."""

from torch import Tensor


def rescaled(guided: Tensor, positive: Tensor, share: float) -> Tensor:
    """`share` of the guided prediction brought back to the deviation that the prompt's own has, the rest as it is.

    Args:
        guided, positive: [1, ...]; the deviation is over everything that belongs to a picture.
    """
    inside = tuple(range(1, guided.ndim))
    level = guided * (positive.std(dim=inside, keepdim=True) / guided.std(dim=inside, keepdim=True))
    return share * level + (1 - share) * guided
