"""Euler a: down along the slope, then fresh noise up to the next level (k-diffusion, `sample_euler_ancestral`).

The same update is DDIM of any eta (Song et al. 2020, arXiv 2010.02502, equation 12) and, with eta 1, DDPM (Ho et al.
2020, arXiv 2006.11239, equations 6 and 7): those samplers differ in where their steps begin and end.
"""

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step, ancestral


def advance(step: Step) -> Tensor:
    """Down, then up."""
    down, up = ancestral(step.point.sigma, step.sigma_next, step.eta)
    x = step.euler(down)
    return x + up * step.draw() if up else x


RULE = Rule(advance=advance)
