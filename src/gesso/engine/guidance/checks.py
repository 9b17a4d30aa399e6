"""Which requests about guidance make sense of a model."""

from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest
from gesso.engine.facts import ModelFacts

MAX_MIMIC_SCALE = 1000
_NOT_BOTH = ("cfg_normalization", "skip_guidance_layers")
"""Arguments of pipelines that look at the prediction of the prompt after it was put into the guided one."""


def check_guidance(request: ImageRequest, facts: ModelFacts, guidance: float) -> None:
    """Refuse what cannot be done, or would have no effect.

    Args:
        guidance: of the first pass.

    Raises:
        InputError: see the messages.
    """
    if request.hires is not None and request.hires.guidance is not None:
        # What acts in one pass is no mistake; that it does not in the other is told with the picture.
        guidance = max(guidance, request.hires.guidance)
    start, stop = request.guidance_start or 0.0, 1.0 if request.guidance_stop is None else request.guidance_stop
    if start >= stop:
        raise InputError(
            f"Guidance is asked for from {start:g} to {stop:g} of the steps",
            hint="shares lie between 0 and 1, the first below the second; guidance 1 is none at all",
        )
    if (start, stop) != (0, 1):
        _check_guided(request, facts, guidance, "an interval of guidance")
        if not facts.scheduler:
            raise InputError(
                f"`{facts.name}` ({facts.pipeline}) does not show its steps, so guidance is on for all or for none",
                hint="leave the interval out",
            )
    threshold = request.dynamic_thresholding
    if threshold is not None:
        for name, value, most in (
            ("mimic scale", threshold.mimic_scale, MAX_MIMIC_SCALE),
            ("percentile of dynamic thresholding", threshold.percentile, 1),
        ):
            if not 0 <= value <= most:
                raise InputError(f"Asked for {name} {value:g}", hint=f"{name} is 0 to {most}")
        if request.guidance_rescale:
            raise InputError(
                "Dynamic thresholding and a guidance rescale are two cures of the same thing", hint="leave one out"
            )
        _check_changed(request, facts, guidance, "dynamic thresholding")
    if request.guidance_rescale and "guidance_rescale" not in facts.accepts:
        _check_changed(request, facts, guidance, "a guidance rescale")


def _check_changed(request: ImageRequest, facts: ModelFacts, guidance: float, words: str) -> None:
    _check_guided(request, facts, guidance, words)
    if facts.keeps_norm:
        raise InputError(
            f"`{facts.pipeline}` normalises guidance itself, so {words} would have no effect", hint="leave it out"
        )
    for name in _NOT_BOTH:
        if request.arguments.get(name):
            raise InputError(f"The argument `{name}` and {words} do not go together", hint="leave one out")


def _check_guided(request: ImageRequest, facts: ModelFacts, guidance: float, words: str) -> None:
    if facts.guided_calls is None:
        raise InputError(f"`{facts.name}` ({facts.pipeline}) does not take {words}", hint="leave it out")
    if facts.guided(guidance, request.arguments, request.negative_prompt or ""):
        return
    if facts.distilled:
        otherwise = ", or add a negative prompt and the argument `true_cfg_scale` above 1"
        raise InputError(
            f"The guidance of `{facts.name}` is distilled, so {words} has no effect",
            hint=f"leave it out{otherwise if 'true_cfg_scale' in facts.accepts else ''}",
        )
    raise InputError(
        f"Guidance {guidance:g} is none, so {words} has no effect",
        hint=f"use guidance above {facts.guided_above:g}, or leave it out",
    )
