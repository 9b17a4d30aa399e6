"""DPM2: the midpoint rule with the midpoint taken in log sigma, as in DPM-Solver-2.

k-diffusion, `sample_dpm_2`, after Lu et al. 2022 (arXiv 2206.00927) and algorithm 2 of Karras et al. 2022.
"""

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step


def interior(sigma: float, sigma_next: float, eta: float, index: int) -> float | None:
    """The geometric mean of both ends; there is none with level 0."""
    return (sigma * sigma_next) ** 0.5 or None


def approach(step: Step) -> Tensor:
    """By Euler."""
    return step.euler((step.point.sigma * step.sigma_next) ** 0.5)


def advance(step: Step) -> Tensor:
    """The whole step along the slope at the midpoint; the last step by Euler."""
    if step.inner is None:
        return step.euler(step.sigma_next)
    return step.point.x + (step.sigma_next - step.point.sigma) * step.inner.slope


RULE = Rule(advance=advance, interior=interior, approach=approach)
