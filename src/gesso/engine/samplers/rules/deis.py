"""DEIS: the noise extrapolated by a polynomial in log sigma, of order 3 (Zhang & Chen 2022, arXiv 2204.13902).

x' = x + the integral of e^u P(u) du from log sigma to log sigma', where P goes through the noise of the last calls.
"""

import math

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step
from gesso.engine.samplers.rules.phi import lagrange_integrals

ORDER = 3


def advance(step: Step) -> Tensor:
    """Of order 1 where it ends at level 0, whose logarithm there is not."""
    if not step.sigma_next:
        return step.point.denoised
    point = step.point
    shares = lagrange_integrals(
        [math.log(each.sigma) for each in step.points], math.log(point.sigma), math.log(step.sigma_next), math.exp
    )
    change = sum((share * each.slope for share, each in zip(shares, step.points, strict=True)), start=0 * point.x)
    return point.x + change


RULE = Rule(advance=advance, memory=ORDER)
