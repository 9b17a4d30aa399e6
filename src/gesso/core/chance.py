"""How much chance there is in a sampler's steps."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict


@dataclass(frozen=True, kw_only=True)
class Chance:
    """How much chance there is in the steps of a sampler that leaves that open.

    Attributes:
        eta: share of noise that each step draws anew; 0 follows the probability flow.
        s_churn: S_churn of Karras et al. 2022 (arXiv 2206.00364), algorithm 2: noise added before each step.
        s_tmin: lowest noise level at which it is added.
        s_tmax: highest; 0 is no limit.
        s_noise: strength of all noise that is drawn on the way; 1 is as derived.
        sgm_noise_multiplier: begin at noise times sqrt(1 + sigma²) and not at noise times sigma.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    eta: float | None = None
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    s_noise: float = 1.0
    sgm_noise_multiplier: bool = False
