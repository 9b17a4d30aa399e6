# pyright: reportPrivateImportUsage=false
"""Samplers and schedules against k-diffusion, their papers and the exact solution; the page that says so."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from scipy import stats
from torch import Tensor

import k_diffusion_sampling
import mixture
import sampler_page
import sampler_parity
import zoo
from gesso.core.chance import Chance
from gesso.engine.samplers.table import AUTOMATIC, SAMPLERS
from sampler_parity import SD, SHAPE, Case, made, ran

# DEIS of diffusers turns tensors into arrays in a way that numpy 2 deprecates and torch 2.13 does not support yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context")

DIFFUSION = [name for name, sampler in SAMPLERS.items() if sampler.diffusion is not None]
FLOW = [name for name, sampler in SAMPLERS.items() if sampler.flow is not None]
NOISY = [name for name in DIFFUSION if SAMPLERS[name].stochastic and name not in {"LCM", "TCD"}]
ORDER = {name: SAMPLERS[name].accuracy or 1 for name in sampler_page.SOLVED}
ORDER |= {"DPM2 a": 2, "DPM++ SDE": 2, "DPM++ 2M SDE": 2, "DPM++ 2M SDE Heun": 2, "DPM++ 3M SDE": 2, "DPM++ 2S a": 2}


MANY = (1, 1, 100, 100)


def enough(sampler: str) -> int:
    """Steps after which what is left of a sampler's error is small beside that of so few samples."""
    return 200 if sampler in {"Euler", "Euler a", "DDPM"} else 50


def test_every_sampler_has_a_reference() -> None:
    assert set(sampler_parity.REFERENCES) == set(DIFFUSION)


@pytest.mark.parametrize("sampler", DIFFUSION)
def test_a_sampler_is_what_its_reference_computes(sampler: str) -> None:
    assert sampler_parity.difference(sampler) <= 1e-6


@pytest.mark.parametrize("sampler", FLOW)
def test_a_sampler_of_flows_is_its_rule_on_the_levels_of_the_model(sampler: str) -> None:
    assert sampler_parity.flow_difference(sampler) <= 1e-6


@pytest.mark.parametrize("sampler", sampler_page.SOLVED)
def test_the_error_falls_by_the_order_of_the_sampler(sampler: str) -> None:
    assert sampler_parity.convergence(sampler) > ORDER[sampler] - 0.2
    assert sampler_parity.error(sampler, 128) < (0.012 if ORDER[sampler] == 1 else 2e-4)


@pytest.mark.parametrize("sampler", FLOW)
def test_the_error_on_a_flow_falls_by_the_order_of_the_sampler(sampler: str) -> None:
    assert sampler_parity.convergence(sampler, flow=True) == pytest.approx(SAMPLERS[sampler].accuracy, abs=0.1)


@pytest.mark.parametrize("sampler", NOISY)
def test_a_stochastic_sampler_gives_the_distribution_of_the_data(sampler: str) -> None:
    x = ran(sampler, Case(steps=enough(sampler)), shape=MANY).samples[-1]
    assert float(x.mean()) == pytest.approx(mixture.MEAN, abs=0.03)
    assert float(x.var()) == pytest.approx(mixture.VARIANCE, rel=0.06)
    assert float((x < -0.15).double().mean()) == pytest.approx(0.3, abs=0.025)  # the share of the left hill


@pytest.mark.parametrize("sampler", [name for name in DIFFUSION if (form := SAMPLERS[name].diffusion) and form.churn])
def test_churn_from_the_first_step_on_gives_the_distribution_of_the_data(sampler: str) -> None:
    churned = ran(sampler, Case(steps=enough(sampler), chance=Chance(s_churn=20)), shape=MANY)
    plain = ran(sampler, Case(steps=enough(sampler)), shape=MANY)
    x = churned.samples[-1]
    assert not torch.allclose(x, plain.samples[-1], atol=0.1)
    assert float(x.mean()) == pytest.approx(mixture.MEAN, abs=0.03)
    assert float(x.var()) == pytest.approx(mixture.VARIANCE, rel=0.06)


@pytest.mark.parametrize("sampler", [name for name in DIFFUSION if (form := SAMPLERS[name].diffusion) and form.eta])
def test_without_eta_a_stochastic_sampler_draws_nothing(sampler: str) -> None:
    scheduler = made(sampler, Case(chance=Chance(eta=0.0)))
    scheduler.set_timesteps(5)
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    x = torch.ones(SHAPE)
    for timestep in scheduler.timesteps:
        x = scheduler.step(scheduler.scale_model_input(x, timestep) / 3, timestep, x, generator=generator)[0]
    assert torch.equal(generator.get_state(), before)


