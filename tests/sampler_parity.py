# pyright: reportPrivateImportUsage=false
"""Every sampler against k-diffusion or against its paper, on data with a known solution, in double precision.

`REFERENCES` has one independent computation for each sampler; `difference(name)` is the largest relative difference
over several runs, `convergence(name)` the measured order. The page docs/reference/samplers.md is made of these.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from scipy.integrate import quad
from torch import Tensor

import k_diffusion_sampling
import mixture
from gesso.core.chance import Chance
from gesso.engine.samplers.scheduler import build
from gesso.engine.samplers.table import AUTOMATIC, SAMPLERS

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHAPE = (1, 2, 4, 4)
STEPS = 12
SEED = 7


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run of a sampler."""

    schedule: str = AUTOMATIC
    prediction: str = "epsilon"
    steps: int = STEPS
    chance: Chance = field(default_factory=Chance)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a run was given and what it gave."""

    scheduler: Any
    case: Case
    start: Tensor
    """The sample before the first step."""
    samples: Sequence[Tensor]
    """The sample at each network call, and the result."""

    @property
    def sigmas(self) -> Tensor:
        """Noise levels in double precision, the end among them."""
        return torch.tensor(self.scheduler._sigmas, dtype=torch.float64)

    def model(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The denoiser as k-diffusion calls it, on the same network, which knows timesteps and no noise levels."""
        level = float(sigma.reshape(-1)[0])
        scale = math.sqrt(1 + level**2)
        network = mixture.network(self.scheduler.alphas_cumprod, "epsilon")
        return x - level * network(x / scale, self.scheduler._levels.time(level))

    def noises(self) -> Iterator[Tensor]:
        """The numbers that the picture's generator gives."""
        generator = torch.Generator().manual_seed(SEED)
        while True:
            yield torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def made(sampler: str, case: Case, *, flow: bool = False) -> Any:
    """The scheduler of a Stable Diffusion model, or of an SD3 model."""
    form = SAMPLERS[sampler].form(flow=flow)
    assert form is not None
    return build(
        sampler,
        form.automatic if case.schedule == AUTOMATIC else case.schedule,
        scheduler_class=FlowMatchEulerDiscreteScheduler if flow else EulerDiscreteScheduler,
        scheduler_config={"shift": 3.0} if flow else {**SD, "prediction_type": case.prediction},
        generator=None,
        chance=case.chance,
    )


def ran(sampler: str, case: Case, *, shape: Sequence[int] = SHAPE, **plan: Any) -> Ran:
    """Run the loop of a pipeline in double precision."""
    scheduler = made(sampler, case)
    scheduler.set_timesteps(**(plan or {"num_inference_steps": case.steps}))
    scheduler.set_begin_index(0)
    network = mixture.network(scheduler.alphas_cumprod, case.prediction)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    samples = [noise * scheduler.init_noise_sigma]
    generator = torch.Generator().manual_seed(SEED)
    for timestep in scheduler.timesteps:
        x = samples[-1]
        seen = scheduler.scale_model_input(x, timestep)
        output = network(seen, float(timestep))
        samples.append(scheduler.step(output, timestep, x, generator=generator, return_dict=False)[0])
    return Ran(scheduler=scheduler, case=case, start=samples[0], samples=samples)


# --- k-diffusion


class _Brownian:
    """Noise for the spans of one path that goes down in sigma: what `BrownianTreeNoiseSampler` is, of given numbers."""

    def __init__(self, noises: Iterator[Tensor]) -> None:
        self.noises = noises
        self.known: list[tuple[float, Tensor]] = []

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        begin, end = float(sigma), float(sigma_next)
        start = self._at(begin)
        return (self._at(end) - start) / math.sqrt(begin - end)

    def _at(self, sigma: float) -> Tensor:
        if not self.known:
            self.known = [(sigma, torch.zeros(SHAPE, dtype=torch.float64))]
        for level, value in self.known:
            if math.isclose(level, sigma, rel_tol=1e-9):
                return value
        level, value = self.known[-1]
        self.known.append((sigma, value + math.sqrt(level - sigma) * next(self.noises)))
        return self.known[-1][1]


class _Torch:
    """torch, but for `randn_like`, which k-diffusion calls at every step whether it uses it or not."""

    def __init__(self, noises: Iterator[Tensor]) -> None:
        self.noises = noises

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randn_like(self, x: Tensor) -> Tensor:
        return next(self.noises)


