# pyright: reportPrivateImportUsage=false
"""The scheduler seam: what pipelines still see, and what a watcher is told."""

import copy
import gc
import inspect
import weakref
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    PNDMScheduler,
)
from torch import Tensor

import zoo
from gesso.core.errors import CancelledError
from gesso.engine.samplers.scheduler import build
from gesso.engine.samplers.table import AUTOMATIC, DEFAULT, SAMPLERS, is_flow, names_for
from gesso.engine.samplers.watch import watched

# diffusers turns tensors into arrays in ways that numpy 2 deprecates and torch 2.13 does not support yet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context"),
]

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
OWN = {False: (EulerDiscreteScheduler, SD), True: (FlowMatchEulerDiscreteScheduler, {"shift": 3.0})}
ROWS = [(name, flow) for flow in (False, True) for name in names_for(flow=flow)]


class Recorder:
    """A watcher that keeps everything."""

    def __init__(
        self, generator: torch.Generator | None = None, *, wants_x0: bool = True, cancel_at: int | None = None
    ) -> None:
        self.generator = generator
        self.wants_x0 = wants_x0
        self.keeper = None
        self.cancel_at = cancel_at
        self.totals: list[int] = []
        self.steps: list[tuple[int, int]] = []
        self.latents: list[Tensor] = []
        self.x0: list[Tensor | None] = []

    def begin(self, total: int) -> None:
        self.totals.append(total)

    def step(self, completed: int, total: int, latents: Tensor, x0: Tensor | None) -> None:
        self.steps.append((completed, total))
        self.latents.append(latents)
        self.x0.append(x0)
        if completed == self.cancel_at:
            raise CancelledError


def plain(sampler: str, *, flow: bool = False, own: tuple[type, dict[str, Any]] | None = None) -> Any:
    scheduler_class, config = own or OWN[flow]
    return build(sampler, AUTOMATIC, scheduler_class=scheduler_class, scheduler_config=config, generator=None)


def run(scheduler: Any, *, return_dict: bool = False, **set_timesteps: Any) -> Tensor:
    """A sampling loop with a network that says a third of what it sees, and no generator given to `step`."""
    scheduler.set_timesteps(**set_timesteps)
    x = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    x = x * getattr(scheduler, "init_noise_sigma", 1.0)
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        result = scheduler.step(seen / 3, timestep, x, return_dict=return_dict)
        x = result.prev_sample if return_dict else result[0]
    return x


@pytest.mark.parametrize(("sampler", "flow"), ROWS)
def test_a_watched_scheduler_looks_like_the_one_it_was(sampler: str, flow: bool) -> None:
    before = plain(sampler, flow=flow)
    original = type(before)
    after = watched(before, Recorder())
    assert after is before
    assert isinstance(after, original)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(type(after), name) == getattr(original, name)
    assert str(type(after)) == str(original)
    for method in ("step", "set_timesteps", "__init__"):
        assert inspect.signature(getattr(after, method)) == inspect.signature(getattr(original(), method))
    assert after.config == plain(sampler, flow=flow).config
    assert after.order == plain(sampler, flow=flow).order


@pytest.mark.parametrize("return_dict", [False, True])
@pytest.mark.parametrize(
    ("sampler", "flow"), [(name, flow) for name, flow in ROWS if name == DEFAULT or not SAMPLERS[name].stochastic]
)
def test_watching_changes_no_number(sampler: str, flow: bool, return_dict: bool) -> None:
    expected = run(plain(sampler, flow=flow), num_inference_steps=7)
    got = run(watched(plain(sampler, flow=flow), Recorder()), num_inference_steps=7, return_dict=return_dict)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("return_dict", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 33])
