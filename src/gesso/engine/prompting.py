"""From the prompt of a request to arguments of its pipeline."""

from typing import Any

from gesso.core.errors import InputError
from gesso.core.registry import load_dotted
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.facts import ModelFacts
from gesso.engine.hosted_model import HostedModel
from gesso.engine.inversions import AppliedInversions


def is_guided(resolved: ResolvedImageRequest, facts: ModelFacts) -> bool:
    """Whether the pipeline makes a second pass without the prompt.

    Where guidance is distilled, only true guidance, asked for by argument, is a second pass.
    """
    if facts.distilled:
        return float(resolved.arguments.get("true_cfg_scale", 1.0)) > 1 and bool(resolved.negative_prompt)
    return resolved.guidance > facts.guided_above


def prompt_arguments(
    model: HostedModel, resolved: ResolvedImageRequest, inversions: AppliedInversions
) -> dict[str, Any]:
    """Embeddings for families whose conditioning the engine computes, else the text itself.

    Raises:
        InputError: the pipeline tokenizes by itself and would cut the prompt.
    """
    family = model.description.family
    if family is not None:
        encode = load_dotted(family.conditioning)
        return encode(
            inversions.worded(model),
            prompt=resolved.prompt,
            negative_prompt=resolved.negative_prompt,
            guided=is_guided(resolved, model.facts),
            clip_skip=resolved.clip_skip,
        )
    for words, text in (("prompt", resolved.prompt), ("negative prompt", resolved.negative_prompt)):
        _refuse_cutting(model, words, text)
    arguments: dict[str, Any] = {"prompt": resolved.prompt}
    if resolved.negative_prompt:
        arguments["negative_prompt"] = resolved.negative_prompt
    return arguments


def _refuse_cutting(model: HostedModel, words: str, text: str) -> None:
    for tokenizer in model.tokenizers().values():
        longest = min(tokenizer.model_max_length, model.max_prompt_tokens)
        tokens = len(tokenizer(text, verbose=False).input_ids)
        if tokens > longest:
            raise InputError(
                f"The {words} has {tokens} tokens, `{model.facts.pipeline}` reads at most {longest}",
                hint="shorten it, or use a model that reads longer ones",
            )
