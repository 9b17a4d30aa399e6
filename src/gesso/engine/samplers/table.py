"""Samplers and schedules as data: names, aliases, what runs them, which pairs exist and what a request may set.

A *sampler* is the rule that takes one step; a *schedule* says at which noise levels the steps are taken. Names and
automatic schedules follow AUTOMATIC1111 1.10, so that a name carried over means the same there and here. A new sampler
is a new row of `SAMPLERS` and, if its rule is new, a file in `rules`. Class names are strings: importing this module
imports nothing heavy.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from gesso.core.chance import Chance
from gesso.core.errors import InputError, UnknownNameError

DEFAULT = "default"
"""The scheduler that the model came with."""
AUTOMATIC = "automatic"
"""The sampler's own schedule; where it has none, the model's spacing."""

LCM_ORIGINAL_STEPS = 50
"""Steps of the distillation of the published consistency models, of which a run takes some."""

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


DIFFUSION_SCHEDULER = "gesso.engine.samplers.sigma:SigmaScheduler"
FLOW_SCHEDULER = "diffusers:FlowMatchEulerDiscreteScheduler"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Where the steps are placed. `options` are constructor options of a diffusers class."""

    name: str
    label: str
    """As AUTOMATIC1111 writes it into pictures."""
    source: str
    """What it is, and where it is published."""
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a sampler runs on one kind of model: on a diffusion model, or on a rectified flow."""

    scheduler: str = DIFFUSION_SCHEDULER
    """Dotted name of the class."""
    aliases: tuple[str, ...] = ()
    """Names that mean this form only."""
    diffusers: str | None = None
    """The class of diffusers for it, whose name is an alias too."""
    options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)
    """Constructor options that make the class this sampler; everything about the model comes from its own config."""
    schedules: tuple[str, ...] = ()
    """Schedules that exist for it, besides `automatic`."""
    automatic: str = AUTOMATIC
    """What `automatic` stands for."""
    predictions: frozenset[str] = frozenset({"epsilon", "v_prediction", "sample"})
    """What a network may predict for the class to understand it."""
    eta: float | None = None
    """What `eta` is if left open; `None` if the sampler takes none."""
    churn: bool = False
    """Takes `s_churn`, `s_tmin` and `s_tmax`."""
    scales_noise: bool = False
    """Takes `s_noise`."""
    note: str = ""
    """What to know of it: above all where diffusers or AUTOMATIC1111 do otherwise."""

    @property
    def class_name(self) -> str:
        """`FlowMatchEulerDiscreteScheduler`."""
        return self.scheduler.rpartition(":")[2]

    @property
    def placement(self) -> str | None:
        """Its own placement of steps, of samplers that have one."""
        return self.options.get("placement")

    @property
    def scales_start(self) -> bool:
        """Takes `sgm_noise_multiplier`: those that do not begin in the network's coordinates anyway."""
        return self.scheduler == DIFFUSION_SCHEDULER and not self.options.get("variance_preserving")

    def names(self) -> Iterator[str]:
        """Every name that means this form only."""
        if self.diffusers is not None:
            yield from (self.diffusers, self.diffusers.removesuffix("Scheduler"))
        yield from self.aliases


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """One row of the table."""

    name: str
    source: str
    """Where the rule is published."""
    aliases: tuple[str, ...] = ()
    diffusion: Form | None = None
    flow: Form | None = None
    order: int = 1
    """Network calls of a step; with 2, the last step makes one."""
    accuracy: int | None = None
    """Order of convergence to the exact solution; `None` if it is not one that is solved for."""
    stochastic: bool = False
    """Draws noise at every step, from the picture's own generator."""

    def form(self, *, flow: bool) -> Form | None:
        """The form for rectified flows or for diffusion models, if there is one."""
        return self.flow if flow else self.diffusion

    def forms(self) -> Iterator[Form]:
        """Every form it has."""
        return (form for form in (self.diffusion, self.flow) if form is not None)