@pytest.mark.parametrize(("sampler", "flow"), ROWS)
def test_steps_are_counted_as_the_user_counts_them(sampler: str, flow: bool, steps: int, return_dict: bool) -> None:
    recorder = Recorder(torch.Generator())
    result = run(watched(plain(sampler, flow=flow), recorder), num_inference_steps=steps, return_dict=return_dict)
    assert recorder.totals == [steps]
    assert recorder.steps == [(done, steps) for done in range(1, steps + 1)]
    assert torch.equal(recorder.latents[-1], result)


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
def test_a_sampler_that_calls_the_network_once_more_counts_the_same(steps: int) -> None:
    recorder = Recorder()
    own = (PNDMScheduler, {**SD, "skip_prk_steps": True})
    scheduler = watched(plain(DEFAULT, own=own), recorder)
    run(scheduler, num_inference_steps=steps)
    assert len(scheduler.timesteps) == steps + (steps > 1)
    assert recorder.steps == [(done, steps) for done in range(1, steps + 1)]


@pytest.mark.parametrize("steps", [2, 5, 20])
@pytest.mark.parametrize("own_class", [KDPM2DiscreteScheduler, KDPM2AncestralDiscreteScheduler])
def test_other_second_order_classes_count_the_same(own_class: type, steps: int) -> None:
    recorder = Recorder(torch.Generator())
    run(watched(plain(DEFAULT, own=(own_class, SD)), recorder), num_inference_steps=steps)
    assert recorder.steps == [(done, steps) for done in range(1, steps + 1)]


def test_steps_given_as_sigmas_or_timesteps_are_counted_too() -> None:
    given: dict[str, Any]
    for given in ({"sigmas": [1.0, 0.75, 0.5]}, {"sigmas": [1.0, 0.75, 0.5], "num_inference_steps": 3}):
        recorder = Recorder()
        run(watched(plain("Euler", flow=True), recorder), **given)
        assert recorder.steps == [(1, 3), (2, 3), (3, 3)]
    recorder = Recorder()
    run(watched(plain("Euler"), recorder), timesteps=[999, 500, 100, 0])
    assert recorder.totals == [4]
    assert recorder.steps[-1] == (4, 4)


@pytest.mark.parametrize("sampler", [sampler.name for sampler in SAMPLERS.values() if sampler.stochastic])
def test_a_step_without_generator_draws_from_the_pictures_one(sampler: str) -> None:
    before = torch.get_rng_state()
    results = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        results.append(run(watched(plain(sampler), Recorder(generator)), num_inference_steps=4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2], atol=1e-3)


def test_a_flow_that_samples_stochastically_draws_from_the_pictures_generator() -> None:
    own = (FlowMatchEulerDiscreteScheduler, {"stochastic_sampling": True})
    before = torch.get_rng_state()
    generators = (torch.Generator().manual_seed(seed) for seed in (1, 1, 2))
    results = [run(watched(plain(DEFAULT, own=own), Recorder(g)), num_inference_steps=4) for g in generators]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2], atol=1e-3)


def test_a_generator_that_the_pipeline_passes_is_the_one_used() -> None:
    mine, its = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    scheduler = watched(plain("Euler a"), Recorder(mine))
    scheduler.set_timesteps(3)
    x = torch.ones(1, 4, 4, 4)
    scheduler.scale_model_input(x, scheduler.timesteps[0])
    unused, drawn = mine.get_state(), its.get_state()
    scheduler.step(x, scheduler.timesteps[0], x, generator=its)
    assert torch.equal(mine.get_state(), unused)
    assert not torch.equal(its.get_state(), drawn)


def test_noise_that_the_pipeline_brings_is_not_joined_by_a_generator() -> None:
    mine = torch.Generator()
    untouched = mine.get_state()
    scheduler = watched(plain(DEFAULT, own=(DDIMScheduler, SD)), Recorder(mine))
    scheduler.set_timesteps(3)
    x = torch.ones(1, 4, 4, 4)
    scheduler.step(x, scheduler.timesteps[0], x, eta=1.0, variance_noise=torch.zeros_like(x))  # DDIM refuses both
    assert torch.equal(mine.get_state(), untouched)