def _k_diffusion(function: str, *, takes_noise: bool = False, brownian: bool = False, **more: Any) -> "Reference":
    def run(run: Ran) -> Tensor:
        chance = run.case.chance
        arguments: dict[str, Any] = dict(more)
        noises = run.noises()
        if takes_noise:
            sampler = _Brownian(noises) if brownian else lambda sigma, sigma_next: next(noises)
            eta = chance.eta if chance.eta is not None else 1.0
            arguments |= {"noise_sampler": sampler, "eta": eta, "s_noise": chance.s_noise}
        x = run.start
        module = k_diffusion_sampling.load("sampling")
        if chance.s_churn:
            limit = chance.s_tmax or math.inf
            arguments |= {"s_churn": chance.s_churn, "s_tmin": chance.s_tmin, "s_tmax": limit}
            arguments |= {"s_noise": chance.s_noise}
            x, drawn = _unchurned(run, noises)
            module.torch = _Torch(drawn)
        try:
            return getattr(module, function)(run.model, x, run.sigmas, disable=True, **arguments)
        finally:
            module.torch = torch

    return Reference(run=run, words=f"k-diffusion `{function}`" + "".join(f", `{k}={v}`" for k, v in more.items()))


def _unchurned(run: Ran, noises: Iterator[Tensor]) -> tuple[Tensor, Iterator[Tensor]]:
    """The start before the churn of the first step, and a number for each step, used or not."""
    chance, sigmas = run.case.chance, run.sigmas.tolist()
    gamma = min(chance.s_churn / (len(sigmas) - 1), 2**0.5 - 1)
    churns = [chance.s_tmin <= sigma <= (chance.s_tmax or math.inf) for sigma in sigmas[:-1]]
    first = torch.full(SHAPE, 0.3, dtype=torch.float64)
    drawn = [first, *(next(noises) if churn else first for churn in churns[1:])]
    added = chance.s_noise * sigmas[0] * math.sqrt((1 + gamma) ** 2 - 1) if churns[0] else 0.0
    return run.start - added * first, iter(drawn)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Another computation of the same sampler."""

    run: Callable[[Ran], Tensor]
    words: str
    cases: tuple[Case, ...] = (
        Case(),
        Case(schedule="karras", prediction="v_prediction"),
        Case(schedule="simple", prediction="sample", steps=7),
        Case(schedule="beta"),
    )


# --- from the papers


def _alphas(run: Ran, timestep: int) -> float:
    return float(run.scheduler.alphas_cumprod[timestep]) if timestep >= 0 else 1.0


def _predicted_noise(run: Ran, x: Tensor, timestep: int) -> Tensor:
    return mixture.network(run.scheduler.alphas_cumprod, "epsilon")(x, float(timestep))


def _leading(run: Ran) -> list[int]:
    stride = 1000 // run.case.steps
    return [1 + stride * index for index in reversed(range(run.case.steps))]


def _in_network_coordinates(run: Ran) -> Tensor:
    """The start of a sampler that works with samples of variance 1."""
    return run.start / math.sqrt(1 + float(run.sigmas[0]) ** 2)


def _ddim(run: Ran) -> Tensor:
    """Song et al. 2020, equation 12 with the deviation of equation 16; the last step goes to timestep 0."""
    eta = run.case.chance.eta or 0.0
    x, noises = _in_network_coordinates(run), run.noises()
    for now, after in pairwise([*_leading(run), 0]):
        a, b = _alphas(run, now), _alphas(run, after)
        noise = _predicted_noise(run, x, now)
        deviation = eta * math.sqrt((1 - b) / (1 - a)) * math.sqrt(1 - a / b)
        clean = (x - math.sqrt(1 - a) * noise) / math.sqrt(a)
        x = math.sqrt(b) * clean + math.sqrt(1 - b - deviation**2) * noise
        if eta:
            x = x + deviation * next(noises)
    return x


def _ddpm(run: Ran) -> Tensor:
    """Ho et al. 2020, equations 6 and 7 between the timesteps that are visited, x0 by equation 15."""
    x, noises = _in_network_coordinates(run), run.noises()
    for now, after in pairwise([*_leading(run), -1]):
        a, b = _alphas(run, now), _alphas(run, after)
        beta = 1 - a / b
        clean = (x - math.sqrt(1 - a) * _predicted_noise(run, x, now)) / math.sqrt(a)
        x = math.sqrt(b) * beta / (1 - a) * clean + math.sqrt(a / b) * (1 - b) / (1 - a) * x
        if after >= 0:
            x = x + math.sqrt((1 - b) / (1 - a) * beta) * next(noises)
    return x


def _plms(run: Ran) -> Tensor:
    """Liu et al. 2022: transfer by equation 11 along the noise of equation 12; begun by one step of Heun's rule."""
    weights = [[], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]

    def transferred(x: Tensor, noise: Tensor, a: float, b: float) -> Tensor:
        divisor = math.sqrt(a) * (math.sqrt((1 - b) * a) + math.sqrt((1 - a) * b))
        return math.sqrt(b / a) * x - (b - a) / divisor * noise

    x, past = _in_network_coordinates(run), list[Tensor]()
    for now, after in pairwise([*_leading(run), 0]):
        a, b = _alphas(run, now), _alphas(run, after)
        past = [_predicted_noise(run, x, now), *past][:4]
        if len(past) == 1:
            noise = (past[0] + _predicted_noise(run, transferred(x, past[0], a, b), after)) / 2
        else:
            noise = sum((w * each for w, each in zip(weights[len(past) - 1], past, strict=True)), start=0 * x)
        x = transferred(x, noise, a, b)
    return x