# --- schedules


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize("schedule", ["uniform", "karras", "exponential", "sgm-uniform", "simple", "beta"])
def test_a_schedule_places_the_steps_as_k_diffusion_or_its_definition_does(schedule: str, steps: int) -> None:
    scheduler = made("Euler", Case(schedule=schedule))
    scheduler.set_timesteps(steps)
    levels: Any = k_diffusion_sampling.load("external").DiscreteSchedule(
        ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5, quantize=False
    )
    least, most = float(levels.sigma_min), float(levels.sigma_max)
    sampling = k_diffusion_sampling.load("sampling")
    if schedule == "karras":
        expected = sampling.get_sigmas_karras(steps, least, most)
    elif schedule == "exponential":
        expected = sampling.get_sigmas_exponential(steps, least, most)
    elif schedule == "uniform":
        expected = levels.get_sigmas(steps)
    elif schedule == "sgm-uniform":
        expected = levels.t_to_sigma(torch.linspace(999, 0, steps + 1)[:-1])
    elif schedule == "simple":
        expected = levels.sigmas[[-(1 + index * 1000 // steps) for index in range(steps)]]
    else:
        quantiles = stats.beta.ppf(1 - np.linspace(0, 1, steps), 0.6, 0.6)
        expected = torch.tensor(least + quantiles * (most - least))
    found = scheduler.sigmas.double()
    assert len(found) == steps + 1
    assert found[-1] == 0
    torch.testing.assert_close(found[:-1], expected.double()[:steps], rtol=2e-5, atol=0)


@pytest.mark.parametrize("sampler", ["DPM2", "DPM2 a", "DPM++ 3M SDE"])
def test_samplers_that_leave_out_the_last_level_do_as_automatic1111_does(sampler: str) -> None:
    scheduler = made(sampler, Case(schedule="karras"))
    scheduler.set_timesteps(9)
    whole = k_diffusion_sampling.load("sampling").get_sigmas_karras(
        10, float(scheduler._levels.least), float(scheduler._levels.most)
    )
    expected = torch.cat([whole[:-2], whole[-1:]])
    torch.testing.assert_close(scheduler.sigmas, expected, rtol=2e-5, atol=0)


@pytest.mark.parametrize("schedule", ["uniform", "karras", "exponential", "beta"])
def test_the_network_is_told_the_timestep_of_the_very_level(schedule: str) -> None:
    scheduler = made("DPM2", Case(schedule=schedule))
    scheduler.set_timesteps(8)
    levels = scheduler._levels
    for call, timestep in zip(scheduler._calls, scheduler.timesteps, strict=True):
        assert levels.sigmas(np.array([float(timestep)]))[0] == pytest.approx(call.sigma, rel=1e-5)


# --- diffusers' own classes, where they are comparable


@pytest.mark.parametrize(
    ("sampler", "theirs"),
    [
        ("DDIM", DDIMScheduler(**SD, clip_sample=False, set_alpha_to_one=False, steps_offset=1)),
        ("PLMS", PNDMScheduler(**SD, skip_prk_steps=True, steps_offset=1)),
        ("Euler", EulerDiscreteScheduler(**SD, use_karras_sigmas=True)),
    ],
)
def test_a_sampler_agrees_with_the_class_of_diffusers_where_that_is_right(sampler: str, theirs: Any) -> None:
    run = ran(sampler, Case(schedule="karras" if sampler == "Euler" else AUTOMATIC, steps=10))
    theirs.set_timesteps(10)
    network = mixture.network(theirs.alphas_cumprod, "epsilon")
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = noise * theirs.init_noise_sigma
    if sampler == "Euler":  # diffusers begins with the deviation of noise and data together
        x = run.start
    for timestep in theirs.timesteps:
        seen = theirs.scale_model_input(x, timestep)
        x = theirs.step(network(seen, float(timestep)), timestep, x, return_dict=False)[0].double()
    torch.testing.assert_close(run.samples[-1], x, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("sampler", "theirs"),
    [
        ("Euler", EulerDiscreteScheduler(**SD, use_karras_sigmas=True, steps_offset=1)),
        ("Heun", HeunDiscreteScheduler(**SD, use_karras_sigmas=True, steps_offset=1)),
    ],
)
def test_a_pipeline_paints_the_same_with_the_class_of_diffusers(sampler: str, theirs: Any) -> None:
    images: list[np.ndarray] = []
    for scheduler in (made(sampler, Case(schedule="karras")), theirs):
        pipeline: Any = zoo.build("sd1", scheduler=scheduler)
        generator = torch.Generator().manual_seed(3)
        size = {"width": zoo.PICTURE_PX, "height": zoo.PICTURE_PX}
        painted = pipeline("a star", num_inference_steps=5, generator=generator, output_type="np", **size)
        images.append(painted.images)
    assert float(np.abs(images[0] - images[1]).max()) < 1e-3


def test_heun_on_a_flow_agrees_with_the_class_of_diffusers_where_that_can_be_used() -> None:
    theirs: Any = FlowMatchHeunDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(8)
    ours: Any = made("Heun", Case(), flow=True)
    ours.set_timesteps(sigmas=[float(sigma) for sigma in theirs.sigmas[:-1].unique().flip(0)])
    ours.set_begin_index(0)
    # Both were given shifted levels and shift them again alike only if the first are undone.
    levels = [s / (3 - 2 * s) for s in theirs.sigmas[:-1].unique().flip(0).double().tolist()]
    ours.set_timesteps(sigmas=levels)
    ours.set_begin_index(0)
    torch.testing.assert_close(ours.timesteps, theirs.timesteps)
    one = two = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    for timestep in theirs.timesteps:
        one = ours.step(mixture.velocity(one.double(), float(timestep) / 1000).float(), timestep, one)[0]
        two = theirs.step(mixture.velocity(two.double(), float(timestep) / 1000).float(), timestep, two)[0]
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("sampler", "theirs", "tolerance"),
    [
        ("UniPC", UniPCMultistepScheduler(**SD, solver_type="bh1", solver_order=3), 2e-6),
        ("DEIS", DEISMultistepScheduler(**SD, solver_order=3), 1e-3),  # its weights are of single precision
    ],
)
def test_multistep_solvers_agree_with_the_class_of_diffusers_on_whole_timesteps(
    sampler: str, theirs: Any, tolerance: float
) -> None:
    run = ran(sampler, Case(schedule="sgm-uniform", steps=37))  # 999 = 37 * 27: whole timesteps
    theirs.set_timesteps(37)
    torch.testing.assert_close(run.scheduler.timesteps, theirs.timesteps.float())
    network = mixture.network(theirs.alphas_cumprod, "epsilon")
    x = run.start / math.sqrt(1 + float(run.sigmas[0]) ** 2)
    for timestep in theirs.timesteps[:-1]:  # the last step differs: one gives NaN there, the other ends above level 0
        x = theirs.step(network(x, float(timestep)), timestep, x, return_dict=False)[0].double()
    scale = math.sqrt(1 + float(run.sigmas[-2]) ** 2)
    torch.testing.assert_close(run.samples[-2], x * scale, rtol=0, atol=tolerance)


# --- names


def test_no_two_pairs_are_the_same_levels_and_the_same_rule() -> None:
    for results in (_diffusion_results(), _flow_results()):
        keys = list(results)
        for index, one in enumerate(keys):
            for other in keys[index + 1 :]:
                assert float((results[one] - results[other]).abs().max()) > 1e-5, (one, other)


def _diffusion_results() -> dict[tuple[str, str], Tensor]:
    pairs = [
        (name, schedule)
        for name in DIFFUSION
        if (form := SAMPLERS[name].diffusion) is not None
        # Automatic stands for one of the others where there are others.
        for schedule in ((AUTOMATIC, *form.schedules) if "uniform" not in form.schedules else form.schedules)
    ]
    return {pair: ran(pair[0], Case(schedule=pair[1], steps=10)).samples[-1] for pair in pairs}


def _flow_results() -> dict[tuple[str, str], Tensor]:
    return {
        (name, schedule): sampler_parity.flow_run(name, schedule, 10)[1][-1]
        for name in FLOW
        if (form := SAMPLERS[name].flow) is not None
        for schedule in (AUTOMATIC, *form.schedules)
    }


# --- the page


def test_the_page_of_samplers_is_what_is_measured() -> None:
    assert sampler_page.PAGE.read_text("utf-8") == sampler_page.page(), (
        "write it anew with `PYTHONPATH=tests python -m sampler_page`"
    )
