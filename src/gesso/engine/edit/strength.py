"""How much of a picture may change."""

from gesso.core.requests import PromptDialect, ResolvedImageRequest


def steps_made(steps: int, strength: float, *, flow: bool) -> int:
    """How many of `steps` a pipeline makes that begins with a picture: pipelines of flows round up, others down."""
    return steps - int(max(steps - steps * strength, 0)) if flow else int(steps * strength)


def planned_steps(made: int, strength: float) -> int:
    """The schedule whose last `made` steps are made at a strength, as AUTOMATIC1111 and ComfyUI plan it."""
    return int(made / min(strength, 0.999))


def strength_making(made: int, planned: int, *, near: float, flow: bool) -> float:
    """The strength at which a pipeline makes the last `made` of `planned` steps; `near` if that does, or none."""
    half = -0.5 if flow else 0.5  # away from where the rounding of a pipeline turns
    shares = (near, made / planned, (made + half) / planned)
    return next((share for share in shares if steps_made(planned, share, flow=flow) == made), near)


def as_counted(resolved: ResolvedImageRequest, *, flow: bool) -> ResolvedImageRequest:
    """The request with the steps that its prompt counts by: those that are made.

    AUTOMATIC1111 counts up to all of them, though it makes only the first of that count; so does its dialect.
    """
    if resolved.image is None or resolved.dialect is PromptDialect.A1111:
        return resolved
    return resolved.model_copy(update={"steps": steps_made(resolved.steps, resolved.strength, flow=flow)})