def _interpolated(nodes: Sequence[float], values: Sequence[Tensor], place: float) -> Tensor:
    """The polynomial through the values, by Neville's scheme."""
    table = list(values)
    for span in range(1, len(nodes)):
        table = [
            ((place - nodes[i + span]) * table[i] - (place - nodes[i]) * table[i + 1]) / (nodes[i] - nodes[i + span])
            for i in range(len(table) - 1)
        ]
    return table[0]


def _integrated(function: Callable[[float], Tensor], low: float, high: float) -> Tensor:
    """Simpson's rule, fine enough to be exact here."""
    places = np.linspace(low, high, 401)
    weights = np.array([1, *([4, 2] * 199), 4, 1]) * (high - low) / 1200
    return torch.stack([float(w) * function(float(p)) for w, p in zip(weights, places, strict=True)]).sum(0)


def _unipc(run: Ran) -> Tensor:
    """Zhao et al. 2023: with B(h) = h the update is the exact integral over the polynomial through the D of the calls.

    Not so where a single difference is used: there the paper's weight is 1/2.
    """
    sigmas = run.sigmas.tolist()
    logs = [-math.log(sigma) for sigma in sigmas[:-1]]
    steps = len(logs)

    def moved(x: Tensor, index: int, known: Mapping[int, Tensor]) -> Tensor:
        h = logs[index + 1] - logs[index]
        nodes = sorted(known)
        if len(nodes) == 2:
            (other,) = (node for node in nodes if node != index)
            place = (logs[other] - logs[index]) / h
            base = math.exp(-h) * x + (1 - math.exp(-h)) * known[index]
            return base + h / 2 * (known[other] - known[index]) / place
        places, values = [logs[node] for node in nodes], [known[node] for node in nodes]

        def rate(log: float) -> Tensor:
            return math.exp(log - logs[index + 1]) * _interpolated(places, values, log)

        return math.exp(-h) * x + _integrated(rate, logs[index], logs[index + 1])

    x, calls = run.start, dict[int, Tensor]()
    begun = x
    for index in range(steps):
        calls[index] = run.model(x, torch.tensor(sigmas[index], dtype=torch.float64))
        if index:
            order = min(3, index, steps - index + 1)
            x = moved(begun, index - 1, {node: calls[node] for node in range(index - order, index + 1)})
        if index == steps - 1:
            return calls[index]
        order = min(3, index + 1, steps - index)
        begun, x = x, moved(x, index, {node: calls[node] for node in range(index - order + 1, index + 1)})
    raise AssertionError("there is a last step")


def _deis(run: Ran) -> Tensor:
    """Zhang & Chen 2022, equation 15 in rho = sigma, with polynomials in log rho of the last three noises."""
    sigmas, x = run.sigmas.tolist(), run.start
    past: list[tuple[float, Tensor]] = []
    for now, after in pairwise(sigmas):
        clean = run.model(x, torch.tensor(now, dtype=torch.float64))
        past = [*past, (math.log(now), (x - clean) / now)][-3:]
        if not after:
            return clean
        for node, noise in past:
            others = [other for other, _ in past if other != node]

            def share(u: float, node: float = node, others: Sequence[float] = tuple(others)) -> float:
                return math.exp(u) * math.prod((u - other) / (node - other) for other in others)

            x = x + quad(share, math.log(now), math.log(after), epsabs=1e-13, epsrel=1e-12)[0] * noise
    raise AssertionError("there is a last step")