_SCHEDULES = (
    Schedule(
        name=AUTOMATIC,
        label="Automatic",
        source="the sampler's own; else Simple on a model trained for trailing timesteps, Uniform on others",
        aliases=("auto", "default", "none"),
    ),
    Schedule(
        name="uniform",
        label="Uniform",
        source="timesteps evenly from the noisiest to the cleanest; AUTOMATIC1111's Normal is the same",
        aliases=("normal",),
        options={"timestep_spacing": "linspace"},
    ),
    # `linspace` makes the range the model's whole one.
    Schedule(
        name="karras",
        label="Karras",
        source="Karras et al. 2022, arXiv 2206.00364, equation 5, rho 7",
        aliases=("ka",),
        options={"use_karras_sigmas": True, "timestep_spacing": "linspace"},
    ),
    Schedule(
        name="exponential",
        label="Exponential",
        source="evenly in log sigma; Polyexponential with rho 1 is the same",
        aliases=("polyexponential",),
        options={"use_exponential_sigmas": True, "timestep_spacing": "linspace"},
    ),
    Schedule(
        name="sgm-uniform",
        label="SGM Uniform",
        source="timesteps evenly, as many and one more, without the last",
        options={"timestep_spacing": "trailing"},
    ),
    Schedule(
        name="simple",
        label="Simple",
        source="every so-many-th trained timestep from the noisiest on; Lin et al. 2023, arXiv 2305.08891, trailing",
        options={"timestep_spacing": "trailing"},
    ),
    Schedule(
        name="beta",
        label="Beta",
        source="quantiles of Beta(0.6, 0.6) on sigma, as in AUTOMATIC1111 and diffusers; Lee et al. 2024, arXiv"
        " 2407.12173, place them on timesteps",
        options={"use_beta_sigmas": True, "timestep_spacing": "linspace"},
    ),
)
SCHEDULES: Mapping[str, Schedule] = MappingProxyType({schedule.name: schedule for schedule in _SCHEDULES})

PLACED = ("uniform", "karras", "exponential", "sgm-uniform", "simple", "beta")
"""Schedules of every sampler that does not come with its own."""
FLOW_PLACED = ("karras", "exponential", "beta")

_OWN_SPACINGS = ("uniform", "sgm-uniform")
_OWN_SCHEDULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "EulerDiscreteScheduler",
                "HeunDiscreteScheduler",
                "DPMSolverMultistepScheduler",
                "UniPCMultistepScheduler",
            ),
            (*_OWN_SPACINGS, *FLOW_PLACED),
        ),
        "EulerAncestralDiscreteScheduler": _OWN_SPACINGS,
        "DDIMScheduler": ("sgm-uniform",),
        "FlowMatchEulerDiscreteScheduler": FLOW_PLACED,
    }
)
"""Schedules that classes of diffusers really do when a model's own scheduler is of them."""

OWN_ETA = frozenset({"DDIMScheduler", "TCDScheduler"})
"""Classes of a model's own scheduler that take the pipeline's argument `eta`."""


def _rule(rule: str, **more: Any) -> Mapping[str, Any]:
    return MappingProxyType({"rule": rule, **more})


