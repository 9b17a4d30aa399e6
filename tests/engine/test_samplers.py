# pyright: reportPrivateImportUsage=false
"""The table of samplers, and the schedulers it builds, on denoisers with a known solution and on thin pipelines."""

import copy
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
)
from torch import Tensor

import zoo
from gesso.core.chance import Chance
from gesso.core.errors import InputError, UnknownNameError
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.samplers.scheduler import build
from gesso.engine.samplers.table import (
    AUTOMATIC,
    DEFAULT,
    SAMPLERS,
    SCHEDULES,
    check_steps,
    is_flow,
    names_for,
    resolve_chance,
    resolve_sampler,
    schedule_label,
    takes_chance,
)
from gesso.engine.samplers.watch import watched
from recipes import recipe

# diffusers turns tensors into arrays in a way that numpy 2 deprecates and torch 2.13 does not support yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SDXL_CONFIG = {**SD, "timestep_spacing": "leading", "steps_offset": 1, "prediction_type": "epsilon"}
DIFFUSION = (EulerDiscreteScheduler, SDXL_CONFIG)
FLOW = (FlowMatchEulerDiscreteScheduler, {"shift": 3.0})
DIFFUSION_PAIRS = [
    (sampler.name, schedule)
    for sampler in SAMPLERS.values()
    if sampler.diffusion
    for schedule in (AUTOMATIC, *sampler.diffusion.schedules)
]
FLOW_PAIRS = [
    (sampler.name, schedule)
    for sampler in SAMPLERS.values()
    if sampler.flow
    for schedule in (AUTOMATIC, *sampler.flow.schedules)
]
STOCHASTIC = {name for name, sampler in SAMPLERS.items() if sampler.stochastic}
DISTILLED = {"LCM", "TCD"}
SPREAD = 0.5
"""Standard deviation of the data that the exact denoisers know."""


class Silent:
    """A watcher that only brings the generator."""

    wants_x0 = False
    keeper = None

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def begin(self, total: int) -> None: ...

    def step(self, completed: int, total: int, latents: Tensor, x0: Tensor | None) -> None: ...


def made(
    sampler: str,
    schedule: str = AUTOMATIC,
    *,
    model: tuple[type, dict[str, Any]] = DIFFUSION,
    generator: torch.Generator | None = None,
    **config: Any,
) -> Any:
    scheduler_class, own = model
    own = {**own, **config}
    scheduler = build(sampler, schedule, scheduler_class=scheduler_class, scheduler_config=own, generator=generator)
    return watched(scheduler, Silent(generator))


