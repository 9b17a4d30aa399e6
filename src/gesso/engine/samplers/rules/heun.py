"""Heun: Karras et al. 2022 (arXiv 2206.00364), algorithm 2: the mean of the slopes at both ends of the step."""

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step


def interior(sigma: float, sigma_next: float, eta: float, index: int) -> float | None:
    """At the end of the step; there is no slope at level 0."""
    return sigma_next or None


def approach(step: Step) -> Tensor:
    """By Euler."""
    return step.euler(step.sigma_next)


def advance(step: Step) -> Tensor:
    """The trapezoidal rule; the last step by Euler."""
    if step.inner is None:
        return step.euler(step.sigma_next)
    point = step.point
    return point.x + (step.sigma_next - point.sigma) / 2 * (point.slope + step.inner.slope)


RULE = Rule(advance=advance, interior=interior, approach=approach)
