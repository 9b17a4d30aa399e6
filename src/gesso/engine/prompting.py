"""From the prompt of a request to arguments of its pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gesso.components.steering import Steering
from gesso.core.errors import InputError
from gesso.core.registry import load_dotted
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.conditioning.prompted import encode_prompts
from gesso.engine.facts import ModelFacts
from gesso.engine.hosted_model import HostedModel
from gesso.engine.inversions import AppliedInversions
from gesso.models.families import Role


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What the prompt of a request becomes; all its pictures share it."""

    arguments: Mapping[str, Any]
    """Of the pipeline."""
    steering: Mapping[str, Steering] = field(default_factory=dict[str, Steering])
    """What stands between the pipeline and its networks."""


def is_guided(resolved: ResolvedImageRequest, facts: ModelFacts) -> bool:
    """Whether the pipeline makes a second pass without the prompt.

    Where guidance is distilled, only true guidance, asked for by argument, is a second pass.
    """
    return facts.guided(resolved.guidance, resolved.arguments, resolved.negative_prompt)


def conditioning(model: HostedModel, resolved: ResolvedImageRequest, inversions: AppliedInversions) -> Conditioning:
    """Embeddings for families whose conditioning the engine computes, else the text itself.

    Raises:
        InputError: the pipeline tokenizes by itself and would cut the prompt.
    """
    family = model.description.family
    if family is None:
        return Conditioning(arguments=_texts(model, resolved))
    guided, worded = is_guided(resolved, model.facts), inversions.worded(model)
    encode = load_dotted(family.conditioning)
    arguments, steering = encode_prompts(worded, resolved, encode, guided=guided, places=family.prompt_places)
    denoisers = [name for name, role in family.components.items() if role is Role.DENOISER]
    return Conditioning(arguments=arguments, steering=dict.fromkeys(denoisers, steering) if steering else {})


def _texts(model: HostedModel, resolved: ResolvedImageRequest) -> dict[str, Any]:
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
