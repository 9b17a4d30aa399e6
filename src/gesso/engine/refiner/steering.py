"""The hand-over: from a share of the steps on, another denoiser answers, with its own reading of the prompts.

The sampler, its history and the noise stay, as in AUTOMATIC1111; two pipelines of diffusers (`denoising_end`, then
`denoising_start`) make one picture of two runs. SDXL's refiner was trained for the least noisy fifth (Podell et al.
2023, arXiv 2307.01952, section 2.5).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gesso.components.layouts import CallLayout
from gesso.components.scope import ImageScope
from gesso.components.state import CallState
from gesso.components.steering import Run, TextSteering
from gesso.engine.conditioning.prompted import PromptSteering

REFINER = "refiner."
"""What traces put before the names of its networks."""
_CONDITIONS, _IDS = "added_cond_kwargs", "time_ids"
_PLACE = 4
"""Time ids that say the size of the picture and where it was cut: the first, of base and refiner alike."""
_SCORE, _NEGATIVE_SCORE = 6.0, 2.5
"""How good the picture looks that is asked for, and that which is not: diffusers' defaults, and AUTOMATIC1111's."""


@dataclass(frozen=True, kw_only=True)
class RefinerSteering:
    """Asks the one denoiser or the other.

    Attributes:
        own: texts of the request's own denoiser.
        refined: the same texts as the refiner reads them.
        network: face of the refiner's denoiser.
        at: share of the steps after which it is asked.
        scored: it reads a score of looks where the other reads the size that the picture shall have.
        states: in which its networks are during calls.
        scope: of the picture.
    """

    own: TextSteering
    refined: PromptSteering
    network: Any
    at: float
    scored: bool
    states: Mapping[str, tuple[CallState, ...]]
    scope: ImageScope

    @property
    def composed(self) -> bool:
        """Of both alike, since both read the same prompts."""
        return self.own.composed

    def __call__(self, arguments: Mapping[str, Any], run: Run, *, layout: CallLayout, step: int | None) -> Any:
        if self.scope.share < self.at:
            return self.own(arguments, run, layout=layout, step=step)
        given = self._scored(arguments) if self.scored else arguments
        with self.scope.elsewhere(REFINER, self.states):
            return self.refined(given, lambda asked: self.network(**asked), layout=layout, step=step)

    def _scored(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        conditions: Mapping[str, Any] = arguments[_CONDITIONS]
        ids: torch.Tensor = conditions[_IDS]  # [rows, 6]
        scores = [[_NEGATIVE_SCORE if negative else _SCORE] for negative in self.refined.marks(arguments)]
        scored = torch.cat([ids[:, :_PLACE], torch.tensor(scores, dtype=ids.dtype, device=ids.device)], dim=1)
        return {**arguments, _CONDITIONS: {**conditions, _IDS: scored}}
