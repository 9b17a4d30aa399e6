"""Building the scheduler of one picture from the table and the model's own scheduler config.

Two kinds of options meet in a diffusers config: what belongs to the *model* (its noise levels, what it predicts, its
shift) and what belongs to the *sampler*. The first are carried over, the second come from the table, so that no solver
order or Karras flag of the model's own scheduler leaks into the one asked for.
"""

import inspect
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import torch

from gesso.core.chance import Chance
from gesso.core.errors import InputError
from gesso.core.registry import load_dotted
from gesso.engine.samplers.table import (
    AUTOMATIC,
    DEFAULT,
    SAMPLERS,
    SCHEDULES,
    Form,
    is_flow,
    names_for,
)

NEUTRAL: Mapping[str, Any] = {
    "rescale_betas_zero_snr": False,
    "timestep_type": "discrete",
    "interpolation_type": "linear",
    "thresholding": False,
    "variance_type": None,
    "trained_betas": None,
    "use_dynamic_shifting": False,
    "invert_sigmas": False,
    "shift_terminal": None,
    "sigma_data": None,
}
"""Options of a model that mean nothing at these values; a scheduler that does not know one is refused at any other."""

MODEL_OPTIONS = frozenset(
    {
        *NEUTRAL,
        *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type"),
        *("sigma_min", "sigma_max", "lambda_min_clipped", "dynamic_thresholding_ratio", "sample_max_value"),
        *("original_inference_steps", "timestep_scaling"),
        *("shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type"),
    }
)
"""Options that belong to the model, whatever the sampler."""

SAMPLER_OPTIONS: Mapping[str, Any] = {
    # How the SD pipeline wants it; only leading spacing reads it.
    "steps_offset": 1,
    # Latents have no range to be clipped to; the DDIM class clips unless told.
    "clip_sample": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "euler_at_final": False,
    "timestep_spacing": "linspace",
}
"""Options that belong to the sampler, at the values they have unless its row or the schedule says otherwise."""


def build(
    sampler: str,
    schedule: str,
    *,
    scheduler_class: type,
    scheduler_config: Mapping[str, Any],
    generator: torch.Generator | None,
    chance: Chance | None = None,
) -> Any:
    """A fresh scheduler for one picture, sharing nothing with any other.

    Args:
        sampler: canonical name, or `default` for the model's own scheduler.
        schedule: canonical name.
        scheduler_class: class of the model's own scheduler.
        scheduler_config: its config; left as it is.
        generator: of the picture; it seeds a class that would otherwise seed itself from the global state.
        chance: how much of it there is in the steps, if the sampler leaves that open; `None` is the sampler's own.

    Raises:
        InputError: the sampler's class does not know something that this model needs.
    """
    config = {name: value for name, value in deepcopy(dict(scheduler_config)).items() if not name.startswith("_")}
    if sampler == DEFAULT:
        chosen_class, options = scheduler_class, config
        if schedule != AUTOMATIC:
            options = {**config, **_unset_schedules(), **SCHEDULES[schedule].options}
    else:
        flow = is_flow(scheduler_class.__name__, config)
        form = SAMPLERS[sampler].form(flow=flow)
        assert form is not None, f"{sampler} was resolved for another kind of model"
        chosen_class = load_dotted(form.scheduler)
        options = _options(form, schedule, law=_law(scheduler_class, scheduler_config))
        options |= _chances(form, chance or Chance())
        _check_known(sampler, form, chosen_class, options, flow=flow)
    takes = _parameters(chosen_class)
    if "noise_sampler_seed" in takes and generator is not None:
        options = options | {"noise_sampler_seed": generator.initial_seed()}
    return chosen_class(**{name: deepcopy(value) for name, value in options.items() if name in takes})


