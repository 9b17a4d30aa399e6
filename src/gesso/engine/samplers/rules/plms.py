"""PLMS: Adams-Bashforth of order 4 on the predicted noise, after one step of Heun (Liu et al. 2022, arXiv 2202.09778).

The weights are those of even steps in time, as in equation 12 of the paper and in latent-diffusion's `PLMSSampler`.
"""

from collections.abc import Sequence

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step

_WEIGHTS: Sequence[Sequence[float]] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def interior(sigma: float, sigma_next: float, eta: float, index: int) -> float | None:
    """The first step calls the network at its end too."""
    return sigma_next or None if index == 0 else None


def approach(step: Step) -> Tensor:
    """By Euler."""
    return step.euler(step.sigma_next)


def advance(step: Step) -> Tensor:
    """Along the weighted noise of the last calls."""
    if step.inner is not None:
        noise = (step.point.slope + step.inner.slope) / 2
    else:
        weights = _WEIGHTS[len(step.points) - 1]
        noise = sum(
            (weight * each.slope for weight, each in zip(weights, reversed(step.points), strict=True)),
            start=0 * step.point.x,
        )
    return step.point.x + (step.sigma_next - step.point.sigma) * noise


RULE = Rule(advance=advance, interior=interior, approach=approach, memory=4)