_BROWNIAN = (
    "Noise of the same law as k-diffusion's Brownian tree, drawn from the picture's own generator: other numbers"
)
_SAMPLERS = (
    Sampler(
        name="Euler",
        source="Karras et al. 2022, arXiv 2206.00364, algorithm 2 without its correction",
        diffusion=Form(
            diffusers="EulerDiscreteScheduler",
            options=_rule("euler"),
            schedules=PLACED,
            churn=True,
            scales_noise=True,
            note="Churn comes before the network's look, as published; diffusers' class adds it afterwards",
        ),
        flow=Form(
            scheduler=FLOW_SCHEDULER,
            diffusers="FlowMatchEulerDiscreteScheduler",
            aliases=("Flow-match Euler", "Euler flow-match"),
            options={"stochastic_sampling": False},
            schedules=FLOW_PLACED,
            predictions=frozenset({"flow_prediction"}),
            note="Automatic is the levels that the pipeline brings; the others lie between the first and last of them",
        ),
        accuracy=1,
    ),
    Sampler(
        name="Euler a",
        source="k-diffusion `sample_euler_ancestral`",
        aliases=("Euler ancestral",),
        diffusion=Form(
            diffusers="EulerAncestralDiscreteScheduler",
            options=_rule("euler_ancestral"),
            schedules=PLACED,
            eta=1.0,
            scales_noise=True,
        ),
        stochastic=True,
    ),
    Sampler(
        name="Heun",
        source="Karras et al. 2022, arXiv 2206.00364, algorithm 2",
        diffusion=Form(
            diffusers="HeunDiscreteScheduler",
            options=_rule("heun"),
            schedules=PLACED,
            churn=True,
            scales_noise=True,
        ),
        flow=Form(
            scheduler="gesso.engine.samplers.flow:FlowHeunScheduler",
            diffusers="FlowMatchHeunDiscreteScheduler",
            aliases=("Flow-match Heun", "Heun flow-match"),
            options={"stochastic_sampling": False},
            schedules=FLOW_PLACED,
            predictions=frozenset({"flow_prediction"}),
            note="diffusers' class takes neither the levels nor the shift that Flux and SD3 bring; this one does",
        ),
        order=2,
        accuracy=2,
    ),
    Sampler(
        name="LMS",
        source="k-diffusion `sample_lms`, order 4",
        aliases=("LMSD",),
        diffusion=Form(diffusers="LMSDiscreteScheduler", options=_rule("lms"), schedules=PLACED),
        accuracy=2,
    ),
    Sampler(
        name="DPM2",
        source="k-diffusion `sample_dpm_2`, after Lu et al. 2022, arXiv 2206.00927",
        aliases=("KDPM2",),
        diffusion=Form(
            diffusers="KDPM2DiscreteScheduler",
            options=_rule("dpm2", drop_penultimate=True),
            schedules=PLACED,
            automatic="karras",
            churn=True,
            scales_noise=True,
            note="Leaves out the last level before 0, as AUTOMATIC1111 does; the network sees the very midpoint, which"
            " diffusers rounds",
        ),
        order=2,
        accuracy=2,
    ),
    Sampler(
        name="DPM2 a",
        source="k-diffusion `sample_dpm_2_ancestral`",
        aliases=("DPM2 ancestral", "KDPM2 a", "KDPM2 ancestral"),
        diffusion=Form(
            diffusers="KDPM2AncestralDiscreteScheduler",
            options=_rule("dpm2_ancestral", drop_penultimate=True),
            schedules=PLACED,
            automatic="karras",
            eta=1.0,
            scales_noise=True,
            note="Leaves out the last level before 0, as AUTOMATIC1111 does",
        ),
        order=2,
        stochastic=True,
    ),
    Sampler(
        name="DPM++ 2M",
        source="Lu et al. 2022, arXiv 2211.01095, algorithm 2",
        aliases=("DPM multistep",),
        diffusion=Form(
            diffusers="DPMSolverMultistepScheduler",
            options=_rule("dpmpp_2m"),
            schedules=PLACED,
            automatic="karras",
            note="diffusers rounds the timesteps that the network is told to whole ones; here they are the levels' own",
        ),
        accuracy=2,
    ),
    Sampler(
        name="DPM++ SDE",
        source="k-diffusion `sample_dpmpp_sde`",
        aliases=("DPM SDE",),
        diffusion=Form(
            diffusers="DPMSolverSDEScheduler",
            options=_rule("dpmpp_sde"),
            schedules=PLACED,
            automatic="karras",
            eta=1.0,
            scales_noise=True,
            note=_BROWNIAN,
        ),
        order=2,
        stochastic=True,
    ),
    Sampler(
        name="DPM++ 2M SDE",
        source="k-diffusion `sample_dpmpp_2m_sde`, midpoint",
        diffusion=Form(
            options=_rule("dpmpp_2m_sde"),
            schedules=PLACED,
            automatic="exponential",
            eta=1.0,
            scales_noise=True,
            note=_BROWNIAN,
        ),
        stochastic=True,
    ),
    Sampler(
        name="DPM++ 2M SDE Heun",
        source="k-diffusion `sample_dpmpp_2m_sde`, heun",
        diffusion=Form(
            options=_rule("dpmpp_2m_sde_heun"),
            schedules=PLACED,
            automatic="exponential",
            eta=1.0,
            scales_noise=True,
            note=_BROWNIAN,
        ),
        stochastic=True,
    ),
    Sampler(
        name="DPM++ 3M SDE",
        source="k-diffusion `sample_dpmpp_3m_sde`",
        diffusion=Form(
            options=_rule("dpmpp_3m_sde", drop_penultimate=True),
            schedules=PLACED,
            automatic="exponential",
            eta=1.0,
            scales_noise=True,
            note=f"{_BROWNIAN}. Leaves out the last level before 0, as AUTOMATIC1111 does",
        ),
        stochastic=True,
    ),
    Sampler(
        name="DPM++ 2S a",
        source="k-diffusion `sample_dpmpp_2s_ancestral`",
        aliases=("DPM++ 2S ancestral", "DPM++ 1S"),
        diffusion=Form(
            options=_rule("dpmpp_2s_ancestral"), schedules=PLACED, automatic="karras", eta=1.0, scales_noise=True
        ),
        order=2,
        stochastic=True,
    ),
    Sampler(
        name="DDIM",
        source="Song et al. 2020, arXiv 2010.02502, equation 12",
        diffusion=Form(
            diffusers="DDIMScheduler",
            options=_rule("euler_ancestral", placement="leading", variance_preserving=True, ends_clean=False),
            schedules=("sgm-uniform",),
            eta=0.0,
            note="Steps at timesteps 1, 1 + 1000/n, … and ends at the cleanest trained level, as published; on other"
            " levels with eta 0 it would be Euler",
        ),
        accuracy=1,
    ),
    Sampler(
        name="DDPM",
        source="Ho et al. 2020, arXiv 2006.11239, equations 6 and 7, with the smaller variance",
        diffusion=Form(
            diffusers="DDPMScheduler",
            options=_rule("euler_ancestral", placement="leading", variance_preserving=True, eta=1.0),
            note="Steps as DDIM, ends at level 0; on other levels it would be Euler a",
        ),
        stochastic=True,
    ),
    Sampler(
        name="PLMS",
        source="Liu et al. 2022, arXiv 2202.09778, equation 12, begun as in latent-diffusion",
        aliases=("PNDM",),
        diffusion=Form(
            diffusers="PNDMScheduler",
            options=_rule("plms", placement="leading", variance_preserving=True, ends_clean=False),
            note="Steps as DDIM; the first step makes two network calls",
        ),
        accuracy=2,
    ),
    Sampler(
        name="UniPC",
        source="Zhao et al. 2023, arXiv 2302.04867, UniPC-3 with B1(h)",
        diffusion=Form(
            diffusers="UniPCMultistepScheduler",
            options=_rule("unipc"),
            schedules=PLACED,
            note="Ends at level 0, AUTOMATIC1111's at the cleanest trained one; diffusers by default is UniPC-2 with"
            " B2(h) on whole timesteps, and with B1(h) gives NaN at level 0",
        ),
        accuracy=3,
    ),
    Sampler(
        name="DEIS",
        source="Zhang & Chen 2022, arXiv 2204.13902, order 3, polynomials in log sigma as in diffusers",
        diffusion=Form(
            diffusers="DEISMultistepScheduler",
            options=_rule("deis"),
            schedules=PLACED,
            note="Ends at level 0, diffusers at the cleanest trained one, by default of order 2 and on whole timesteps",
        ),
        accuracy=2,
    ),
    Sampler(
        name="LCM",
        source="Luo et al. 2023, arXiv 2310.04378, algorithm 3",
        diffusion=Form(
            scheduler="diffusers:LCMScheduler",
            diffusers="LCMScheduler",
            note="For models distilled for it; steps among those of the distillation",
        ),
        stochastic=True,
    ),
    Sampler(
        name="TCD",
        source="Zheng et al. 2024, arXiv 2402.19159, algorithm 4; eta is its gamma",
        diffusion=Form(
            scheduler="gesso.engine.samplers.consistency:TrajectoryScheduler",
            diffusers="TCDScheduler",
            eta=0.3,
            note="For models distilled for it; steps among those of the distillation",
        ),
        stochastic=True,
    ),
)
SAMPLERS: Mapping[str, Sampler] = MappingProxyType({sampler.name: sampler for sampler in _SAMPLERS})