def alpha_sigma(scheduler: Any, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """Of the variance-preserving process at a timestep, which may lie between two trained ones."""
    sigmas = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5
    low = timestep.double().floor().long().clamp(0, len(sigmas) - 1)
    high = (low + 1).clamp(max=len(sigmas) - 1)
    weight = timestep.double() - low
    sigma = (sigmas[low].double().log() * (1 - weight) + sigmas[high].double().log() * weight).exp()
    return 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()


def exact_prediction(scheduler: Any, x: Tensor, timestep: Tensor) -> Tensor:
    """What a perfect network says where data are normal with mean 0 and deviation `SPREAD`."""
    alpha, sigma = alpha_sigma(scheduler, timestep)
    x0 = x * alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    noise = (x - alpha * x0) / sigma
    kinds = {"epsilon": noise, "sample": x0, "v_prediction": alpha * noise - sigma * x0}
    return kinds[scheduler.config.prediction_type].float()


def exact_velocity(scheduler: Any, x: Tensor, timestep: Tensor) -> Tensor:
    sigma = timestep.double() / 1000
    variance = (1 - sigma) ** 2 * SPREAD**2 + sigma**2
    return (x * (sigma - (1 - sigma) * SPREAD**2) / variance).float()


def sample(
    scheduler: Any,
    steps: int,
    predict: Callable[[Any, Tensor, Tensor], Tensor] = exact_prediction,
    *,
    generator: torch.Generator | None = None,
    size: int = 16,
) -> tuple[Tensor, Tensor]:
    """Run the loop that pipelines run. Returns the unit noise it started from, and the result."""
    noise = torch.randn((1, 4, size, size), generator=torch.Generator().manual_seed(1))
    scheduler.set_timesteps(steps)
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    taken = {"generator": generator} if generator is not None else {}
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(predict(scheduler, scaled, timestep), timestep, x, return_dict=False, **taken)[0]
    return noise, x


# --- names


@pytest.mark.parametrize(
    ("asked", "name", "schedule"),
    [
        ("Euler", "Euler", AUTOMATIC),
        ("euler", "Euler", AUTOMATIC),
        ("k_euler", "Euler", AUTOMATIC),
        ("EulerDiscreteScheduler", "Euler", AUTOMATIC),
        ("Euler A", "Euler a", AUTOMATIC),
        ("k_euler_a", "Euler a", AUTOMATIC),
        ("k_euler_ancestral", "Euler a", AUTOMATIC),
        ("euler_ancestral", "Euler a", AUTOMATIC),
        ("EulerAncestralDiscreteScheduler", "Euler a", AUTOMATIC),
        ("EULERANCESTRALDISCRETE", "Euler a", AUTOMATIC),
        ("heun", "Heun", AUTOMATIC),
        ("DPM++ 2M", "DPM++ 2M", "karras"),
        ("dpmpp_2m", "DPM++ 2M", "karras"),
        ("k_dpmpp_2m", "DPM++ 2M", "karras"),
        ("k_dpmpp_2m_ka", "DPM++ 2M", "karras"),
        ("DPM++ 2M Karras", "DPM++ 2M", "karras"),
        ("dpmpp_2m_karras", "DPM++ 2M", "karras"),
        ("dpm++ 2m sgm uniform", "DPM++ 2M", "sgm-uniform"),
        ("DPM++ 2M Exponential", "DPM++ 2M", "exponential"),
        ("dpmsolvermultistepscheduler", "DPM++ 2M", "karras"),
        ("DPM++ 2M SDE", "DPM++ 2M SDE", "exponential"),
        ("k_dpmpp_2m_sde", "DPM++ 2M SDE", "exponential"),
        ("DPM++ 2M SDE Karras", "DPM++ 2M SDE", "karras"),
        ("k_dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun", "exponential"),
        ("k_dpmpp_3m_sde", "DPM++ 3M SDE", "exponential"),
        ("DPM++ 3M SDE Exponential", "DPM++ 3M SDE", "exponential"),
        ("k_dpmpp_sde", "DPM++ SDE", "karras"),
        ("DPM SDE", "DPM++ SDE", "karras"),
        ("DPMSolverSDEScheduler", "DPM++ SDE", "karras"),
        ("k_dpmpp_2s_a", "DPM++ 2S a", "karras"),
        ("DPM++ 1S", "DPM++ 2S a", "karras"),
        ("k_dpm_2", "DPM2", "karras"),
        ("KDPM2DiscreteScheduler", "DPM2", "karras"),
        ("DPM2 Karras", "DPM2", "karras"),
        ("k_dpm_2_a", "DPM2 a", "karras"),
        ("KDPM2 a", "DPM2 a", "karras"),
        ("KDPM2AncestralDiscreteScheduler", "DPM2 a", "karras"),
        ("k_lms", "LMS", AUTOMATIC),
        ("LMSD", "LMS", AUTOMATIC),
        ("LMS Karras", "LMS", "karras"),
        ("LMSDiscreteScheduler", "LMS", AUTOMATIC),
        ("Euler Normal", "Euler", "uniform"),
        ("euler simple", "Euler", "simple"),
        ("Euler Polyexponential", "Euler", "exponential"),
        ("ddpm", "DDPM", AUTOMATIC),
        ("plms", "PLMS", AUTOMATIC),
        ("PNDM", "PLMS", AUTOMATIC),
        ("PNDMScheduler", "PLMS", AUTOMATIC),
        ("unipc", "UniPC", AUTOMATIC),
        ("deis", "DEIS", AUTOMATIC),
        ("DEISMultistepScheduler", "DEIS", AUTOMATIC),
        ("tcd", "TCD", AUTOMATIC),
        ("ddim", "DDIM", AUTOMATIC),
        ("uni_pc", "UniPC", AUTOMATIC),
        ("UniPCMultistepScheduler", "UniPC", AUTOMATIC),
        ("LCM", "LCM", AUTOMATIC),
        ("k_lcm", "LCM", AUTOMATIC),
        ("LCMScheduler", "LCM", AUTOMATIC),
    ],
)
def test_a_sampler_answers_to_the_names_of_other_studios_in_any_case(asked: str, name: str, schedule: str) -> None:
    assert resolve_sampler(asked, None, flow=False) == (name, schedule)


@pytest.mark.parametrize("nothing", [None, "", "default", "Automatic", "None", "DEFAULT"])
@pytest.mark.parametrize("flow", [False, True])
def test_no_name_means_the_scheduler_that_the_model_came_with(nothing: str | None, flow: bool) -> None:
    assert resolve_sampler(nothing, None, flow=flow) == (DEFAULT, AUTOMATIC)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_canonical_name_resolves_to_itself(name: str) -> None:
    for flow in (False, True):
        form = SAMPLERS[name].form(flow=flow)
        if form is not None:
            assert resolve_sampler(name, None, flow=flow) == (name, form.automatic)
            for schedule in form.schedules:
                assert resolve_sampler(name, schedule, flow=flow) == (name, schedule)
                assert resolve_sampler(name, schedule_label(schedule).upper(), flow=flow) == (name, schedule)
                assert resolve_sampler(f"{name} {schedule_label(schedule)}", None, flow=flow) == (name, schedule)


@pytest.mark.parametrize(
    "asked", ["Euler", "euler", "Flow-match Euler", "flow_match_euler", "FlowMatchEulerDiscreteScheduler"]
)
def test_on_a_rectified_flow_euler_is_the_flow_match_one(asked: str) -> None:
    name, schedule = resolve_sampler(asked, None, flow=True)
    scheduler = build(name, schedule, scheduler_class=FLOW[0], scheduler_config=FLOW[1], generator=None)
    assert type(scheduler) is FlowMatchEulerDiscreteScheduler


def test_an_unknown_sampler_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve_sampler("Eulr", None, flow=False)
    assert "`Eulr`" in caught.value.message
    assert "Euler" in caught.value.nearest


def test_an_unknown_schedule_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError) as caught:
        resolve_sampler("Euler", "karas", flow=False)
    assert caught.value.nearest == ["karras"]


