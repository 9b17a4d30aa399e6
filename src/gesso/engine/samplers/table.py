"""Samplers and schedules as data: names, aliases, which diffusers class runs them, and which pairs exist.

A *sampler* is the rule that takes one step; a *schedule* says at which noise levels the steps are taken. Names and
automatic schedules follow AUTOMATIC1111 1.10, so that a name carried over means the same there and here. A new sampler
is a new row of `SAMPLERS`. Class names are strings: importing this module imports nothing heavy.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gesso.core.errors import InputError, UnknownNameError

DEFAULT = "default"
"""The scheduler that the model came with."""
AUTOMATIC = "automatic"
"""The sampler's own schedule; where it has none, the model's spacing."""

LCM_ORIGINAL_STEPS = 50
"""Steps of the distillation of the published consistency models, of which a run takes some."""

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Where the steps are placed. `options` are constructor options of a diffusers class."""

    name: str
    label: str
    """As AUTOMATIC1111 writes it into pictures."""
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a sampler runs on one kind of model: on a diffusion model, or on a rectified flow."""

    scheduler: str
    """Dotted name of the class, `diffusers:EulerDiscreteScheduler`."""
    aliases: tuple[str, ...] = ()
    """Names that mean this form only."""
    options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)
    """Constructor options that make the class this sampler; everything about the model comes from its own config."""
    schedules: tuple[str, ...] = ()
    """Schedules that the class really does, besides `automatic`."""
    automatic: str = AUTOMATIC
    """What `automatic` stands for."""
    predictions: frozenset[str] = frozenset({"epsilon", "v_prediction", "sample"})
    """What a network may predict for the class to understand it."""

    @property
    def class_name(self) -> str:
        """`EulerDiscreteScheduler`."""
        return self.scheduler.rpartition(":")[2]

    def names(self) -> Iterator[str]:
        """Every name that means this form only."""
        yield from (self.class_name, self.class_name.removesuffix("Scheduler"), *self.aliases)


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
    stochastic: bool = False
    """Draws noise at every step, from the picture's own generator."""

    def form(self, *, flow: bool) -> Form | None:
        """The form for rectified flows or for diffusion models, if there is one."""
        return self.flow if flow else self.diffusion

    def forms(self) -> Iterator[Form]:
        """Every form it has."""
        return (form for form in (self.diffusion, self.flow) if form is not None)


_SCHEDULES = (
    Schedule(name=AUTOMATIC, label="Automatic", aliases=("auto", "default", "none")),
    # Timesteps evenly from the noisiest to the cleanest that the model was trained on.
    Schedule(name="uniform", label="Uniform", options={"timestep_spacing": "linspace"}),
    # Karras et al. 2022 (arXiv 2206.00364), equation 5, with rho = 7. `linspace` makes the range the model's whole one.
    Schedule(
        name="karras",
        label="Karras",
        aliases=("ka",),
        options={"use_karras_sigmas": True, "timestep_spacing": "linspace"},
    ),
    Schedule(
        name="exponential",
        label="Exponential",
        options={"use_exponential_sigmas": True, "timestep_spacing": "linspace"},
    ),
    # Lin et al. 2023 (arXiv 2305.08891), table 2, "trailing".
    Schedule(name="sgm-uniform", label="SGM Uniform", options={"timestep_spacing": "trailing"}),
    # Lee et al. 2024 (arXiv 2407.12173), quantiles of Beta(0.6, 0.6).
    Schedule(name="beta", label="Beta", options={"use_beta_sigmas": True, "timestep_spacing": "linspace"}),
)
SCHEDULES: Mapping[str, Schedule] = MappingProxyType({schedule.name: schedule for schedule in _SCHEDULES})

SPACINGS = ("uniform", "sgm-uniform")
SIGMAS = ("karras", "exponential", "beta")

_SAMPLERS = (
    Sampler(
        name="Euler",
        source="Karras et al. 2022, arXiv 2206.00364, algorithm 2 without churn",
        diffusion=Form(scheduler="diffusers:EulerDiscreteScheduler", schedules=SPACINGS + SIGMAS),
        flow=Form(
            scheduler="diffusers:FlowMatchEulerDiscreteScheduler",
            aliases=("Flow-match Euler", "Euler flow-match"),
            options={"stochastic_sampling": False},
            schedules=SIGMAS,
            predictions=frozenset({"flow_prediction"}),
        ),
    ),
    Sampler(
        name="Euler a",
        source="k-diffusion `sample_euler_ancestral`, eta 1",
        aliases=("Euler ancestral",),
        diffusion=Form(
            scheduler="diffusers:EulerAncestralDiscreteScheduler",
            schedules=SPACINGS,
            predictions=frozenset({"epsilon", "v_prediction"}),
        ),
        stochastic=True,
    ),
    Sampler(
        name="Heun",
        source="Karras et al. 2022, arXiv 2206.00364, algorithm 2",
        diffusion=Form(scheduler="diffusers:HeunDiscreteScheduler", schedules=SPACINGS + SIGMAS),
        order=2,
    ),
    Sampler(
        name="DPM++ 2M",
        source="Lu et al. 2022, arXiv 2211.01095, algorithm 2",
        aliases=("DPM multistep",),
        diffusion=Form(
            scheduler="diffusers:DPMSolverMultistepScheduler",
            options={"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"},
            schedules=SPACINGS + SIGMAS,
            automatic="karras",
        ),
    ),
    Sampler(
        name="DDIM",
        source="Song et al. 2020, arXiv 2010.02502, equation 12 with eta 0",
        # The class steps from t to t - N/steps whatever the spacing says, so `linspace` would not meet its own steps.
        diffusion=Form(
            scheduler="diffusers:DDIMScheduler",
            options={"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False},
            schedules=("sgm-uniform",),
        ),
    ),
    Sampler(
        name="UniPC",
        source="Zhao et al. 2023, arXiv 2302.04867",
        # B2(h), not B1(h) = h: the last step goes to sigma 0, where h is infinite and B1 gives NaN.
        diffusion=Form(
            scheduler="diffusers:UniPCMultistepScheduler",
            options={"solver_order": 2, "solver_type": "bh2", "predict_x0": True, "disable_corrector": []},
            schedules=SPACINGS + SIGMAS,
        ),
    ),
    Sampler(
        name="LCM",
        source="Luo et al. 2023, arXiv 2310.04378, algorithm 3",
        diffusion=Form(scheduler="diffusers:LCMScheduler"),
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
        known = next((form.schedules for form in _forms() if form.class_name == scheduler_class), ())
        return DEFAULT, _checked(chosen, known, f"the model's own scheduler, `{scheduler_class or 'unknown'}`")
    assert form is not None
    if chosen == AUTOMATIC:
        return sampler.name, form.automatic
    return sampler.name, _checked(chosen, form.schedules, f"sampler `{sampler.name}`")


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


def check_steps(sampler: str, steps: int, *, scheduler_class: str, scheduler_config: Mapping[str, Any]) -> None:
    """Raise `InputError` if a sampler (canonical name) cannot take that many steps on the model of that scheduler."""
    flow = is_flow(scheduler_class, scheduler_config)
    form = SAMPLERS[sampler].form(flow=flow) if sampler != DEFAULT else None
    if (form.class_name if form is not None else scheduler_class) == "LCMScheduler":
        # The steps are chosen among those that the model was distilled with.
        most = _whole(scheduler_config.get("original_inference_steps"), LCM_ORIGINAL_STEPS)
    elif flow:
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


def _forms() -> Iterator[Form]:
    return (form for sampler in SAMPLERS.values() for form in sampler.forms())


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