def resolve_sampler(
    name: str | None, schedule: str | None, *, flow: bool, scheduler_class: str | None = None
) -> tuple[str, str]:
    """The canonical names of what was asked: `("DPM++ 2M", "karras")`. `DPM++ 2M Karras` asks for both at once.

    Args:
        name: a name of the table, of AUTOMATIC1111 or of diffusers, in any case; `None` is the model's own scheduler.
        schedule: likewise; `None` is automatic.
        flow: whether the model is a rectified flow (SD3, Flux) and not a diffusion model.
        scheduler_class: class name of the model's own scheduler, whose schedules can be asked for without a sampler.

    Raises:
        UnknownNameError: no sampler or schedule of that name.
        InputError: a sampler of the other kind of model, or a pair that does not exist.
    """
    sampler, form, suffix = _find(name or DEFAULT, flow=flow)
    asked = _find_schedule(schedule or AUTOMATIC)
    if AUTOMATIC not in (asked, suffix) and asked != suffix:
        raise InputError(
            f"Sampler `{name}` asks for schedule `{suffix}`, and `{asked}` was asked for besides",
            hint="leave one of the two out",
        )
    chosen = suffix if asked == AUTOMATIC else asked
    if sampler is None:
        known = _OWN_SCHEDULES.get(scheduler_class or "", ())
        return DEFAULT, _checked(chosen, known, f"the model's own scheduler, `{scheduler_class or 'unknown'}`")
    assert form is not None
    if chosen == AUTOMATIC:
        return sampler.name, form.automatic
    return sampler.name, _checked(chosen, form.schedules, f"sampler `{sampler.name}`")


