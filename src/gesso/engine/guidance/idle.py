"""What a request says of guidance and one of its passes has none of."""

from collections.abc import Iterator

from gesso.core.requests import ResolvedImageRequest
from gesso.engine.facts import ModelFacts


def idle_guidance(resolved: ResolvedImageRequest, facts: ModelFacts) -> Iterator[str]:
    """What has no effect in a pass because its guidance is none, a line each."""
    passes = {"": resolved}
    if resolved.hires is not None:
        passes = {" in the first pass": resolved, " in the second pass": resolved.second()}
    for where, one in passes.items():
        if one.guidance > facts.guided_above or "true_cfg_scale" in one.arguments:
            continue
        asked = {
            "The negative prompt": one.negative_prompt,
            "The guidance rescale": one.guidance_rescale,
            "The interval of guidance": (one.guidance_start, one.guidance_stop) != (0, 1),
            "Dynamic thresholding": one.dynamic_thresholding,
        }
        for words, said in asked.items():
            if said:
                yield f"{words} has no effect{where} at guidance {one.guidance:g}"
