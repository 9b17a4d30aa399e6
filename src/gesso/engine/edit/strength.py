"""How much of a picture may change."""

from gesso.core.requests import PromptDialect, ResolvedImageRequest


def steps_made(steps: int, strength: float, *, flow: bool) -> int:
    """How many of `steps` a pipeline makes that begins with a picture: pipelines of flows round up, others down."""
    return steps - int(max(steps - steps * strength, 0)) if flow else int(steps * strength)


def as_counted(resolved: ResolvedImageRequest, *, flow: bool) -> ResolvedImageRequest:
    """The request with the steps that its prompt counts by: those that are made.

    AUTOMATIC1111 counts up to all of them, though it makes only the first of that count; so does its dialect.
    """
    if resolved.image is None or resolved.dialect is PromptDialect.A1111:
        return resolved
    return resolved.model_copy(update={"steps": steps_made(resolved.steps, resolved.strength, flow=flow)})
