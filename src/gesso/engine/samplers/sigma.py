"""The scheduler of diffusion models: any rule on any noise levels, as diffusers' pipelines use one.

Where diffusers' own classes round noise levels to whole timesteps, add noise after the network has looked, or have no
class for a rule, this one computes what the papers and k-diffusion say. It works in the coordinates of the rules
(x = data + sigma * noise) and shows the network the sample divided by sqrt(1 + sigma²), as it was trained to see it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils.outputs import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from gesso.engine.samplers.levels import PLACEMENTS, Levels
from gesso.engine.samplers.rules import RULES
from gesso.engine.samplers.rules.base import Point, Rule, Step

MOST_CHURN = math.sqrt(2) - 1
"""Karras et al. 2022, algorithm 2: more would double the variance in one step."""


@dataclass
class SigmaSchedulerOutput(BaseOutput):
    """The next sample, and the denoised one that it was computed from."""

    prev_sample: Tensor
    pred_original_sample: Tensor


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One network call of the plan."""

    sigma: float
    step: int
    inner: bool
    """The second of its step."""


class SigmaScheduler(SchedulerMixin, ConfigMixin):
    """A rule, a placement of steps and a model's noise levels.

    Its whole state is plain data, so that it can be copied in mid-run. `timesteps` has one entry for each network call;
    those between trained timesteps are fractions. Numbers are computed in float32, or wider if the sample is wider.

    Args:
        num_train_timesteps: and the next four: the model's noise levels, as for every scheduler of diffusers.
        prediction_type: what the network puts out: `epsilon`, `v_prediction` or `sample`.
        sigma_min: where schedules that go by sigma end, if not at the model's cleanest level.
        sigma_max: where they begin, if not at its noisiest.
        rule: a name of `RULES`.
        placement: a name of `PLACEMENTS`.
        drop_penultimate: place one step more and leave out the last before the end.
        variance_preserving: begin at noise of deviation 1 in the network's coordinates, not at sigma times noise.
        ends_clean: the last step goes to level 0, not to the cleanest trained level.
        eta: share of noise drawn anew, for rules that draw.
        s_churn: and the next three: S_churn, S_tmin, S_tmax (0: no limit) and S_noise of Karras et al. 2022.
    """

    order = 1

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.0001,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: Any = None,
        rescale_betas_zero_snr: bool = False,
        prediction_type: str = "epsilon",
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        rule: str = "euler",
        placement: str = "uniform",
        drop_penultimate: bool = False,
        variance_preserving: bool = False,
        ends_clean: bool = True,
        eta: float = 0.0,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = 0.0,
        s_noise: float = 1.0,
    ) -> None:
        law = EulerDiscreteScheduler(
            num_train_timesteps=num_train_timesteps,
            beta_start=beta_start,
            beta_end=beta_end,
            beta_schedule=beta_schedule,
            trained_betas=trained_betas,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
        )
        self.betas, self.alphas_cumprod = law.betas, law.alphas_cumprod
        self.order = 2 if RULES[rule].interior is not None and rule != "plms" else 1
        self._levels = Levels.of(self.alphas_cumprod.double().numpy(), least=sigma_min, most=sigma_max)
        self.num_inference_steps: int | None = None
        self._plan([self._levels.most], steps=None)

    # --- what pipelines ask

    @property
    def init_noise_sigma(self) -> float:
        """What unit noise is multiplied by to begin with.

        With churn the noise of the first step is in it: more noise on pure noise is pure noise.
        """
        first, churned = self._sigmas[0], self._calls[0].sigma
        start = first**2 + self.config["s_noise"] ** 2 * (churned**2 - first**2)
        return math.sqrt(start + 1 if self.config["variance_preserving"] else start)

    @property
    def step_index(self) -> int | None:
        """Number of the next network call."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """Number of the first network call."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at a later call: image-to-image does."""
        self._begin_index = begin_index

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """Plan the run; exactly one of number, timesteps and sigmas is given, or sigmas with their number.

        Args:
            timesteps: where to step, from the noisiest on, in place of the schedule's.
            sigmas: likewise as noise levels; the end is added if it is not among them.
        """
        if sigmas is not None and timesteps is not None:
            raise ValueError("`timesteps` and `sigmas` say the same thing: give one of them")
        if sigmas is not None:
            levels = [float(sigma) for sigma in sigmas if float(sigma) > 0]
        elif timesteps is not None:
            levels = self._levels.sigmas(np.asarray(timesteps, np.float64))
        elif num_inference_steps is not None:
            extra = int(self.config["drop_penultimate"])
            placed = PLACEMENTS[self.config["placement"]](self._levels, num_inference_steps + extra)
            levels = placed[:num_inference_steps]
        else:
            raise ValueError("one of `num_inference_steps`, `timesteps` and `sigmas` must be given")
        if not levels or any(later >= earlier for earlier, later in pairwise(levels)):
            raise ValueError("noise levels must fall from step to step")
        self._plan(levels, steps=len(levels), device=device)

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """The sample as the network was trained to see it."""
        return sample / math.sqrt(1 + self._call(timestep).sigma ** 2)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Samples at the noise level of the call where the run begins, or of the timesteps."""
        if self._begin_index is not None:
            sigmas = [self._calls[self._step_index or self._begin_index].sigma] * len(timesteps)
        else:
            sigmas = [self._calls[self._nearest(float(time))].sigma for time in timesteps]
        shape = (-1, *(1,) * (original_samples.ndim - 1))
        scale = torch.tensor(sigmas, dtype=original_samples.dtype, device=original_samples.device).reshape(shape)
        return original_samples + noise * scale

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> SigmaSchedulerOutput | tuple[Tensor, Tensor]:
        """From the output of one network call to the sample of the next.

        Args:
            model_output: [B, ...], what `prediction_type` says.
            timestep: of the call; only asked for where the run began, calls follow the plan.
            sample: [B, ...], as it was before `scale_model_input`.
            generator: draws all noise.
        """
        call = self._call(timestep)
        assert self._step_index is not None
        follower = self._calls[self._step_index + 1] if self._step_index + 1 < len(self._calls) else None
        wide = torch.promote_types(sample.dtype, torch.float32)
        x = sample.to(wide)
        denoised = self._denoised(model_output.to(wide), x, call.sigma)
        point = Point(sigma=call.sigma, x=x, denoised=denoised)

        def draw() -> Tensor:
            noise = randn_tensor(x.shape, generator=generator, device=x.device, dtype=wide)
            return self._drawn_of(noise)

        if not call.inner:
            self._points = [*self._points, point][-self._rule.memory :]
            self._drawn = []
            if self._rule.correct is not None:
                corrected = self._rule.correct(self._step(call, draw))
                self._points[-1] = Point(sigma=call.sigma, x=corrected, denoised=denoised)
        if call.inner and not self._points:
            # The run begins between the two calls of a step, as image-to-image may: the step that follows begins here.
            self._step_index += 1
            return SigmaSchedulerOutput(sample, model_output) if return_dict else (sample, model_output)
        step = self._step(call, draw, inner=point if call.inner else None)
        if follower is not None and follower.inner:
            assert self._rule.approach is not None
            following = self._rule.approach(step)
        else:
            following = self._arrived(self._rule.advance(step), call, follower, draw)
            self._made += 1
        self._step_index += 1
        output = following.to(sample.dtype), denoised.to(sample.dtype)
        return SigmaSchedulerOutput(*output) if return_dict else output

    def __len__(self) -> int:
        return int(self.config["num_train_timesteps"])

    # --- the plan

    def _plan(self, levels: list[float], *, steps: int | None, device: str | torch.device | None = None) -> None:
        """Lay out every network call of the run, and forget the last one."""
        config = self.config
        end = 0.0 if config["ends_clean"] else min(self._levels.least, levels[-1])
        self._sigmas = [*levels, end]
        self._calls = list[_Call]()
        for index, (sigma, following) in enumerate(pairwise(self._sigmas)):
            churned = sigma * (1 + self._churn(sigma, len(levels)))
            self._calls.append(_Call(sigma=churned, step=index, inner=False))
            interior = self._rule.interior
            inner = interior(churned, following, config["eta"], index) if interior is not None else None
            if inner is not None:
                self._calls.append(_Call(sigma=inner, step=index, inner=True))
        times = [self._levels.time(call.sigma) for call in self._calls]
        self.timesteps = torch.tensor(times, dtype=torch.float32, device=device)
        self.sigmas = torch.tensor(self._sigmas, dtype=torch.float32)
        self.num_inference_steps = steps
        self._step_index: int | None = None
        self._begin_index: int | None = None
        self._points = list[Point]()
        self._drawn = list[Tensor]()
        self._made = 0

    @property
    def _rule(self) -> Rule:
        return RULES[self.config["rule"]]

    def _churn(self, sigma: float, steps: int) -> float:
        """gamma of Karras et al. 2022, algorithm 2."""
        config = self.config
        within = config["s_tmin"] <= sigma and (not config["s_tmax"] or sigma <= config["s_tmax"])
        return min(config["s_churn"] / steps, MOST_CHURN) if within else 0.0

    def _call(self, timestep: float | Tensor | None) -> _Call:
        """The call that is being made."""
        if self._step_index is None:
            begin = self._begin_index
            self._step_index = begin if begin is not None else self._nearest(float(timestep or 0.0))
        return self._calls[self._step_index]

    def _nearest(self, time: float) -> int:
        return int((self.timesteps.cpu().double() - time).abs().argmin())

    # --- one step

    def _step(self, call: _Call, draw: Callable[[], Tensor], *, inner: Point | None = None) -> Step:
        return Step(
            points=self._points,
            sigma_next=self._sigmas[call.step + 1],
            index=self._made,
            remaining=len(self._sigmas) - 1 - call.step,
            eta=self.config["eta"],
            draw=draw,
            inner=inner,
            drawn=tuple(self._drawn),
        )

    def _drawn_of(self, noise: Tensor) -> Tensor:
        self._drawn.append(noise * self.config["s_noise"])
        return self._drawn[-1]

    def _arrived(self, x: Tensor, call: _Call, follower: _Call | None, draw: Callable[[], Tensor]) -> Tensor:
        """The sample at the end of a step: churned for the next one, or as it leaves."""
        sigma = self._sigmas[call.step + 1]
        if follower is None:
            return x / math.sqrt(1 + sigma**2)  # of a run that ends above level 0, in the network's coordinates
        # The network of the next step has to see this noise, so it is added before that call and not after it.
        return x + math.sqrt(follower.sigma**2 - sigma**2) * draw() if follower.sigma > sigma else x

    def _denoised(self, output: Tensor, x: Tensor, sigma: float) -> Tensor:
        """D(x, sigma) from what the network said (Karras et al. 2022, table 1; Salimans & Ho 2022 for v)."""
        match self.config["prediction_type"]:
            case "epsilon":
                return x - sigma * output
            case "v_prediction":
                return x / (1 + sigma**2) - sigma / math.sqrt(1 + sigma**2) * output
            case "sample":
                return output
            case other:
                raise ValueError(f"a network that predicts `{other}` is not understood")
