"""The scheduler seam: steps, previews and the generator of one picture, seen at the scheduler that it owns.

The denoiser's input is scaled, doubled and packed, and second-order samplers call it twice a step; only the scheduler
sees the latents once and knows how far they are. So its class becomes a subclass of the same name that tells a watcher
at `set_timesteps` and `step`. Signatures stay, since pipelines read them to learn what a scheduler takes.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from gesso.components.arguments import bind
from gesso.engine.edit.keeper import LatentKeeper
from gesso.engine.samplers.scheduler import mend_timesteps, prepare_single_step

_WATCH = "_gesso_watch"
_END_IS_A_TIMESTEP = frozenset({"SCMScheduler"})
"""Their pipelines make no call at the last timestep."""


_LAYING_NOISE = frozenset({"add_noise", "scale_noise"})
"""How a class calls what lays noise over latents; each has one of the two."""


class Watcher(Protocol):
    """Who is told. Called on the picture's own thread; what it raises ends the run there (that is how one cancels)."""

    generator: torch.Generator | None
    """The picture's; given to every `step` that takes a generator and was given none."""

    @property
    def keeper(self) -> LatentKeeper | None:
        """What keeps a part of the picture as it was, if any."""
        ...

    @property
    def wants_x0(self) -> bool:
        """Whether `step` shall get the clean latents that the sampler expects at this moment."""
        ...

    def begin(self, total: int) -> None:
        """Sampling is about to begin: `total` steps, as the user counts them."""
        ...

    def step(self, completed: int, total: int, latents: Tensor, x0: Tensor | None) -> None:
        """`completed` steps are done.

        Args:
            latents: the sample after the step, in the pipeline's own layout (Flux packs its latents).
            x0: the clean latents as far as they are known now, in the same layout; `None` if not wanted or not known.
        """
        ...


def watched(scheduler: Any, watcher: Watcher) -> Any:
    """Let `watcher` follow `scheduler`, an engine-owned one. Returns the same object."""
    assert _WATCH not in scheduler.__dict__, "a scheduler belongs to one picture"
    scheduler.__dict__[_WATCH] = _Watch(watcher)
    scheduler.__class__ = _watched_class(type(scheduler))
    return scheduler


