"""DPM++ 2M: Lu et al. 2022 (arXiv 2211.01095), algorithm 2."""

import math

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step


def advance(step: Step) -> Tensor:
    """Exact for a constant D, with D extrapolated from the last two calls; first and last step of order 1."""
    point, before = step.point, step.earlier(1)
    ratio = step.sigma_next / point.sigma
    denoised = point.denoised
    if before is not None and step.sigma_next:
        half_ratio = math.log(ratio) / math.log(point.sigma / before.sigma) / 2
        denoised = denoised + half_ratio * (point.denoised - before.denoised)
    return ratio * point.x + (1 - ratio) * denoised


RULE = Rule(advance=advance, memory=2)