def _distilled(run: Ran) -> list[int]:
    """Luo et al. 2023: of the 50 timesteps of the distillation, as many as are asked for, evenly."""
    original = [20 * (index + 1) - 1 for index in range(50)][::-1]
    return [original[int(index)] for index in np.floor(np.linspace(0, 50, run.case.steps, endpoint=False))]


def _lcm(run: Ran) -> Tensor:
    """Luo et al. 2023, algorithm 3 with the boundary condition of its equation 9, data deviation 1/2 and scale 10."""
    x, noises = run.start, run.noises()
    times = _distilled(run)
    for now, after in pairwise([*times, -1]):
        a = _alphas(run, now)
        clean = (x - math.sqrt(1 - a) * _predicted_noise(run, x, now)) / math.sqrt(a)
        scaled = now * 10.0
        skip, out = 0.25 / (scaled**2 + 0.25), scaled / math.sqrt(scaled**2 + 0.25)
        clean = out * clean + skip * x
        x = clean
        if after >= 0:
            b = _alphas(run, after)
            x = math.sqrt(b) * clean + math.sqrt(1 - b) * next(noises)
    return x


def _tcd(run: Ran) -> Tensor:
    """Zheng et al. 2024, algorithm 4: to timestep s = (1 - gamma) t', then noise up to t'."""
    gamma = 0.3 if run.case.chance.eta is None else run.case.chance.eta
    x, noises = run.start, run.noises()
    for now, after in pairwise([*_distilled(run), 0]):
        a, b, c = (_alphas(run, t) for t in (now, after, math.floor((1 - gamma) * after)))
        noise = _predicted_noise(run, x, now)
        x = math.sqrt(c) * (x - math.sqrt(1 - a) * noise) / math.sqrt(a) + math.sqrt(1 - c) * noise
        if gamma and after:
            x = math.sqrt(b / c) * x + math.sqrt(1 - b / c) * next(noises)
    return x


def _etas(*etas: float) -> tuple[Case, ...]:
    return tuple(Case(chance=Chance(eta=eta)) for eta in etas)


def _noisy(reference: Reference) -> Reference:
    more = (
        Case(schedule="uniform", chance=Chance(eta=0.4, s_noise=1.1)),
        Case(schedule="exponential", chance=Chance(eta=0.0)),
    )
    return Reference(run=reference.run, words=reference.words, cases=(*reference.cases, *more))


def _churned(reference: Reference) -> Reference:
    more = (
        Case(schedule="karras", chance=Chance(s_churn=3.0)),
        Case(schedule="uniform", chance=Chance(s_churn=40.0, s_tmin=0.1, s_tmax=8.0, s_noise=1.007)),
    )
    return Reference(run=reference.run, words=reference.words, cases=(*reference.cases, *more))


def _paper(run: Callable[[Ran], Tensor], words: str, *cases: Case) -> Reference:
    return Reference(run=run, words=words, **({"cases": cases} if cases else {}))


_OWN_STEPS = (Case(), Case(prediction="v_prediction", steps=20), Case(prediction="sample", steps=4))

REFERENCES: Mapping[str, Reference] = MappingProxyType(
    {
        "Euler": _churned(_k_diffusion("sample_euler")),
        "Euler a": _noisy(_k_diffusion("sample_euler_ancestral", takes_noise=True)),
        "Heun": _churned(_k_diffusion("sample_heun")),
        "LMS": _k_diffusion("sample_lms"),
        "DPM2": _churned(_k_diffusion("sample_dpm_2")),
        "DPM2 a": _noisy(_k_diffusion("sample_dpm_2_ancestral", takes_noise=True)),
        "DPM++ 2M": _k_diffusion("sample_dpmpp_2m"),
        "DPM++ SDE": _noisy(_k_diffusion("sample_dpmpp_sde", takes_noise=True, brownian=True)),
        "DPM++ 2M SDE": _noisy(_k_diffusion("sample_dpmpp_2m_sde", takes_noise=True, brownian=True)),
        "DPM++ 2M SDE Heun": _noisy(
            _k_diffusion("sample_dpmpp_2m_sde", takes_noise=True, brownian=True, solver_type="heun")
        ),
        "DPM++ 3M SDE": _noisy(_k_diffusion("sample_dpmpp_3m_sde", takes_noise=True, brownian=True)),
        "DPM++ 2S a": _noisy(_k_diffusion("sample_dpmpp_2s_ancestral", takes_noise=True)),
        "DDIM": _paper(_ddim, "Song et al. 2020, equation 12", *_OWN_STEPS, *_etas(0.5, 1.0)),
        "DDPM": _paper(_ddpm, "Ho et al. 2020, equations 6 and 7", *_OWN_STEPS),
        "PLMS": _paper(_plms, "Liu et al. 2022, equations 11 and 12", *_OWN_STEPS),
        "UniPC": _paper(_unipc, "Zhao et al. 2023, by quadrature"),
        "DEIS": _paper(_deis, "Zhang & Chen 2022, by quadrature"),
        "LCM": _paper(_lcm, "Luo et al. 2023, algorithm 3", Case(steps=4), Case(steps=8, prediction="v_prediction")),
        "TCD": _paper(_tcd, "Zheng et al. 2024, algorithm 4", Case(steps=4), Case(steps=8, chance=Chance(eta=0.7))),
    }
)