@pytest.mark.parametrize(("sampler", "flow"), ROWS)
def test_x0_is_the_data_of_a_perfect_network(sampler: str, flow: bool) -> None:
    """Data that are one known picture: whatever the noise, a perfect network knows it, so x0 is it at every step."""
    data = torch.linspace(-1, 1, 64).reshape(1, 4, 4, 4)
    recorder = Recorder(torch.Generator().manual_seed(0))
    scheduler = watched(plain(sampler, flow=flow), recorder)
    scheduler.set_timesteps(6)
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        if flow:
            prediction = (x - data) / (timestep / 1000)
        else:
            alpha = scheduler.alphas_cumprod[int(timestep.round())] ** 0.5
            prediction = (seen - alpha * data) / (1 - alpha**2) ** 0.5
        x = scheduler.step(prediction, timestep, x, return_dict=False)[0]
    assert len(recorder.x0) == 6
    for x0 in recorder.x0:
        assert x0 is not None
        torch.testing.assert_close(x0, data, rtol=0, atol=0.05)


def test_x0_is_not_computed_for_nobody() -> None:
    recorder = Recorder(wants_x0=False)
    run(watched(plain("Euler"), recorder), num_inference_steps=2)
    assert recorder.x0 == [None, None]


def test_a_class_whose_x0_is_not_known_reports_none() -> None:
    for own in ((PNDMScheduler, {**SD, "skip_prk_steps": True}), (KDPM2DiscreteScheduler, SD)):
        recorder = Recorder(torch.Generator())
        run(watched(plain(DEFAULT, own=own), recorder), num_inference_steps=3)
        assert recorder.x0 == [None] * 3


def test_what_the_watcher_raises_ends_the_run_at_that_step() -> None:
    recorder = Recorder(cancel_at=2)
    with pytest.raises(CancelledError):
        run(watched(plain("Heun"), recorder), num_inference_steps=5)
    assert recorder.steps == [(1, 5), (2, 5)]


def test_two_pictures_never_hear_of_each_other() -> None:
    one, two = Recorder(), Recorder()
    first, second = watched(plain("Euler"), one), watched(plain("Euler"), two)
    assert type(first) is type(second)
    run(first, num_inference_steps=3)
    assert (one.totals, two.totals) == ([3], [])
    run(second, num_inference_steps=4)
    assert (one.totals, two.totals) == ([3], [4])


def test_a_scheduler_can_be_used_again_from_the_start() -> None:
    recorder = Recorder()
    scheduler = watched(plain("DPM++ 2M"), recorder)
    assert torch.equal(run(scheduler, num_inference_steps=3), run(scheduler, num_inference_steps=3))
    assert recorder.steps == [(1, 3), (2, 3), (3, 3)] * 2


def test_a_scheduler_that_a_pipeline_copies_still_reports() -> None:
    recorder = Recorder(torch.Generator())
    run(copy.deepcopy(watched(plain("Euler a"), recorder)), num_inference_steps=3)
    assert recorder.steps == [(1, 3), (2, 3), (3, 3)]


def test_a_thousand_pictures_leave_no_scheduler_behind() -> None:
    alive = weakref.WeakSet[Any]()
    for _ in range(1000):
        alive.add(watched(plain("Euler"), Recorder()))
    gc.collect()
    assert len(alive) == 0


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_a_pipeline_runs_with_the_bytes_it_has_unwatched(kind: str) -> None:
    model = zoo.built(kind)
    size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
    arguments: dict[str, Any] = {"num_inference_steps": 4, "output_type": "np", **size, **zoo.ARGUMENTS.get(kind, {})}
    unwatched: Any = zoo.build(kind)
    expected = unwatched(prompt="a red circle", generator=torch.Generator().manual_seed(3), **arguments).images

    recorder = Recorder(torch.Generator().manual_seed(3))
    own, config = type(model.scheduler), model.scheduler.config
    scheduler = build(DEFAULT, AUTOMATIC, scheduler_class=own, scheduler_config=config, generator=recorder.generator)
    pipeline: Any = zoo.build(kind, scheduler=watched(scheduler, recorder))
    before = torch.get_rng_state()
    got = pipeline(prompt="a red circle", generator=recorder.generator, **arguments).images
    assert got.tobytes() == expected.tobytes()
    assert recorder.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(latents.shape == recorder.latents[0].shape for latents in recorder.latents)
    known = is_flow(own.__name__, config) or kind not in {"sd1", "cogview3plus", "sana-sprint"}
    assert all((x0 is not None) == known for x0 in recorder.x0)