class _Watch:
    """How far one scheduler is."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.total = 0
        self.calls_expected = 0
        self.calls = 0
        self.completed = 0
        self.first = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Watch":
        return self  # a pipeline that copies its scheduler still makes the same picture

    def begin(self, total: int, calls: int) -> None:
        self.total, self.calls_expected = total, calls
        self.calls = self.completed = self.first = 0
        self.watcher.begin(total)

    def begin_at(self, call: int) -> None:
        """The first of the planned calls that is made: pipelines that begin with a picture leave out the noisiest."""
        made = self.calls_expected - call
        if 0 < made < self.calls_expected:
            self.total = max(round(self.total * made / self.calls_expected), 1)
            self.calls_expected, self.first = made, call

    def called(self) -> bool:
        """Count a call; whether a step of the user's is done by it.

        Samplers make n calls for n steps, 2n - 1 (Heun) or n + 1 (PLMS); one law holds for all of them.
        """
        self.calls += 1
        completed = min(self.calls * self.total // max(self.calls_expected, 1), self.total)
        advanced, self.completed = completed > self.completed, completed
        return advanced


@functools.cache
def _watched_class(scheduler_class: type) -> type:
    members = {
        "__module__": scheduler_class.__module__,
        "__qualname__": scheduler_class.__qualname__,
        "__doc__": scheduler_class.__doc__,
        "set_timesteps": _watched_set_timesteps(scheduler_class),
        "step": _watched_step(scheduler_class),
    }
    for name in _LAYING_NOISE & set(dir(scheduler_class)):
        members[name] = _watched_noise(scheduler_class, name)
    if not hasattr(scheduler_class, "scale_model_input"):
        # Flows scale nothing. Pipelines that ask by `type(...) is` for the class itself would scale for this one.
        members["scale_model_input"] = _unscaled
    return type(scheduler_class.__name__, (scheduler_class,), members)


def _unscaled(self: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return sample


def _watched_set_timesteps(scheduler_class: Any) -> Callable[..., None]:
    original = scheduler_class.set_timesteps
    signature = inspect.signature(original)

    @functools.wraps(original)
    def set_timesteps(self: Any, *args: Any, **kwargs: Any) -> None:
        steps = signature.bind(self, *args, **kwargs).arguments.get("num_inference_steps")
        if steps == 1:
            prepare_single_step(self)
        original(self, *args, **kwargs)
        mend_timesteps(self, steps)
        calls = len(self.timesteps) - (scheduler_class.__name__ in _END_IS_A_TIMESTEP)
        total = steps if steps is not None else getattr(self, "num_inference_steps", None)
        self.__dict__[_WATCH].begin(int(total) if total is not None else calls, calls)

    return set_timesteps


def _watched_step(scheduler_class: Any) -> Callable[..., Any]:
    original = scheduler_class.step
    takes_generator = "generator" in inspect.signature(original).parameters

    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch: _Watch = self.__dict__[_WATCH]
        given = bind(scheduler_class, "step", args, kwargs)
        assert given is not None, "steps take their arguments by name"
        if takes_generator and given.get("generator") is None and not _brings_noise(given):
            given["generator"] = watch.watcher.generator
        if not watch.calls:
            watch.begin_at(_first_call(self, given.get("timestep")))
        before = getattr(self, "step_index", None)
        result = original(self, **given)
        advanced = watch.called()
        if watch.watcher.keeper is not None and watch.watcher.keeper.knows:
            result = _with_kept(self, scheduler_class, watch, watch.watcher.keeper, result)
        if advanced:
            x0 = None
            if watch.watcher.wants_x0:
                x0 = _estimate(self, result, given["model_output"], given["sample"], before)
            watch.watcher.step(watch.completed, watch.total, _previous(result), x0)
        return result

    return step


def _watched_noise(scheduler_class: Any, name: str) -> Callable[..., Tensor]:
    original = getattr(scheduler_class, name)
    first, *_ = list(inspect.signature(original).parameters)[1:]

    @functools.wraps(original)
    def lay(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        keeper = self.__dict__[_WATCH].watcher.keeper
        given = bind(scheduler_class, name, args, kwargs)
        if keeper is None or keeper.knows or given is None or given.get("noise") is None:
            return original(self, *args, **kwargs)
        return original(self, **{**given, first: keeper.begin(given[first], given["noise"])})

    return lay


def _with_kept(scheduler: Any, scheduler_class: Any, watch: _Watch, keeper: LatentKeeper, result: Any) -> Any:
    """What `step` gave, with the latents of the picture where they stay."""
    (name,) = _LAYING_NOISE & set(dir(scheduler_class))

    def noised(latents: Tensor, noise: Tensor) -> Tensor:
        times = scheduler.timesteps[watch.first + watch.calls :][:1]
        if name == "add_noise":
            return scheduler_class.add_noise(scheduler, latents, noise, times)
        return scheduler_class.scale_noise(scheduler, latents, times, noise)

    kept = keeper.kept(_previous(result), made=watch.calls, calls=watch.calls_expected, noised=noised)
    if isinstance(result, tuple):
        return kept, *result[1:]
    result.prev_sample = kept
    return result


def _first_call(scheduler: Any, timestep: Any) -> int:
    """Number of the planned call at `timestep`, where a run begins."""
    begin = getattr(scheduler, "begin_index", None)
    if begin:
        return int(begin)
    found = (scheduler.timesteps == timestep).nonzero()
    return int(found[0]) if len(found) else 0


def _brings_noise(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("variance_noise") is not None  # DDIM takes one of the two


def _previous(result: Any) -> Tensor:
    return result[0] if isinstance(result, tuple) else result.prev_sample


def _from_output(scheduler: Any, result: Any, model_output: Tensor, sample: Tensor, index: int | None) -> Tensor | None:
    if isinstance(result, tuple):
        return result[1] if len(result) > 1 else None
    return getattr(result, "pred_original_sample", None)


def _from_denoised(
    scheduler: Any, result: Any, model_output: Tensor, sample: Tensor, index: int | None
) -> Tensor | None:
    return result[1] if isinstance(result, tuple) else result.denoised


def _from_history(
    scheduler: Any, result: Any, model_output: Tensor, sample: Tensor, index: int | None
) -> Tensor | None:
    """Multistep solvers keep the network's last outputs, turned into x0 if they integrate that."""
    algorithm = str(getattr(scheduler.config, "algorithm_type", "++"))
    keeps_x0 = algorithm.endswith("++") and getattr(scheduler.config, "predict_x0", True)
    return scheduler.model_outputs[-1] if keeps_x0 else None


def _from_velocity(
    scheduler: Any, result: Any, model_output: Tensor, sample: Tensor, index: int | None
) -> Tensor | None:
    """x0 = x - sigma v (Liu et al. 2022, arXiv 2209.03003)."""
    sigma = scheduler.sigmas[index or 0].to(sample.device)
    return sample.float() - sigma * model_output.float()


def _from_noise(scheduler: Any, result: Any, model_output: Tensor, sample: Tensor, index: int | None) -> Tensor | None:
    """x0 of a variance-preserving sample (Ho et al. 2020, equation 15), by whatever the network predicts."""
    timestep = scheduler.timesteps[index or 0]
    alpha = scheduler.alphas_cumprod[int(timestep)].to(sample.device)
    x, output = sample.float(), model_output.float()
    match scheduler.config.prediction_type:
        case "epsilon":
            return (x - (1 - alpha).sqrt() * output) / alpha.sqrt()
        case "v_prediction":
            return alpha.sqrt() * x - (1 - alpha).sqrt() * output
        case _:
            return output


_ESTIMATES: Mapping[str, Callable[..., Tensor | None]] = MappingProxyType(
    {
        "DDIMScheduler": _from_output,
        "DDPMScheduler": _from_output,
        "EulerDiscreteScheduler": _from_output,
        "EulerAncestralDiscreteScheduler": _from_output,
        "HeunDiscreteScheduler": _from_output,
        "LCMScheduler": _from_denoised,
        "SigmaScheduler": _from_output,
        "TCDScheduler": _from_noise,
        "TrajectoryScheduler": _from_noise,
        "DPMSolverMultistepScheduler": _from_history,
        "UniPCMultistepScheduler": _from_history,
        "FlowMatchEulerDiscreteScheduler": _from_velocity,
        "FlowHeunScheduler": _from_velocity,
    }
)
"""Where each class has its estimate of x0; others have none that is known to be one."""


def _estimate(scheduler: Any, result: Any, model_output: Tensor, sample: Tensor, index: int | None) -> Tensor | None:
    source = _ESTIMATES.get(type(scheduler).__name__)
    return source(scheduler, result, model_output, sample, index) if source is not None else None