@functools.cache
def difference(sampler: str) -> float:
    """The largest difference from the reference in any of its cases, relative to the largest value."""
    reference = REFERENCES[sampler]
    found: list[float] = []
    for case in reference.cases:
        run = ran(sampler, case)
        expected = reference.run(run)
        found.append(float((run.samples[-1] - expected).abs().max() / expected.abs().max()))
    return max(found)


# --- rectified flows


def flow_run(sampler: str, schedule: str = AUTOMATIC, steps: int = STEPS) -> tuple[Any, list[Tensor]]:
    """The scheduler as Flux uses one, and the sample at each network call and at the end."""
    scheduler = made(sampler, Case(schedule=schedule), flow=True)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps))
    scheduler.set_begin_index(0)
    samples = [torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)]
    for timestep in scheduler.timesteps:
        x = samples[-1]
        samples.append(scheduler.step(mixture.velocity(x, float(timestep) / 1000), timestep, x, return_dict=False)[0])
    return scheduler, samples


@functools.cache
def flow_difference(sampler: str) -> float:
    """The same for the samplers of rectified flows, from their textbook rules on the shifted levels of Flux and SD3."""
    samples = flow_run(sampler)[1]
    shares = [3 * share / (1 + 2 * share) for share in np.linspace(1, 0, STEPS + 1)]  # Esser et al. 2024, equation 23
    x = samples[0]
    for now, after in pairwise(shares):
        slope = mixture.velocity(x, now)
        if sampler == "Heun" and after:
            slope = (slope + mixture.velocity(x + (after - now) * slope, after)) / 2
        x = x + (after - now) * slope
    return float((samples[-1] - x).abs().max() / x.abs().max())


# --- against the exact solution


def flow_error(sampler: str, steps: int) -> float:
    """Largest error of a rectified flow's sampler against the exact solution, from noise to data."""
    samples = flow_run(sampler, steps=steps)[1]
    # At share s the sample over 1 - s is data with noise of deviation s / (1 - s): pure noise is that with a great one.
    exact = mixture.carried(samples[0] * 1e6, 1e6, 1e-9)
    return float((samples[-1] - exact).abs().max())


def error(sampler: str, steps: int) -> float:
    """Largest error against the exact probability flow between two noise levels, of `steps` steps without noise.

    Not down to level 0: the last step to it is of order 1 in every sampler.
    """
    own = SAMPLERS[sampler].diffusion
    chance = Chance(eta=0.0) if own is not None and own.eta is not None else Chance()
    scheduler = made(sampler, Case(chance=chance))
    # Evenly in a power of sigma between levels where the denoiser bends.
    low, high = 0.2, 6.0
    sigmas = np.linspace(high ** (1 / 7), low ** (1 / 7), steps + 1) ** 7
    if sampler in {"DDIM", "PLMS"}:  # for even steps in time
        sigmas = np.array(scheduler._levels.sigmas(np.linspace(800, 80, steps + 1)))
    run = ran(sampler, Case(chance=chance), sigmas=sigmas)
    call = next(number for number, each in enumerate(run.scheduler._calls) if each.step == steps and not each.inner)
    exact = mixture.carried(run.start, float(sigmas[0]), float(sigmas[-1]))
    return float((run.samples[call] - exact).abs().max())


@functools.cache
def convergence(sampler: str, *, flow: bool = False) -> float:
    """The measured order: how often the error halves when the steps are doubled."""
    of = flow_error if flow else error
    coarse, fine = of(sampler, 64), of(sampler, 128)
    return math.log2(coarse / fine)
