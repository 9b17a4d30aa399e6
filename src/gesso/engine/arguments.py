"""Arguments of a pipeline's own `__call__`: which of them a request may give, and whether a value is one of its kind.

A request is stored in pictures and sent between programs, so it holds what JSON can say. What a pipeline wants as a
tensor or a picture cannot be given, and is refused here instead of failing deep inside the pipeline.
"""

import inspect
import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import ConfigDict, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError

from gesso.core.errors import InputError
from gesso.engine.facts import ModelFacts

_SET_BY_ENGINE = MappingProxyType(
    {
        "prompt": "the prompt",
        "negative_prompt": "`negative_prompt`",
        "width": "`width`",
        "height": "`height`",
        "num_inference_steps": "`steps`",
        "guidance_scale": "`guidance`",
        "guidance_rescale": "`guidance_rescale`",
        "num_images_per_prompt": "`count`",
        "clip_skip": "`clip_skip`",
        "generator": "`seed`",
        "output_type": "`output_format`",
        "image": "`image`",
        "strength": "`strength`",
    }
)
"""Arguments that the engine gives, and the field of a request that stands for each."""
_SET_WITH_CONDITIONING = MappingProxyType(
    dict.fromkeys(("prompt_2", "prompt_3", "prompt_embeds", "pooled_prompt_embeds"), "the prompt")
    | {f"negative_{name}": "`negative_prompt`" for name in ("prompt_2", "prompt_3", "prompt_embeds")}
    | {"negative_pooled_prompt_embeds": "`negative_prompt`"}
)
"""The same, where the engine computes the conditioning."""
_NEVER = frozenset(
    {"return_dict", "callback", "callback_steps", "callback_on_step_end", "callback_on_step_end_tensor_inputs"}
)
_FOR_ADAPTERS = frozenset({"cross_attention_kwargs", "joint_attention_kwargs", "attention_kwargs"})
"""Pipelines drop what else is in these without a word."""

_MOST_NESTED = 32
_SHOWN_CHARACTERS = 60


def check_arguments(arguments: Mapping[str, Any], facts: ModelFacts) -> None:
    """Refuse what cannot be given.

    Raises:
        InputError: the pipeline takes no argument of that name, the engine gives it, it is no data, or its value is not
            of the kind that the pipeline says.
    """
    for name, value in arguments.items():
        _check_name(name, facts)
        problem = _problem(value)
        if problem is not None:
            raise InputError(
                f"The argument `{name}` holds {problem}", hint="numbers, texts, lists and objects can be given"
            )
        _fitted(name, value, facts)


def fitted_arguments(arguments: Mapping[str, Any], facts: ModelFacts) -> dict[str, Any]:
    """Checked arguments as the pipeline wants them: what it takes as a tuple is a list in JSON."""
    return {name: _fitted(name, value, facts) for name, value in arguments.items()}


def broken_character(text: str) -> str | None:
    """The first character of `text` that cannot be written as UTF-8, in words; `None` if all can be."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"U+{ord(text[error.start]):04X} at place {error.start}, which is half of a character"
    return None


def _check_name(name: str, facts: ModelFacts) -> None:
    set_here = _SET_BY_ENGINE | (_SET_WITH_CONDITIONING if facts.own_conditioning else {})
    set_here = {**set_here, facts.guidance_argument: "`guidance`"}
    if name in facts.without_effect:
        raise InputError(f"`{name}` has no effect: Gesso reads the prompt of `{facts.pipeline}`", hint="leave it out")
    if name in set_here:
        raise InputError(f"`{name}` is set by Gesso", hint=f"use {set_here[name]} instead")
    if name not in facts.arguments or name in _NEVER:
        hidden = set_here.keys() | _NEVER | _FOR_ADAPTERS
        offered = sorted(other for other, kind in facts.arguments.items() if other not in hidden and _is_data(kind))
        nearest = ", ".join(get_close_matches(name, offered, n=3) or offered)
        raise InputError(
            f"`{facts.pipeline}` takes no argument `{name}`", hint=f"it takes {nearest}" if nearest else "leave it out"
        )
    if name in _FOR_ADAPTERS:
        raise InputError(
            f"The argument `{name}` has no effect: it is for adapters, and none is loaded", hint="leave it out"
        )
    if not _is_data(facts.arguments[name]):
        raise InputError(
            f"`{name}` of `{facts.pipeline}` is `{_words(facts.arguments[name])}`, which a request cannot hold",
            hint="leave it out; a request holds numbers, texts, lists and objects, as JSON does",
        )


def _is_data(kind: Any) -> bool:
    """Whether something that JSON can say is of the kind that an annotation names."""
    origin, parts = get_origin(kind), [part for part in get_args(kind) if part is not Ellipsis]
    if origin in {Union, UnionType}:
        return any(_is_data(part) for part in parts)
    if origin in {list, tuple, dict}:
        return all(_is_data(part) for part in parts)
    return kind in {Any, inspect.Parameter.empty, str, int, float, bool, list, tuple, dict}


def _problem(value: Any, depth: int = 0) -> str | None:
    """What makes `value` something that JSON cannot say, in words."""
    match value:
        case None | bool() | int():
            return None
        case float():
            return None if math.isfinite(value) else f"`{value}`, which is no number"
        case str():
            return broken_character(value)
        case list() | tuple() | dict() if depth == _MOST_NESTED:
            return f"more than {_MOST_NESTED} lists or objects inside each other"
        case list() | tuple():
            parts = list(value)
        case dict():
            parts = [*value.keys(), *value.values()]
        case _:
            return f"a `{type(value).__name__}`"
    return next((problem for part in parts if (problem := _problem(part, depth + 1)) is not None), None)


def _fitted(name: str, value: Any, facts: ModelFacts) -> Any:
    kind = facts.arguments[name]
    adapter = _adapter(kind)
    if adapter is None:
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(
            f"`{name}` of `{facts.pipeline}` takes `{_words(kind)}`, found `{_shown(value)}`",
            hint=reason[:1].lower() + reason[1:],
        ) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any] | None:
    """What checks a value against an annotation; `None` where it says nothing that can be checked."""
    if kind is inspect.Parameter.empty:
        return None
    try:
        return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))
    except (PydanticUserError, PydanticUndefinedAnnotation):
        return None


def _words(kind: Any) -> str:
    return inspect.formatannotation(kind).replace("typing.", "").removesuffix(" | None")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
