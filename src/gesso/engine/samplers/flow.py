"""The schedulers of rectified flows that diffusers lacks or that its pipelines cannot be given."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
    FlowMatchEulerDiscreteSchedulerOutput,
)
from torch import Tensor


class FlowHeunScheduler(FlowMatchEulerDiscreteScheduler):
    """Heun's rule on a rectified flow: the mean of the velocities at both ends of a step; the last step by Euler.

    The class of diffusers for it knows neither the sigmas nor the shift that the Flux and SD3 pipelines bring, and so
    cannot be used in them. This one has every noise level of `FlowMatchEulerDiscreteScheduler`, and calls twice.
    """

    order = 2

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | None = None,
    ) -> None:
        """As of the class above; `timesteps` has both calls of every step, `sigmas` one level for each and the end."""
        given: dict[str, Any] = {"device": device, "sigmas": sigmas, "mu": mu, "timesteps": timesteps}
        super().set_timesteps(num_inference_steps, **given)
        self.timesteps = torch.cat([self.timesteps[:1], self.timesteps[1:].repeat_interleave(2)])
        inner = self.sigmas[1:-1].repeat_interleave(2)
        self.sigmas = torch.cat([self.sigmas[:1], inner, self.sigmas[-1:]])
        self._start: tuple[Tensor, Tensor] | None = None

    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        return_dict: bool = True,
    ) -> Any:
        """From one network call to the sample of the next.

        Args:
            model_output: [B, ...], the velocity.
            sample: [B, ...], at the noise level of the call.
        """
        if self.step_index is None:
            self._init_step_index(timestep)
        index = self.step_index
        assert index is not None
        x, velocity = sample.float(), model_output.float()
        if self._start is not None:
            start, first = self._start
            span = self.sigmas[index] - self.sigmas[index - 1]
            following, self._start = start + span / 2 * (first + velocity), None
        else:
            following = x + (self.sigmas[index + 1] - self.sigmas[index]) * velocity
            self._start = (x, velocity) if index + 1 < len(self.timesteps) else None
        self._step_index = index + 1
        following: Any = following.to(sample.dtype)
        return FlowMatchEulerDiscreteSchedulerOutput(prev_sample=following) if return_dict else (following,)