def mend_timesteps(scheduler: Any, steps: int | None) -> None:
    """Put right what `set_timesteps` of diffusers leaves wrong. Called after it.

    - Trailing spacing by repeated subtraction overshoots for some numbers of steps (61, 103, 121, …): one timestep too
      many, below zero, which reads the noisiest level as the last one.
    - Where the first two steps round to one timestep (beta from 32 steps on), the class begins at the second and runs
      out of noise levels at the end. Told where to begin, it does not search.

    Args:
        steps: what the caller asked for; `None` if it gave its own timesteps or sigmas.
    """
    order = int(getattr(scheduler, "order", 1))
    if steps is not None and getattr(scheduler.config, "timestep_spacing", None) == "trailing":
        surplus = int((scheduler.timesteps < 0).sum())
        if surplus == order:
            scheduler.timesteps = scheduler.timesteps[:-surplus]
            scheduler.num_inference_steps = steps
            if hasattr(scheduler, "sigmas") and len(scheduler.sigmas) > len(scheduler.timesteps) + 1:
                scheduler.sigmas = torch.cat([scheduler.sigmas[: -1 - surplus], scheduler.sigmas[-1:]])
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)


def prepare_single_step(scheduler: Any) -> None:
    """Make a single step start at pure noise. Called before `set_timesteps(1)`.

    The spacings that count from the clean end would put the only step there, where there is nothing left to do.
    """
    if getattr(scheduler.config, "timestep_spacing", "trailing") != "trailing":
        scheduler.register_to_config(timestep_spacing="trailing")


def _options(form: Form, schedule: str, *, law: Mapping[str, Any]) -> dict[str, Any]:
    """All options of the sampler on a model, also those that its class may not take."""
    options = {**SAMPLER_OPTIONS, **form.options, **{name: law[name] for name in MODEL_OPTIONS & law.keys()}}
    if law.get("timestep_spacing") == "trailing":
        # Few-step models and those with zero terminal SNR were trained for the timesteps that trailing spacing visits.
        options["timestep_spacing"] = "trailing"
    if "shift" not in law and "flow_shift" in law:
        options["shift"] = law["flow_shift"]
    if schedule != AUTOMATIC:
        return {**options, **SCHEDULES[schedule].options, "placement": schedule}
    own = form.placement or "uniform"
    return {**options, "placement": "simple" if options["timestep_spacing"] == "trailing" else own}


def _chances(form: Form, chance: Chance) -> dict[str, Any]:
    """The constructor options for it, of a sampler that takes them."""
    names = ("s_churn", "s_tmin", "s_tmax", "s_noise")
    options: dict[str, Any] = {name: getattr(chance, name) for name in names}
    if chance.sgm_noise_multiplier:
        options["variance_preserving"] = True
    if form.eta is None:
        return options
    return {**options, "eta": form.eta if chance.eta is None else chance.eta}


def _law(scheduler_class: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's own scheduler says, with the defaults of its own class where the config is silent.

    Defaults differ: a config without betas means 0.0001 to 0.02 in one class and 0.00085 to 0.012 in another.
    """
    silent = set(config.get("_use_default_values", ()))
    said = {name: value for name, value in config.items() if name not in silent}
    return {**_parameters(scheduler_class), **said}


@cache
def _parameters(scheduler_class: type) -> Mapping[str, Any]:
    """What the constructor takes, with its defaults."""
    _, *parameters = inspect.signature(scheduler_class.__init__).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def _unset_schedules() -> dict[str, Any]:
    return {name: value for name, value in SAMPLER_OPTIONS.items() if name.startswith("use_") and "flow" not in name}


def _check_known(sampler: str, form: Form, chosen_class: type, options: Mapping[str, Any], *, flow: bool) -> None:
    """Fail closed where the class would silently drop something that the model depends on."""
    takes = _parameters(chosen_class)
    hint = f"try {', '.join(name for name in names_for(flow=flow) if name != sampler)}"
    for name, neutral in NEUTRAL.items():
        value = options.get(name, neutral)
        if name == "variance_type" and not str(value).startswith("learned"):
            continue  # only a learned variance is something that the network puts out
        if name not in takes and value != neutral:
            raise InputError(
                f"This model needs `{name}={value}`, which sampler `{sampler}` ({chosen_class.__name__}) does not know",
                hint=hint,
            )
    prediction = options.get("prediction_type", "flow_prediction" if flow else "epsilon")
    if prediction not in form.predictions:
        raise InputError(
            f"This model predicts `{prediction}`, which sampler `{sampler}` does not understand", hint=hint
        )
