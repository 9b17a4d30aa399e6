"""Guidance that is another than the pipeline's own, at the seam of the denoiser.

A pipeline computes u + w (c - u) of the prediction u without the prompt and c with it. Given c twice, it computes c:
that is a step without guidance, for which u is not asked for. Given x twice, it computes x, whatever that was made of.
So every family takes the same few functions, and what is asked of the network goes through trace, journal and batches
as ever.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gesso.components.layouts import CallLayout
from gesso.components.scope import ImageScope
from gesso.components.steering import Run, Steering, TextSteering
from gesso.components.tree import mapped, tensors
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.facts import ModelFacts, facts_as
from gesso.engine.guidance.interval import Interval
from gesso.engine.guidance.rescale import rescaled
from gesso.engine.guidance.thresholding import thresholded
from gesso.engine.hosted_model import HostedModel
from gesso.engine.prompting import is_guided
from gesso.models.families import GuidedCalls

Guide = Callable[[Tensor, Tensor], Tensor]
"""(prediction without the prompt, with it) → what the sampler shall get. Each [1, ...]."""


def guidance_steering(
    steering: Mapping[str, TextSteering],
    resolved: ResolvedImageRequest,
    model: HostedModel,
    scope: ImageScope,
) -> Mapping[str, Steering]:
    """What stands between the pipeline and its networks, with the guidance of a request in front of it.

    Args:
        steering: of the prompts.
        scope: of the picture; a steering belongs to one.
    """
    facts, interval = facts_as(model.facts, resolved.pipeline), Interval.of(resolved)
    guide = _guide(resolved, facts)
    if facts.guided_calls is None or not is_guided(resolved, facts) or (interval.whole and guide is None):
        return steering
    scale = guidance_scale(resolved, facts)

    def around(inner: TextSteering | None) -> Steering:
        if facts.guided_calls is GuidedCalls.APART:
            return GuidedApart(interval, guide, scale, inner, scope)
        return GuidedTogether(interval, guide, facts.guided_calls is GuidedCalls.PROMPT_FIRST, inner, scope)

    return {**steering, **{name: around(steering.get(name)) for name in model.denoisers}}


def guidance_scale(resolved: ResolvedImageRequest, facts: ModelFacts) -> float:
    """w in u + w (c - u). Pipelines that begin to guide above 0 add the guidance to c instead."""
    if facts.distilled:
        return float(resolved.arguments["true_cfg_scale"])
    return resolved.guidance + 1 - facts.guided_above


def _guide(resolved: ResolvedImageRequest, facts: ModelFacts) -> Guide | None:
    scale = guidance_scale(resolved, facts) if is_guided(resolved, facts) else 1.0
    if (threshold := resolved.dynamic_thresholding) is not None:
        return partial(thresholded, scale=scale, mimic_scale=threshold.mimic_scale, percentile=threshold.percentile)
    if resolved.guidance_rescale and "guidance_rescale" not in facts.accepts:  # else the pipeline does it
        share = resolved.guidance_rescale
        return lambda negative, positive: rescaled(negative + scale * (positive - negative), positive, share)
    return None


class GuidedTogether:
    """Of pipelines that ask for both predictions in one call.

    Args:
        prompt_first: which row is that of the prompt.
        inner: steering behind this one.
    """

    def __init__(
        self, interval: Interval, guide: Guide | None, prompt_first: bool, inner: TextSteering | None, scope: ImageScope
    ) -> None:
        self._interval = interval
        self._guide = guide
        self._place = 0 if prompt_first else 1
        self._inner = inner
        self._scope = scope

    def __call__(self, arguments: Mapping[str, Any], run: Run, *, layout: CallLayout, step: int | None) -> Any:
        ask = _asking(self._inner, run, layout, step)
        rows = len(arguments[layout.rows[0]])
        if rows != 2:  # one that the pipeline itself makes without guidance
            return ask(arguments)
        guided = self._interval.holds(self._scope.share)
        if guided and self._guide is None:
            return ask(arguments)
        if not guided and not _is_composed(self._inner):
            output = ask(_row(arguments, layout, self._place))
            return mapped(output, lambda _, leaf: _twice(leaf, 0), whole=layout.listed_outputs)
        output = ask(arguments)
        made = self._guided if guided else lambda leaf: _twice(leaf, self._place)
        return mapped(output, lambda _, leaf: made(leaf), whole=layout.listed_outputs)

    def _guided(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor | list):
            return leaf
        assert self._guide is not None
        made = self._guide(*(_one(leaf, place) for place in (1 - self._place, self._place)))
        return torch.cat([made, made]) if isinstance(leaf, Tensor) else [made[0], made[0]]


class GuidedApart:
    """Of pipelines that ask first for the prediction of the prompt, then for that without it.

    Args:
        scale: of the pipeline's own guidance.
    """

    def __init__(
        self, interval: Interval, guide: Guide | None, scale: float, inner: TextSteering | None, scope: ImageScope
    ) -> None:
        self._interval = interval
        self._guide = guide
        self._scale = scale
        self._inner = inner
        self._scope = scope
        self._positive: Any = None

    def __call__(self, arguments: Mapping[str, Any], run: Run, *, layout: CallLayout, step: int | None) -> Any:
        ask = _asking(self._inner, run, layout, step)
        if self._positive is None:
            self._positive = ask(arguments)
            return self._positive
        positive, self._positive = self._positive, None
        if not self._interval.holds(self._scope.share):
            return positive
        negative = ask(arguments)
        if self._guide is None:
            return negative
        positives = iter(tensors(positive))

        def answer(_: str, leaf: Any) -> Any:
            return self._answer(leaf, next(positives)) if isinstance(leaf, Tensor) else leaf

        return mapped(negative, answer)

    def _answer(self, negative: Tensor, positive: Tensor) -> Tensor:
        """u of which the pipeline, which has c, makes x: u + w (c - u) = x."""
        assert self._guide is not None
        return (self._guide(negative, positive) - self._scale * positive) / (1 - self._scale)


def _asking(inner: TextSteering | None, run: Run, layout: CallLayout, step: int | None) -> Run:
    return run if inner is None else partial(inner, run=run, layout=layout, step=step)


def _is_composed(inner: TextSteering | None) -> bool:
    """Whether the prediction of the prompt is made of several, of which that without it is one."""
    return inner is not None and inner.composed


def _row(arguments: Mapping[str, Any], layout: CallLayout, place: int) -> dict[str, Any]:
    """The call for one of the two rows."""

    def take(path: str, leaf: Any) -> Any:
        return leaf[place : place + 1] if layout.has_each_row(path, leaf, 2) else leaf

    return {name: mapped(value, take, name, whole=layout.listed) for name, value in arguments.items()}


def _one(leaf: Tensor | list[Tensor], place: int) -> Tensor:
    """[1, ...]"""
    return leaf[place : place + 1] if isinstance(leaf, Tensor) else leaf[place][None]


def _twice(leaf: Any, place: int) -> Any:
    match leaf:
        case Tensor():
            return torch.cat([leaf[place : place + 1]] * 2)
        case list():
            return [leaf[place], leaf[place]]
        case _:
            return leaf
