"""What a sampling rule is: from the network calls made so far, the sample at the next noise level.

All rules work in the coordinates of Karras et al. 2022 (arXiv 2206.00364): x = data + sigma * noise, where the
probability flow is dx/dsigma = (x - D(x, sigma)) / sigma and D is the denoised sample. A diffusion model of another
scaling is brought there first, so that one rule serves all of them. Noise levels are numbers in double precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Point:
    """One network call: where it was made and what came of it."""

    sigma: float
    x: Tensor
    denoised: Tensor
    """D(x, sigma)."""

    @property
    def slope(self) -> Tensor:
        """dx/dsigma of the probability flow; also the noise that the network sees in x."""
        return (self.x - self.denoised) / self.sigma


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step, from the noise level of its first call to `sigma_next`."""

    points: Sequence[Point]
    """First calls of this step (the last of them) and of those before it, as many as the rule remembers."""
    sigma_next: float
    index: int
    """Steps made before this one."""
    remaining: int
    """Steps still to make, this one included."""
    eta: float
    """Share of the noise that is drawn anew; 0 follows the probability flow."""
    draw: Callable[[], Tensor]
    """Fresh numbers of the picture's own generator, shaped like x, scaled by the noise strength."""
    inner: Point | None = None
    """The second call, of a rule that makes two."""
    drawn: Sequence[Tensor] = ()
    """What was drawn earlier in this step."""

    @property
    def point(self) -> Point:
        """The first call."""
        return self.points[-1]

    def earlier(self, back: int) -> Point | None:
        """The first call of the step so many before this one, if it is remembered."""
        return self.points[-1 - back] if back < len(self.points) else None

    def euler(self, sigma: float) -> Tensor:
        """Along the slope of the first call to another noise level: exact where D is constant."""
        ratio = sigma / self.point.sigma
        return ratio * self.point.x + (1 - ratio) * self.point.denoised


Interior = Callable[[float, float, float, int], float | None]
"""(sigma, sigma_next, eta, index) → the noise level of a step's second call; `None` if that step makes none."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A sampler's update. Its functions are pure; what they remember is handed to them."""

    advance: Callable[[Step], Tensor]
    """The sample at `sigma_next`, from the step's last call."""
    interior: Interior | None = None
    """Where the second call is made; `None` for rules of one call."""
    approach: Callable[[Step], Tensor] | None = None
    """The sample for the second call."""
    correct: Callable[[Step], Tensor] | None = None
    """The sample at the first call, improved by what that call told."""
    memory: int = 1
    """How many steps' first calls it reads."""

    def __post_init__(self) -> None:
        assert (self.interior is None) == (self.approach is None), "a second call needs a place and a sample"


def ancestral(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """`(down, up)`: go down to `down`, then add noise of deviation `up`, to arrive at `sigma_next`.

    up² = eta² sigma_next² (sigma² - sigma_next²) / sigma², down² = sigma_next² - up². This is equation 16 of Song et
    al. 2020 (arXiv 2010.02502) in these coordinates; with eta 1 the posterior of Ho et al. 2020 (arXiv 2006.11239).
    """
    variance = (sigma_next / sigma) ** 2 * (sigma**2 - sigma_next**2)
    up = min(sigma_next, eta * max(variance, 0.0) ** 0.5)
    return (sigma_next**2 - up**2) ** 0.5, up
