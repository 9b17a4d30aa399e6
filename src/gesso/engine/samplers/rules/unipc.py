"""UniPC: predictor and corrector of order 3 with B1(h) = h on the denoised sample (Zhao et al. 2023, arXiv 2302.04867).

The corrector costs no call: it improves the sample at a level by the call that is made there anyway (algorithm 1).
"""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from gesso.engine.samplers.rules.base import Point, Rule, Step
from gesso.engine.samplers.rules.phi import phi

ORDER = 3


def correct(step: Step) -> Tensor:
    """UniC at this step's level (section 3.2); the first step has nothing to correct."""
    start = step.earlier(1)
    if start is None:
        return step.point.x
    before = step.points[:-2]
    return _unified(start, before, step.point.sigma, _order(step.index - 1, step.remaining + 1), arrived=step.point)


def advance(step: Step) -> Tensor:
    """UniP (section 3.3); of order 1 where it ends at level 0, of order 2 the step before."""
    if not step.sigma_next:
        return step.point.denoised
    return _unified(step.point, step.points[:-1], step.sigma_next, _order(step.index, step.remaining))


def _order(index: int, remaining: int) -> int:
    return min(ORDER, index + 1, remaining)


def _unified(
    start: Point, before: Sequence[Point], sigma: float, order: int, *, arrived: Point | None = None
) -> Tensor:
    """Equation 3: x' = (sigma' / sigma) x + (1 - sigma' / sigma) D + h sum of a_m (D_m - D) / r_m.

    Args:
        start: the call that the step began with.
        before: the calls before it.
        arrived: the call at the end of the step, for the corrector.
    """
    ratio = sigma / start.sigma
    h = -math.log(ratio)
    others = list(before[len(before) - order + 1 :])
    places = [math.log(start.sigma / each.sigma) / h for each in others]  # in steps from `start`
    if arrived is not None:
        others, places = [*others, arrived], [*places, 1.0]
    x = ratio * start.x + (1 - ratio) * start.denoised
    for weight, place, each in zip(_weights(places, h), places, others, strict=True):
        x = x + h * weight / place * (each.denoised - start.denoised)
    return x


def _weights(places: Sequence[float], h: float) -> list[float]:
    """The a of equation 5 with B(h) = h: sum over m of r_m^(k-1) a_m = k! phi_(k+1)(-h).

    A single one is 1/2 whatever the B, in UniP-2 and in UniC-1 (section 3.4).
    """
    if len(places) <= 1:
        return [0.5] * len(places)
    powers = np.array([[place**power for place in places] for power in range(len(places))])
    moments = np.array([math.factorial(k) * phi(k + 1, -h) for k in range(1, len(places) + 1)])
    return [float(weight) for weight in np.linalg.solve(powers, moments)]


RULE = Rule(advance=advance, correct=correct, memory=ORDER + 1)