def take_apart(name: str, *, flow: bool) -> tuple[str, str]:
    """The canonical name of a sampler, and that of the schedule that `name` ends in: `automatic` if in none.

    Raises as `resolve_sampler` does.
    """
    sampler, _, suffix = _find(name, flow=flow)
    return DEFAULT if sampler is None else sampler.name, suffix


def names_for(*, flow: bool) -> list[str]:
    """The samplers of one kind of model, the model's own scheduler first."""
    return [DEFAULT, *(sampler.name for sampler in SAMPLERS.values() if sampler.form(flow=flow) is not None)]


def is_flow(scheduler_class: str, scheduler_config: Mapping[str, Any]) -> bool:
    """Whether a model is a rectified flow, told by its own scheduler."""
    return (
        scheduler_class.startswith("FlowMatch")
        or bool(scheduler_config.get("use_flow_sigmas"))
        or scheduler_config.get("prediction_type") == "flow_prediction"
    )


def resolve_chance(sampler: str, asked: Chance, given: frozenset[str], *, flow: bool) -> Chance:
    """The chance in the steps of a sampler (canonical name), nothing of it open.

    Args:
        asked: values; of those that were not given, the defaults.
        given: names of those that were asked for.

    Raises:
        InputError: one that the sampler does not take, or that would have no effect.
    """
    form = SAMPLERS[sampler].form(flow=flow) if sampler != DEFAULT else None
    for name in sorted(given):
        if not takes_chance(form, name):
            takers = [
                other.name for other in SAMPLERS.values() if (own := other.form(flow=flow)) and takes_chance(own, name)
            ]
            whose = f"sampler `{sampler}`" if form is not None else "the model's own scheduler"
            raise InputError(
                f"`{name}` has no effect on {whose}",
                hint=f"leave it out, or use {', '.join(takers)}" if takers else "leave it out",
            )
    if given & {"s_tmin", "s_tmax"} and not asked.s_churn:
        raise InputError("`s_tmin` and `s_tmax` have no effect without `s_churn`", hint="leave them out")
    if asked.s_tmax and asked.s_tmax < asked.s_tmin:
        raise InputError(
            f"`s_tmax` {asked.s_tmax:g} is below `s_tmin` {asked.s_tmin:g}", hint="0 as `s_tmax` is no limit"
        )
    eta = asked.eta if asked.eta is not None else (form.eta if form is not None else None)
    return replace(asked, eta=eta)


def takes_chance(form: Form | None, name: str) -> bool:
    """Whether a field of `Chance` has an effect on a form."""
    if form is None:
        return False
    takes = {"eta": form.eta is not None, "s_noise": form.scales_noise, "sgm_noise_multiplier": form.scales_start}
    return takes.get(name, form.churn)


