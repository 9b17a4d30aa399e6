"""The noise levels of a diffusion model, and where on them a schedule places its steps.

A level is sigma = sqrt((1 - a) / a) for the model's cumulative alpha a (Karras et al. 2022, arXiv 2206.00364, table 1).
Between two trained timesteps log sigma is linear, as in k-diffusion, so that a sampler may stand between them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

KARRAS_RHO = 7.0
BETA = 0.6
"""Both parameters of the Beta distribution, as published."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The levels that a model was trained on, from the cleanest to the noisiest."""

    log_sigmas: NDArray[np.float64]
    least: float
    """Where schedules that go by sigma end; the cleanest level unless the model says otherwise."""
    most: float

    @classmethod
    def of(
        cls, alphas_cumprod: NDArray[np.float64], *, least: float | None = None, most: float | None = None
    ) -> "Levels":
        """Of cumulative alphas in the order of timesteps."""
        log_sigmas = np.log((1 - alphas_cumprod) / alphas_cumprod) / 2
        ends = np.exp(log_sigmas[[0, -1]])
        return cls(
            log_sigmas=log_sigmas,
            least=float(ends[0]) if least is None else least,
            most=float(ends[1]) if most is None else most,
        )

    @property
    def last(self) -> int:
        """The noisiest timestep."""
        return len(self.log_sigmas) - 1

    def sigmas(self, times: NDArray[np.float64]) -> list[float]:
        """Levels at timesteps, whole or not."""
        return np.exp(np.interp(times, np.arange(self.last + 1), self.log_sigmas)).tolist()

    def time(self, sigma: float) -> float:
        """The timestep of a level; levels outside those that were trained read as the nearest that was."""
        found = float(np.interp(math.log(sigma), self.log_sigmas, np.arange(self.last + 1)))
        whole = round(found)
        return float(whole) if abs(found - whole) < 1e-6 else found  # there and back costs some last digits


Placement = Callable[[Levels, int], list[float]]
"""The levels of so many steps, from the noisiest on, without the end."""


def uniform(levels: Levels, steps: int) -> list[float]:
    """Timesteps evenly from the noisiest to the cleanest (k-diffusion, `get_sigmas`)."""
    return levels.sigmas(np.linspace(levels.last, 0, steps))


def sgm_uniform(levels: Levels, steps: int) -> list[float]:
    """Timesteps evenly from the noisiest to where one more step would meet the cleanest."""
    return levels.sigmas(np.linspace(levels.last, 0, steps + 1)[:-1])


def simple(levels: Levels, steps: int) -> list[float]:
    """Every so-many-th trained timestep from the noisiest on: Lin et al. 2023 (arXiv 2305.08891), table 2, trailing."""
    trained = levels.last + 1
    return levels.sigmas(np.array([levels.last - index * trained // steps for index in range(steps)], np.float64))


def leading(levels: Levels, steps: int) -> list[float]:
    """Every so-many-th trained timestep counted from timestep 1, as DDIM has done since it was published.

    A single step is made at the noisiest: at timestep 1 there would be nothing left to do.
    """
    if steps == 1:
        return levels.sigmas(np.array([levels.last], np.float64))
    stride = (levels.last + 1) // steps
    return levels.sigmas(np.arange(steps - 1, -1, -1, dtype=np.float64) * stride + 1)


def karras(levels: Levels, steps: int) -> list[float]:
    """Evenly in the seventh root of sigma: Karras et al. 2022 (arXiv 2206.00364), equation 5."""
    low, high = levels.least ** (1 / KARRAS_RHO), levels.most ** (1 / KARRAS_RHO)
    return (np.linspace(high, low, steps) ** KARRAS_RHO).tolist()


def exponential(levels: Levels, steps: int) -> list[float]:
    """Evenly in log sigma."""
    return np.exp(np.linspace(math.log(levels.most), math.log(levels.least), steps)).tolist()


def beta(levels: Levels, steps: int) -> list[float]:
    """Quantiles of Beta(0.6, 0.6) between the ends (Lee et al. 2024, arXiv 2407.12173), on sigma itself."""
    quantiles = betaincinv(BETA, BETA, np.linspace(1, 0, steps))
    return (levels.least + quantiles * (levels.most - levels.least)).tolist()


PLACEMENTS: Mapping[str, Placement] = MappingProxyType(
    {
        "uniform": uniform,
        "sgm-uniform": sgm_uniform,
        "simple": simple,
        "leading": leading,
        "karras": karras,
        "exponential": exponential,
        "beta": beta,
    }
)
