"""What a request says of guidance and one of its passes has none of."""

from collections.abc import Iterator

from gesso.core.requests import ResolvedImageRequest
from gesso.engine.edit.strength import steps_made
from gesso.engine.facts import ModelFacts
from gesso.engine.guidance.interval import Interval
from gesso.engine.guidance.steering import guidance_scale
from gesso.engine.prompting import is_guided


def idle_guidance(resolved: ResolvedImageRequest, facts: ModelFacts) -> Iterator[str]:
    """What has no effect in a pass, because its guidance is none or its own values say so, a line each."""
    first = steps_made(resolved.steps, resolved.strength, flow=facts.flow)  # at strength 1 all of them
    passes = {"": (resolved, first)}
    if resolved.hires is not None:
        second = resolved.second(), resolved.hires.steps
        passes = {" in the first pass": (resolved, first), " in the second pass": second}
    for where, (one, made) in passes.items():
        if is_guided(one, facts):
            yield from _idle_values(one, facts, where, made)
        if one.guidance > facts.guided_above or "true_cfg_scale" in one.arguments:
            continue
        asked = {
            "The negative prompt": one.negative_prompt,
            "The guidance rescale": one.guidance_rescale,
            "The interval of guidance": not Interval.of(one).whole,
            "Dynamic thresholding": one.dynamic_thresholding,
        }
        for words, said in asked.items():
            if said:
                yield f"{words} has no effect{where} at guidance {one.guidance:g}"


def _idle_values(one: ResolvedImageRequest, facts: ModelFacts, where: str, made: int) -> Iterator[str]:
    interval = Interval.of(one)
    if not any(interval.holds(done / made) for done in range(made)):
        yield f"Guidance acts{where} at no step: none of {made} begins between {interval.start:g} and {interval.stop:g}"
    threshold = one.dynamic_thresholding
    if threshold is not None and threshold.mimic_scale >= (scale := guidance_scale(one, facts)):
        yield (
            f"Dynamic thresholding has no effect{where}: the mimic scale {threshold.mimic_scale:g} is no milder than "
            f"guidance {scale:g}"
        )
