"""LMS: Adams-Bashforth of order 4 in sigma on levels of any spacing (k-diffusion, `sample_lms`)."""

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step
from gesso.engine.samplers.rules.phi import lagrange_integrals

ORDER = 4


def advance(step: Step) -> Tensor:
    """Integrate the polynomial through the last slopes."""
    point = step.point
    shares = lagrange_integrals([each.sigma for each in step.points], point.sigma, step.sigma_next)
    change = sum((share * each.slope for share, each in zip(shares, step.points, strict=True)), start=0 * point.x)
    return point.x + change


RULE = Rule(advance=advance, memory=ORDER)
