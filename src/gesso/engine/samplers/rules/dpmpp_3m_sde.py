"""DPM++ 3M SDE: D quadratic over the last three calls (k-diffusion, `sample_dpmpp_3m_sde`)."""

import math

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step
from gesso.engine.samplers.rules.dpmpp_2m_sde import sde_noise_deviation
from gesso.engine.samplers.rules.phi import phi


def advance(step: Step) -> Tensor:
    """Of order 1, 2, then 3 as calls are there to look back on; the last step of order 1."""
    point, one, two = step.point, step.earlier(1), step.earlier(2)
    if not step.sigma_next:
        return point.denoised
    h = math.log(point.sigma / step.sigma_next)
    span = h * (1 + step.eta)
    x = math.exp(-span) * point.x - math.expm1(-span) * point.denoised
    first, second = span * phi(2, -span), span * phi(3, -span)
    if one is not None:
        back = math.log(one.sigma / point.sigma) / h
        slope = (point.denoised - one.denoised) / back
        if two is not None:
            further = math.log(two.sigma / one.sigma) / h
            bend = (slope - (one.denoised - two.denoised) / further) / (back + further)
            # phi_3 of k-diffusion is phi(2, -span) - 1/2, taken per span: the sign is folded in.
            x = x + first * (slope + back * bend) + second * bend
        else:
            x = x + first * slope
    return x + sde_noise_deviation(step, h) * step.draw() if step.eta else x


RULE = Rule(advance=advance, memory=3)
