"""Guidance in a part of the steps only: Kynkäänniemi et al. 2024 (arXiv 2404.07724).

At high noise guidance takes variety away, at low noise it does hardly anything. Where it does not act the prediction of
the prompt stands alone, and that without the prompt need not be computed.
"""

from dataclasses import dataclass

from gesso.core.requests import ResolvedImageRequest


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Shares of the steps between which guidance acts."""

    start: float = 0.0
    stop: float = 1.0

    @classmethod
    def of(cls, resolved: ResolvedImageRequest) -> "Interval":
        return cls(start=resolved.guidance_start, stop=resolved.guidance_stop)

    @property
    def whole(self) -> bool:
        return (self.start, self.stop) == (0.0, 1.0)

    def holds(self, share: float) -> bool:
        """Whether guidance acts in the step that begins after `share` of them; one that stops at 1 is to the end."""
        return self.start <= share and (share < self.stop or self.stop == 1)
