"""How much of a picture may change."""


def steps_made(steps: int, strength: float, *, flow: bool) -> int:
    """How many of `steps` a pipeline makes that begins with a picture: pipelines of flows round up, others down."""
    return steps - int(max(steps - steps * strength, 0)) if flow else int(steps * strength)
