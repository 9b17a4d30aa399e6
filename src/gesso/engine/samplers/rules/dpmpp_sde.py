"""DPM++ SDE: DPM-Solver++ of two calls with ancestral noise at both (k-diffusion, `sample_dpmpp_sde`, r = 1/2)."""

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step, ancestral


def interior(sigma: float, sigma_next: float, eta: float, index: int) -> float | None:
    """The geometric mean of both ends; there is none with level 0."""
    return (sigma * sigma_next) ** 0.5 or None


def approach(step: Step) -> Tensor:
    """An ancestral step of order 1."""
    down, up = ancestral(step.point.sigma, (step.point.sigma * step.sigma_next) ** 0.5, step.eta)
    x = step.euler(down)
    return x + up * step.draw() if up else x


def advance(step: Step) -> Tensor:
    """An ancestral step with the D of the second call; the last step by Euler."""
    if step.inner is None:
        return step.euler(step.sigma_next)
    sigma, middle = step.point.sigma, step.inner.sigma
    down, up = ancestral(sigma, step.sigma_next, step.eta)
    ratio = down / sigma
    x = ratio * step.point.x + (1 - ratio) * step.inner.denoised
    if not up:
        return x
    # Both noises are increments of one Brownian path in sigma: the whole step's holds the first half's.
    first = ((sigma - middle) / (sigma - step.sigma_next)) ** 0.5
    second = ((middle - step.sigma_next) / (sigma - step.sigma_next)) ** 0.5
    return x + up * (first * step.drawn[0] + second * step.draw())


RULE = Rule(advance=advance, interior=interior, approach=approach)
