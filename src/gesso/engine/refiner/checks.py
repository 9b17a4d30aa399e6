"""Which model can go on with the pictures of another, and when."""

from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest, ResolvedHiresPass, ResolvedRefiner
from gesso.engine.edit.strength import steps_made
from gesso.engine.facts import ModelFacts, unet_channels
from gesso.models.families import Family, Role
from gesso.models.folder import ComponentDescription, ModelDescription
from gesso.models.tasks import Task, only_task
from gesso.models.vaes import latent_channels, latent_space, vae_of

_SAME = ("in_channels", "out_channels", "patch_size", "guidance_embeds")
"""What the configs of two denoisers must say alike, where they say it."""
_OTHERWISE = "name another refiner; one that shares the latents of the model fits, as SDXL's does SDXL"


def check_refiner(model: ModelDescription, refiner: ModelDescription) -> None:
    """Raises `InputError` for a refiner that cannot go on with the latents of `model`."""
    problem = _misfit(model, refiner)
    if problem is not None:
        raise InputError(f"`{refiner.name}` cannot refine pictures of `{model.name}`: {problem}", hint=_OTHERWISE)


def _misfit(model: ModelDescription, refiner: ModelDescription) -> str | None:
    for one in (model, refiner):
        if one.family is None:
            return f"how `{one.name}` ({one.pipeline_class}) reads prompts is known to its own pipeline alone"
    assert model.family is not None
    assert refiner.family is not None
    if (task := _only_task(model)) != (its_task := _only_task(refiner)):
        its, own_task = (name or "text-to-image" for name in (its_task, task))
        return f"it is made for {its}, not for {own_task}"
    if model.family.reads_picture:
        return "texts that are read beside a picture are read for one model alone"
    own, other = _denoiser(model), _denoiser(refiner)
    if own.name != other.name or own.class_name != other.class_name:
        return f"its denoiser is a `{other.class_name}`, not a `{own.class_name}`"
    for name in _SAME:
        if own.config.get(name) != other.config.get(name):
            return f"`{name}` of its denoiser is {other.config.get(name)}, not {own.config.get(name)}"
    if _read(model.family) != _read(refiner.family):
        return f"a {refiner.family.title} is given its texts in another way than a {model.family.title}"
    its, wanted = vae_of(refiner), vae_of(model)
    if its is not None and wanted is not None:
        if latent_channels(its) != latent_channels(wanted):
            return f"its latents have {latent_channels(its)} channels, not {latent_channels(wanted)}"
        if not latent_space(its).close_to(latent_space(wanted)):
            return (
                f"its latents are scaled by {latent_space(its).scale:g}, not {latent_space(wanted).scale:g}: they mean "
                "something else"
            )
    if _prediction(model) != _prediction(refiner):
        return f"it predicts {_prediction(refiner)}, not {_prediction(model)}"
    return None


def resolve_refiner(
    request: ImageRequest,
    facts: ModelFacts,
    refiner: ModelFacts | None,
    *,
    steps: int,
    strength: float,
    hires: ResolvedHiresPass | None,
) -> ResolvedRefiner | None:
    """The refiner of a request, if it asks for one.

    Args:
        refiner: facts of the model that it asks for.
        steps, strength: of the first pass.
        hires: the second one.

    Raises:
        InputError: it would have no effect.
    """
    use = request.refiner
    if use is None or refiner is None:
        return None
    if not 0 <= use.at < 1:
        raise InputError(
            f"The refiner is asked to go on after {use.at:g} of the steps",
            hint="shares are 0 (from the first step on) to below 1; 0.8 is usual",
        )
    begun = "strength" in facts.accepts and request.image is not None
    made = steps_made(steps, strength, flow=facts.flow) if begun else steps
    made = made if hires is None else hires.steps
    latest = (made - 1) / made
    if use.at > latest:
        raise InputError(
            f"The refiner goes on after {use.at:g} of the steps, and the last of {made} begins after {latest:.3g}",
            hint="let it begin sooner, or make more steps",
        )
    return ResolvedRefiner(model=refiner.reference, at=use.at)


def _denoiser(model: ModelDescription) -> ComponentDescription:
    return next(iter(model.with_role(Role.DENOISER)))


def _only_task(model: ModelDescription) -> Task | None:
    found = only_task(model.pipeline_class, unet_channels(model))
    return None if found is None else found[0]


def _read(family: Family) -> tuple[object, ...]:
    """How its denoiser is given texts, and asked with and without the prompt."""
    places = sorted(family.prompt_places.items())
    return (places, family.guided_calls, family.guided_above, family.guidance_embedded, family.negative_prompt)


def _prediction(model: ModelDescription) -> str:
    assert model.family is not None
    return "velocity" if model.family.flow else str(model.scheduler_config.get("prediction_type", "epsilon"))