def check_steps(sampler: str, steps: int, *, scheduler_class: str, scheduler_config: Mapping[str, Any]) -> None:
    """Raise `InputError` if a sampler (canonical name) cannot take that many steps on the model of that scheduler."""
    flow = is_flow(scheduler_class, scheduler_config)
    form = SAMPLERS[sampler].form(flow=flow) if sampler != DEFAULT else None
    name = (form.diffusers or form.class_name) if form is not None else scheduler_class
    if name in {"LCMScheduler", "TCDScheduler"}:
        # The steps are chosen among those that the model was distilled with.
        most = _whole(scheduler_config.get("original_inference_steps"), LCM_ORIGINAL_STEPS)
    elif flow:
        if steps == 1 and scheduler_config.get("shift_terminal"):
            raise InputError(
                f"Asked for 1 step, sampler `{sampler}` takes 2 at least on this model",
                hint="its schedule is stretched between a first and a last step",
            )
        return
    else:
        # One less than there are noise levels: leading spacing begins at timestep 1.
        most = _whole(scheduler_config.get("num_train_timesteps"), 1000) - 1
    if steps > most:
        raise InputError(
            f"Asked for {steps} steps, sampler `{sampler}` takes {most} at most on this model",
            hint=f"steps are 1 to {most}",
        )


def _whole(value: Any, otherwise: int) -> int:
    """A number of a config; one that is damaged is for the scheduler itself to refuse."""
    return value if isinstance(value, int) and value > 0 else otherwise


def schedule_label(name: str) -> str:
    """`sgm-uniform` as AUTOMATIC1111 writes it: `SGM Uniform`."""
    return SCHEDULES[name].label if name in SCHEDULES else name


def _squashed(name: str) -> str:
    """What two spellings have in common: no case, spaces, `_`, `-`; `dpmpp` is `dpm++`; old names begin with `k_`."""
    words = re.sub(r"[\s_-]+", " ", name.casefold()).strip()
    return words.removeprefix("k ").replace(" ", "").replace("dpmpp", "dpm++")


def _endings() -> Iterator[tuple[str, str]]:
    """Every spelling of a schedule, with its canonical name."""
    for schedule in SCHEDULES.values():
        for spelling in (schedule.name, schedule.label, *schedule.aliases):
            yield _squashed(spelling), schedule.name


def _find(name: str, *, flow: bool) -> tuple[Sampler | None, Form | None, str]:
    """The sampler, its form for the kind of model, and the schedule that the name ends in."""
    words = _squashed(name)
    cuts = [(words, AUTOMATIC), *((words.removesuffix(end), which) for end, which in _endings() if words.endswith(end))]
    for stem, schedule in cuts:
        if stem in {"", DEFAULT, AUTOMATIC, "none"}:
            return None, None, schedule
        for sampler in SAMPLERS.values():
            shared = (sampler.name, *sampler.aliases, *(sampler.diffusion.names() if sampler.diffusion else ()))
            own = sampler.flow.names() if sampler.flow else ()
            form = sampler.form(flow=flow)
            if stem in map(_squashed, shared) or stem in map(_squashed, own):
                if form is None or (not flow and stem not in map(_squashed, shared)):
                    raise _wrong_kind(name, flow=flow)
                return sampler, form, schedule
    raise UnknownNameError("sampler", name, [DEFAULT, *SAMPLERS])


def _wrong_kind(name: str, *, flow: bool) -> InputError:
    needed, found = ("diffusion models", "a rectified flow") if flow else ("rectified flows", "a diffusion model")
    return InputError(
        f"Sampler `{name}` is for {needed}, this model is {found}",
        hint=f"exist for it: {', '.join(names_for(flow=flow))}",
    )


def _find_schedule(name: str) -> str:
    words = _squashed(name)
    for spelling, schedule in _endings():
        if words == spelling:
            return schedule
    raise UnknownNameError("schedule", name, list(SCHEDULES))


def _checked(schedule: str, known: tuple[str, ...], asker: str) -> str:
    if schedule != AUTOMATIC and schedule not in known:
        raise InputError(
            f"Schedule `{schedule}` does not exist for {asker}", hint=f"exist for it: {', '.join((AUTOMATIC, *known))}"
        )
    return schedule
