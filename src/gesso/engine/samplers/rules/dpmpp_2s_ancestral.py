"""DPM++ 2S a: DPM-Solver++(2S) down, then fresh noise up (k-diffusion, `sample_dpmpp_2s_ancestral`).

The solver is algorithm 1 of Lu et al. 2022 (arXiv 2211.01095) with its second call half way in log sigma.
"""

from torch import Tensor

from gesso.engine.samplers.rules.base import Rule, Step, ancestral
from gesso.engine.samplers.rules.dpm2_ancestral import approach, interior


def advance(step: Step) -> Tensor:
    """Exact for the D of the second call, then up."""
    down, up = ancestral(step.point.sigma, step.sigma_next, step.eta)
    ratio = down / step.point.sigma
    x = step.euler(down) if step.inner is None else ratio * step.point.x + (1 - ratio) * step.inner.denoised
    return x + up * step.draw() if up else x


RULE = Rule(advance=advance, interior=interior, approach=approach)