@pytest.mark.parametrize("asked", ["DPM2", "Euler a", "dpmpp_2m", "DDIM", "UniPC", "LCM"])
def test_a_diffusion_sampler_on_a_rectified_flow_is_refused_with_what_exists(asked: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve_sampler(asked, None, flow=True)
    assert caught.value.hint == "exist for it: default, Euler, Heun"


@pytest.mark.parametrize("asked", ["Flow-match Euler", "FlowMatchEulerDiscreteScheduler"])
def test_a_flow_sampler_on_a_diffusion_model_is_refused_with_what_exists(asked: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve_sampler(asked, None, flow=False)
    assert "rectified flows" in caught.value.message
    assert caught.value.hint == f"exist for it: {', '.join(names_for(flow=False))}"


@pytest.mark.parametrize(
    ("name", "schedule", "flow"),
    [("DDPM", "karras", False), ("DDIM", "uniform", False), ("LCM", "beta", False), ("Euler", "sgm uniform", True)],
)
def test_a_pair_that_does_not_exist_is_refused_with_what_exists(name: str, schedule: str, flow: bool) -> None:
    with pytest.raises(InputError) as caught:
        resolve_sampler(name, schedule, flow=flow)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("exist for it: automatic")


def test_two_different_schedules_for_one_sampler_are_refused() -> None:
    with pytest.raises(InputError, match="`karras`, and `exponential`"):
        resolve_sampler("DPM++ 2M Karras", "exponential", flow=False)
    assert resolve_sampler("DPM++ 2M Karras", "Karras", flow=False) == ("DPM++ 2M", "karras")
    assert resolve_sampler("DPM++ 2M Exponential", "automatic", flow=False) == ("DPM++ 2M", "exponential")


def test_the_models_own_scheduler_takes_the_schedules_of_its_class() -> None:
    assert resolve_sampler(None, "karras", flow=False, scheduler_class="EulerDiscreteScheduler") == (DEFAULT, "karras")
    for other in ("PNDMScheduler", None):
        with pytest.raises(InputError, match="own scheduler"):
            resolve_sampler(None, "karras", flow=False, scheduler_class=other)


def test_the_table_is_read_without_torch_or_diffusers() -> None:
    code = (
        "import sys, gesso.engine.samplers.table as t; t.resolve_sampler('euler', None, flow=True);"
        "sys.exit(bool({'torch', 'diffusers', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_name_or_alias_means_two_samplers() -> None:
    for flow in (False, True):
        for sampler in SAMPLERS.values():
            form = sampler.form(flow=flow)
            if form is not None:
                for name in (sampler.name, *sampler.aliases, *form.names()):
                    assert resolve_sampler(name, None, flow=flow)[0] == sampler.name


# --- the number of steps


def test_more_steps_than_the_model_has_noise_levels_are_refused() -> None:
    own: dict[str, Any] = {"scheduler_class": "EulerDiscreteScheduler", "scheduler_config": SDXL_CONFIG}
    check_steps("DDIM", 999, **own)
    with pytest.raises(InputError, match="999 at most"):
        check_steps("DDIM", 1000, **own)


def test_more_steps_than_a_consistency_model_was_distilled_with_are_refused() -> None:
    own: dict[str, Any] = {"scheduler_class": "LCMScheduler", "scheduler_config": {"original_inference_steps": 20}}
    check_steps(DEFAULT, 20, **own)
    for sampler in (DEFAULT, "LCM"):
        with pytest.raises(InputError, match="20 at most"):
            check_steps(sampler, 21, **own)
    check_steps("Euler", 21, **own)


def test_a_flow_takes_any_number_of_steps() -> None:
    flow: dict[str, Any] = {"scheduler_class": "FlowMatchEulerDiscreteScheduler"}
    check_steps("Euler", 5000, **flow, scheduler_config={})
    check_steps("Euler", 1, **flow, scheduler_config={})
    check_steps("Euler", 2, **flow, scheduler_config={"shift_terminal": 0.02})
    for sampler in (DEFAULT, "Euler"):
        with pytest.raises(InputError, match="takes 2 at least"):
            check_steps(sampler, 1, **flow, scheduler_config={"shift_terminal": 0.02})  # as Qwen-Image's


@pytest.mark.parametrize(("sampler", "schedule"), DIFFUSION_PAIRS)
def test_every_number_of_steps_that_is_not_refused_runs(sampler: str, schedule: str) -> None:
    most = 50 if sampler in DISTILLED else 130
    for steps in (1, 2, 3, 4, 5, 15, 16, 33, 61):
        if steps <= most:
            _, x = sample(made(sampler, schedule, generator=torch.Generator()), steps, size=1)
            assert torch.isfinite(x).all(), steps


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in DISTILLED])
def test_the_largest_number_of_steps_runs(sampler: str) -> None:
    scheduler = made(sampler, generator=torch.Generator())
    assert torch.isfinite(sample(scheduler, 999, size=1)[1]).all()


# --- numbers


@pytest.mark.parametrize(
    ("sampler", "schedule"), [pair for pair in DIFFUSION_PAIRS if not SAMPLERS[pair[0]].stochastic]
)
def test_a_sampler_follows_the_exact_solution(sampler: str, schedule: str) -> None:
    scheduler = made(sampler, schedule)
    noise, x = sample(scheduler, 120)
    # Start and end of the probability flow: x(t) = x(T) * deviation(t) / deviation(T).
    alpha, sigma = alpha_sigma(scheduler, scheduler.timesteps[0])
    deviation = float((alpha**2 * SPREAD**2 + sigma**2).sqrt())
    torch.testing.assert_close(x, noise * SPREAD / deviation, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("sampler", "schedule"), FLOW_PAIRS)
def test_a_flow_sampler_follows_the_exact_solution(sampler: str, schedule: str) -> None:
    noise, x = sample(made(sampler, schedule, model=FLOW), 120, exact_velocity)
    torch.testing.assert_close(x, noise * SPREAD, rtol=0.05, atol=0.05)


def test_an_ancestral_sampler_keeps_the_spread_of_the_data() -> None:
    generator = torch.Generator().manual_seed(7)
    noise, x = sample(made("Euler a", generator=generator), 120, size=64)
    assert float(x.std()) == pytest.approx(SPREAD, rel=0.05)
    assert abs(float((x * noise).mean())) < 0.02  # the start is forgotten: every step drew fresh noise


def test_halving_the_step_halves_the_error_of_euler_and_quarters_that_of_second_order() -> None:
    def error(sampler: str, steps: int) -> float:
        noise, x = sample(made(sampler, "karras"), steps)
        return float((x - noise * SPREAD).abs().max())

    assert 1.8 < error("Euler", 10) / error("Euler", 20) < 2.2
    for sampler in ("Heun", "DPM++ 2M", "UniPC"):
        assert error(sampler, 10) / error(sampler, 20) > 3.5, sampler
        assert error(sampler, 20) < error("Euler", 20) / 4, sampler


@pytest.mark.parametrize("schedule", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM++ 2M", "UniPC"])
def test_a_sigma_schedule_spans_the_models_whole_range_whatever_its_own_spacing(sampler: str, schedule: str) -> None:
    scheduler = made(sampler, schedule)  # the model's own spacing is leading
    scheduler.set_timesteps(10)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    sigmas = ((1 - alphas) / alphas).sqrt()
    assert float(scheduler.sigmas[0]) == pytest.approx(float(sigmas[-1]), rel=1e-3)
    assert float(scheduler.sigmas[-2]) == pytest.approx(float(sigmas[0]), rel=1e-3)
    assert float(scheduler.sigmas[-1]) == 0


def test_karras_noise_levels_are_those_of_the_paper() -> None:
    scheduler = made("Euler", "karras")
    scheduler.set_timesteps(5)
    most, least = float(scheduler.sigmas[0]), float(scheduler.sigmas[4])
    expected = [(most ** (1 / 7) + i / 4 * (least ** (1 / 7) - most ** (1 / 7))) ** 7 for i in range(5)]
    torch.testing.assert_close(scheduler.sigmas, torch.tensor([*expected, 0.0]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("sampler", "schedule"), DIFFUSION_PAIRS)
def test_a_single_step_starts_at_pure_noise(sampler: str, schedule: str) -> None:
    scheduler = made(sampler, schedule, generator=torch.Generator())
    scheduler.set_timesteps(1)
    assert float(scheduler.timesteps[0]) >= 998


@pytest.mark.parametrize("steps", [60, 61, 62, 103, 121, 122])
@pytest.mark.parametrize("sampler", [DEFAULT, "Euler", "Heun", "DPM++ 2M", "UniPC", "DDIM"])
def test_trailing_timesteps_never_fall_below_zero(sampler: str, steps: int) -> None:
    own = (DDIMScheduler, {**SD, "timestep_spacing": "trailing", "clip_sample": False})
    scheduler = made(sampler, AUTOMATIC if sampler in {DEFAULT, "DDIM"} else "sgm-uniform", model=own)
    noise, x = sample(scheduler, steps)
    assert float(scheduler.timesteps.min()) >= 0
    assert scheduler.num_inference_steps == steps
    torch.testing.assert_close(x, noise * SPREAD, rtol=0.05, atol=0.05)


# --- what is kept of the model


def test_what_belongs_to_the_model_is_kept_and_what_belongs_to_its_sampler_is_not() -> None:
    config = {
        **SD,
        "beta_end": 0.014,
        "num_train_timesteps": 1100,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "use_karras_sigmas": True,
        "solver_order": 3,
        "algorithm_type": "sde-dpmsolver++",
        "euler_at_final": True,
        "final_sigmas_type": "sigma_min",
    }
    own = (DPMSolverMultistepScheduler, config)
    euler = made("Euler", "uniform", model=own)
    assert euler.config.beta_end == 0.014
    assert euler.config.num_train_timesteps == 1100
    assert euler.config.prediction_type == "v_prediction"
    assert euler.config.rescale_betas_zero_snr
    assert (euler.config.rule, euler.config.placement) == ("euler", "uniform")
    euler.set_timesteps(5)
    assert euler.sigmas[-1] == 0
    assert made("LCM", model=own).config.original_inference_steps == 50


def test_a_config_that_is_silent_means_the_defaults_of_its_own_class() -> None:
    own = (LCMScheduler, {})
    lcm_betas = LCMScheduler().betas
    for name in names_for(flow=False):
        torch.testing.assert_close(made(name, model=own).betas, lcm_betas)


def test_values_that_the_config_marks_as_defaults_are_read_likewise() -> None:
    config = dict(LCMScheduler(beta_end=0.014).config)
    euler = made("Euler", model=(LCMScheduler, config))
    torch.testing.assert_close(euler.betas, LCMScheduler(beta_end=0.014).betas)


def test_latents_are_never_clipped_by_a_sampler_whose_class_clips_by_default() -> None:
    for name in ("LCM", "TCD"):
        assert not made(name, model=(PNDMScheduler, SD)).config.clip_sample
        assert not made(name, model=(DDIMScheduler, {**SD, "clip_sample": True})).config.clip_sample
    large = 50 * torch.ones(1, 4, 2, 2)
    for name in names_for(flow=False)[1:]:
        scheduler = made(name, model=(DDIMScheduler, {**SD, "clip_sample": True}), generator=torch.Generator())
        scheduler.set_timesteps(1)
        timestep = scheduler.timesteps[0]
        x = scheduler.step(torch.zeros_like(large), timestep, large * scheduler.init_noise_sigma)[0]
        assert float(x.abs().min()) > 40, name


def test_a_model_trained_on_trailing_timesteps_keeps_them_with_any_sampler() -> None:
    own = (EulerDiscreteScheduler, {**SD, "timestep_spacing": "trailing"})
    for name in ("Euler", "Euler a", "Heun", "DDIM", "UniPC"):
        scheduler = made(name, model=own)
        scheduler.set_timesteps(4)
        assert sorted({float(t) for t in scheduler.timesteps}) == [249.0, 499.0, 749.0, 999.0], name


def test_a_flow_keeps_its_shift() -> None:
    own = (FlowMatchEulerDiscreteScheduler, {"shift": 3.0, "use_dynamic_shifting": True, "max_shift": 1.2})
    euler = made("Euler", model=own)
    assert (euler.config.shift, euler.config.use_dynamic_shifting, euler.config.max_shift) == (3.0, True, 1.2)
    sana = {"use_flow_sigmas": True, "flow_shift": 4.0, "prediction_type": "flow_prediction"}
    assert is_flow("DPMSolverMultistepScheduler", sana)
    assert made("Euler", model=(DPMSolverMultistepScheduler, sana)).config.shift == 4.0


@pytest.mark.parametrize(
    ("sampler", "config", "named"),
    [
        ("LCM", {"timestep_type": "continuous"}, "timestep_type"),
        ("Euler a", {"prediction_type": "colour"}, "colour"),
        ("DPM++ 2M", {"timestep_type": "continuous"}, "timestep_type"),
        ("Euler", {"thresholding": True}, "thresholding"),
    ],
)
def test_a_sampler_that_does_not_know_what_a_model_needs_is_refused(
    sampler: str, config: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        made(sampler, **config)


def test_a_model_of_another_noise_process_is_refused() -> None:
    with pytest.raises(InputError, match="sigma_data"):
        made("Euler", model=(EDMEulerScheduler, {}))


def test_the_default_is_the_models_own_scheduler_as_configured() -> None:
    config = {**SD, "skip_prk_steps": True, "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}
    scheduler: Any = build(DEFAULT, AUTOMATIC, scheduler_class=PNDMScheduler, scheduler_config=config, generator=None)
    assert type(scheduler) is PNDMScheduler
    assert scheduler.config["skip_prk_steps"]
    torch.testing.assert_close(scheduler.betas, PNDMScheduler(**SD).betas)


def test_the_default_with_a_schedule_leaves_the_rest_as_configured() -> None:
    own = (DPMSolverMultistepScheduler, {**SD, "solver_order": 3, "use_exponential_sigmas": True})
    scheduler = made(DEFAULT, "karras", model=own)
    assert scheduler.config.solver_order == 3
    assert scheduler.config.use_karras_sigmas
    assert not scheduler.config.use_exponential_sigmas


def test_building_changes_neither_the_config_nor_an_earlier_scheduler() -> None:
    config = {**SDXL_CONFIG, "trained_betas": [0.01] * 1000}
    before = {**config, "trained_betas": [0.01] * 1000}
    for name in names_for(flow=False):
        one, two = made(name, model=(DIFFUSION[0], config)), made(name, model=(DIFFUSION[0], config))
        assert one is not two
        sample(one, 3, generator=None if name not in STOCHASTIC else torch.Generator())
        mutable = {key: value for key, value in two.__dict__.items() if isinstance(value, list | dict | Tensor)}
        for key, value in mutable.items():
            assert one.__dict__[key] is not value, key
        assert config == before


@pytest.mark.parametrize("sampler", names_for(flow=False)[1:])
def test_a_scheduler_that_is_copied_in_mid_run_goes_on_the_same(sampler: str) -> None:
    scheduler = made(sampler, generator=torch.Generator().manual_seed(1))
    scheduler.set_timesteps(6)
    x = torch.ones(1, 4, 2, 2) * scheduler.init_noise_sigma
    ends: list[Tensor] = []
    again = torch.Generator()
    for index, timestep in enumerate(scheduler.timesteps):
        if index == 3:
            copied, other = copy.deepcopy(scheduler), x.clone()
            generator = torch.Generator().manual_seed(2)
            for later in copied.timesteps[index:]:
                seen = copied.scale_model_input(other, later)
                other = copied.step(seen / 3, later, other, generator=generator, return_dict=False)[0]
            ends.append(other)
            again = torch.Generator().manual_seed(2)
        given = {"generator": again} if index >= 3 else {}
        x = scheduler.step(scheduler.scale_model_input(x, timestep) / 3, timestep, x, return_dict=False, **given)[0]
    assert torch.equal(x, ends[0])


def test_noise_levels_and_timesteps_of_ones_own_are_followed() -> None:
    scheduler = made("Heun")
    scheduler.set_timesteps(sigmas=[10.0, 3.0, 0.5])
    assert scheduler.sigmas.tolist() == [10.0, 3.0, 0.5, 0.0]
    assert len(scheduler.timesteps) == 5
    scheduler.set_timesteps(timesteps=[900, 500, 20])
    assert scheduler.timesteps.tolist() == [900, 500, 500, 20, 20]
    for wrong in ({"sigmas": [1.0, 2.0]}, {"sigmas": []}, {}, {"sigmas": [1.0], "timesteps": [3]}):
        with pytest.raises(ValueError, match=r"fall from step to step|must be given|give one of them"):
            scheduler.set_timesteps(**wrong)


def test_a_picture_to_begin_with_is_noised_to_the_level_of_the_step_it_begins_at() -> None:
    scheduler = made("Heun")
    scheduler.set_timesteps(10)
    begin = 6  # the fourth step: two calls each
    scheduler.set_begin_index(begin)
    picture, noise = torch.full((2, 4, 2, 2), 3.0), torch.ones(2, 4, 2, 2)
    noised = scheduler.add_noise(picture, noise, scheduler.timesteps[begin : begin + 1].repeat(2))
    torch.testing.assert_close(noised, 3 + noise * float(scheduler.sigmas[3]))
    other = made("Heun")
    other.set_timesteps(10)
    other._begin_index = None
    found = other.add_noise(picture, noise, other.timesteps[[begin, 0]])
    expected = torch.stack([other.sigmas[3], other.sigmas[0]]).reshape(2, 1, 1, 1)
    torch.testing.assert_close(found, 3 + noise * expected)


@pytest.mark.parametrize("begin", [1, 2, 5])
def test_plms_may_begin_at_any_step(begin: int) -> None:
    """Its first step makes two calls, and image-to-image may begin between them."""
    scheduler = made("PLMS")
    scheduler.set_timesteps(10)
    scheduler.set_begin_index(begin)
    picture = torch.full((1, 4, 2, 2), 0.5)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    x = scheduler.add_noise(picture, noise, scheduler.timesteps[begin : begin + 1])
    for timestep in scheduler.timesteps[begin:]:
        call = begin if scheduler.step_index is None else scheduler.step_index
        level = float(scheduler.sigmas[max(call - 1, 1)])  # calls 1 and 2 are at the level of the second step
        predicted = (x - picture) / level  # of a network that knows the picture: the path is straight
        x = scheduler.step(predicted, timestep, x, return_dict=False)[0]
    end = float(scheduler.sigmas[-1])
    torch.testing.assert_close(x * math.sqrt(1 + end**2), picture + end * noise, rtol=1e-4, atol=1e-4)


# --- chance


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_a_sampler_takes_of_chance_changes_the_picture_and_what_it_does_not_is_refused(name: str) -> None:
    values: dict[str, Any] = {"eta": 0.6, "s_churn": 8.0, "s_noise": 1.1}
    for flow in (False, True):
        form = SAMPLERS[name].form(flow=flow)
        if form is None:
            continue
        for field, value in values.items():
            asked = Chance(**{field: value})
            if not takes_chance(form, field):
                with pytest.raises(InputError, match=re.escape(f"`{field}` has no effect on sampler `{name}`")):
                    resolve_chance(name, asked, frozenset({field}), flow=flow)
                continue
            if field == "s_noise" and form.churn:
                asked = replace(asked, s_churn=8.0)
            resolved = resolve_chance(name, asked, frozenset({field}), flow=flow)
            assert getattr(resolved, field) == value
            neutral = replace(resolved, **{field: form.eta if field == "eta" else 0.0 if field == "s_churn" else 1.0})
            one, two = (_painted(name, chance) for chance in (resolved, neutral))
            assert not torch.allclose(one, two, atol=1e-3), field


def _painted(sampler: str, chance: Chance) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    scheduler = build(
        sampler,
        AUTOMATIC,
        scheduler_class=DIFFUSION[0],
        scheduler_config=DIFFUSION[1],
        generator=generator,
        chance=chance,
    )
    return sample(watched(scheduler, Silent(generator)), 8)[1]


def test_chance_that_is_left_open_is_the_samplers_own() -> None:
    def own(sampler: str) -> float | None:
        return resolve_chance(sampler, Chance(), frozenset(), flow=False).eta

    assert (own("Euler a"), own("DPM++ 3M SDE"), own("DDIM"), own("TCD")) == (1.0, 1.0, 0.0, 0.3)
    assert own("Euler") is own("DDPM") is own(DEFAULT) is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Chance(s_tmin=1.0), "have no effect without `s_churn`"),
        (Chance(s_churn=3.0, s_tmin=5.0, s_tmax=1.0), "`s_tmax` 1 is below `s_tmin` 5"),
    ],
)
def test_limits_of_churn_that_leave_nothing_are_refused(asked: Chance, said: str) -> None:
    given = frozenset(name for name, value in vars(asked).items() if value)
    with pytest.raises(InputError, match=said):
        resolve_chance("Euler", asked, given, flow=False)


def test_a_recipe_from_before_chance_could_be_asked_for_means_what_it_meant() -> None:
    resolved = recipe(sampler="Euler a").resolved.model_dump()
    old = {name: value for name, value in resolved.items() if name != "eta" and not name.startswith("s_")}
    read = ResolvedImageRequest.model_validate(old)
    assert (read.eta, read.s_churn, read.s_tmin, read.s_tmax, read.s_noise) == (None, 0, 0, 0, 1)
    torch.testing.assert_close(_painted("Euler a", Chance(eta=read.eta)), _painted("Euler a", Chance(eta=1.0)))


def test_no_eta_and_no_churn_leave_the_generator_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    for sampler, chance in (("Euler a", Chance(eta=0.0)), ("Euler", Chance(s_churn=5, s_tmin=5000))):
        scheduler = build(
            sampler,
            "karras",
            scheduler_class=DIFFUSION[0],
            scheduler_config=DIFFUSION[1],
            generator=generator,
            chance=chance,
        )
        sample(watched(scheduler, Silent(generator)), 5)
    assert torch.equal(generator.get_state(), before)


# --- the picture's own randomness


@pytest.mark.parametrize(("sampler", "flow"), [(name, flow) for flow in (False, True) for name in names_for(flow=flow)])
def test_no_sampler_reads_or_changes_the_global_random_state(sampler: str, flow: bool) -> None:
    own, predict = (FLOW, exact_velocity) if flow else (DIFFUSION, exact_prediction)
    results = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        generator = torch.Generator().manual_seed(3)
        results.append(sample(made(sampler, model=own, generator=generator), 5, predict)[1])
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)


@pytest.mark.parametrize("sampler", [sampler.name for sampler in SAMPLERS.values() if sampler.stochastic])
def test_a_stochastic_sampler_draws_from_the_pictures_generator(sampler: str) -> None:
    one, two = (sample(made(sampler, generator=torch.Generator().manual_seed(seed)), 5)[1] for seed in (1, 2))
    assert not torch.allclose(one, two, atol=1e-3)


@pytest.mark.parametrize("sampler", [s.name for s in SAMPLERS.values() if not s.stochastic and s.diffusion is not None])
def test_a_sampler_that_is_not_stochastic_draws_nothing(sampler: str) -> None:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    sample(made(sampler, generator=generator), 5)
    assert torch.equal(generator.get_state(), before)


# --- in unmodified pipelines


@pytest.mark.parametrize("kind", zoo.FIRST_CLASS)
def test_every_pair_runs_in_an_unmodified_pipeline(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    model = zoo.built(kind)
    own_class, own = type(model.scheduler), model.scheduler.config
    pairs = FLOW_PAIRS if is_flow(own_class.__name__, own) else DIFFUSION_PAIRS
    if kind in {"sd2", "sdxl"}:  # every pair runs on sd1
        pairs = [pair for pair in pairs if pair[1] == AUTOMATIC]
    pictures = []
    for sampler, schedule in [(DEFAULT, AUTOMATIC), *pairs]:
        generator = torch.Generator().manual_seed(5)
        scheduler = build(sampler, schedule, scheduler_class=own_class, scheduler_config=own, generator=generator)
        parts = {**model.components, "scheduler": watched(scheduler, Silent(generator))}
        options = {
            name: model.config[name]
            for name in ("requires_safety_checker", "force_zeros_for_empty_prompt")
            if name in model.config
        }
        pipeline: Any = type(model)(**parts, **options, **({"add_watermarker": False} if kind == "sdxl" else {}))
        pipeline.set_progress_bar_config(disable=True)
        size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
        picture = pipeline(prompt="a red circle", num_inference_steps=4, generator=generator, output_type="np", **size)
        assert 0 <= picture.images.min() < picture.images.max() <= 1
        pictures.append(picture.images.tobytes())
    named = [pair for pair in pairs if pair[1] != AUTOMATIC]
    assert len(set(pictures)) > max(len(named), len(pairs) // 2)  # automatic is one of the others; the rest differ
    assert capfd.readouterr().err == ""  # diffusers warns of options that a class does not know
    assert SCHEDULES.keys() >= {schedule for _, schedule in pairs}
