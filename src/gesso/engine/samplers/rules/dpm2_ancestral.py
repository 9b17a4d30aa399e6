"""DPM2 a: a step of DPM2 down, then fresh noise up to the next level (k-diffusion, `sample_dpm_2_ancestral`)."""

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step, ancestral


def interior(sigma: float, sigma_next: float, eta: float, index: int) -> float | None:
    """The geometric mean of here and where the step goes down to."""
    down, _ = ancestral(sigma, sigma_next, eta)
    return (sigma * down) ** 0.5 or None


def approach(step: Step) -> Tensor:
    """By Euler."""
    down, _ = ancestral(step.point.sigma, step.sigma_next, step.eta)
    return step.euler((step.point.sigma * down) ** 0.5)


def advance(step: Step) -> Tensor:
    """Down along the slope at the midpoint, then up."""
    down, up = ancestral(step.point.sigma, step.sigma_next, step.eta)
    x = step.euler(down) if step.inner is None else step.point.x + (down - step.point.sigma) * step.inner.slope
    return x + up * step.draw() if up else x


RULE = Rule(advance=advance, interior=interior, approach=approach)
