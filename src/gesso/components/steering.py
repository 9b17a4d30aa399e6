"""What a network is asked instead of what the pipeline asks it: a change of a call's rows, on the picture's own thread.

A pipeline makes its embeddings once, and asks for two rows at most. A prompt that changes from step to step, or of
which several parts guide at once, needs others: they are put in their places here, before the call is traced, kept in
the journal and merged with others, so that all of that holds for what was really asked.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gesso.components.layouts import CallLayout

Run = Callable[[Mapping[str, Any]], Any]
"""Arguments by name → what the network makes of them."""


class Steering(Protocol):
    """Stands between a pipeline and one of its networks."""

    def __call__(self, arguments: Mapping[str, Any], run: Run, *, layout: CallLayout, step: int | None) -> Any:
        """Answer a call of the network's forward.

        Args:
            arguments: by name, those equal to their default left out.
            run: asks the network.
            layout: which of the arguments are rows.
            step: sampling step now running, from 0; `None` before the first and after the last.
        """
        ...


class TextSteering(Steering, Protocol):
    """One that gives a denoiser its texts."""

    @property
    def composed(self) -> bool:
        """Whether the prediction of the prompt is made of those of several parts and of that without it."""
        ...
