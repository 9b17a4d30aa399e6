"""DPM++ 2M SDE: the SDE form of DPM++ 2M (Lu et al. 2022, arXiv 2211.01095; k-diffusion, `sample_dpmpp_2m_sde`).

With h = log(sigma / sigma_next), D linear over the last two calls, and noise of share eta:
x' = e^{-h(1+eta)} x + (1 - e^{-h(1+eta)}) D + correction + sigma_next sqrt(1 - e^{-2 eta h}) noise.
"""

import math

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step
from gesso.engine.samplers.rules.phi import phi


def _advance(step: Step, *, heun: bool) -> Tensor:
    point, before = step.point, step.earlier(1)
    if not step.sigma_next:
        return point.denoised
    h = math.log(point.sigma / step.sigma_next)
    span = h * (1 + step.eta)
    x = math.exp(-span) * point.x - math.expm1(-span) * point.denoised
    if before is not None:
        per_step = h / math.log(before.sigma / point.sigma)
        share = span * phi(2, -span) if heun else -math.expm1(-span) / 2
        x = x + share * per_step * (point.denoised - before.denoised)
    return x + sde_noise_deviation(step, h) * step.draw() if step.eta else x


def sde_noise_deviation(step: Step, h: float) -> float:
    """sigma_next sqrt(1 - e^{-2 eta h})."""
    return step.sigma_next * math.sqrt(-math.expm1(-2 * step.eta * h))


def midpoint(step: Step) -> Tensor:
    """With the correction of the midpoint rule."""
    return _advance(step, heun=False)


def heun(step: Step) -> Tensor:
    """With the correction of Heun's rule, exact for a linear D."""
    return _advance(step, heun=True)


RULE = Rule(advance=midpoint, memory=2)
HEUN = Rule(advance=heun, memory=2)
