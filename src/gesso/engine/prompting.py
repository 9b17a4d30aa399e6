"""From the prompt of a request to arguments of its pipeline."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from gesso.components.state import CallState
from gesso.components.tree import tensors
from gesso.core.errors import InputError
from gesso.core.registry import load_dotted
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.adapter_checks import is_text_encoder
from gesso.engine.conditioning.prompted import PromptSteering, encode_prompts
from gesso.engine.facts import ModelFacts
from gesso.engine.hosted_model import HostedModel
from gesso.engine.inversions import AppliedInversions
from gesso.engine.pictures import pixels_sha256
from gesso.engine.prompt.reading import read_prompts
from gesso.models.families import Role


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What the prompt of a request becomes; all its pictures share it."""

    arguments: Mapping[str, Any]
    """Of the pipeline."""
    steering: Mapping[str, PromptSteering] = field(default_factory=dict[str, PromptSteering])
    """What stands between the pipeline and its networks."""

    @property
    def size_bytes(self) -> int:
        """Of its tensors."""
        texts = [each.texts for each in self.steering.values()]
        held = tensors([dict(self.arguments), *([dict(text) for text in every] for every in texts)])
        return sum(tensor.numel() * tensor.element_size() for tensor in held)


def text_key(
    resolved: ResolvedImageRequest,
    states: Mapping[str, tuple[CallState, ...]],
    *,
    guided: bool,
    image: Image.Image | None = None,
) -> Hashable:
    """All that decides what the text encoders of a model make of the prompts of a request.

    Args:
        states: of its components; equal ones are of the same adapters and embeddings at the same weights.
        image: what they read beside the words.
    """
    reading = read_prompts(resolved.prompt, resolved.negative_prompt, dialect=resolved.dialect, steps=resolved.steps)
    changing = len(list(reading.moments())) > 1
    return (
        resolved.prompt,
        resolved.negative_prompt if guided else None,
        guided,
        resolved.dialect,
        resolved.weighting,
        resolved.clip_skip,
        resolved.exact,
        resolved.steps if changing else None,
        resolved.refiner is not None,
        tuple((embedding.word, embedding.sha256) for embedding in resolved.embeddings),
        None if image is None else (image.size, pixels_sha256(image)),
        frozenset((name, found) for name, found in states.items() if found and is_text_encoder(name.split(".")[0])),
    )


def lasting_text(resolved: ResolvedImageRequest, *, made: int = 0) -> Hashable:
    """What is read during all steps, to be compared with another; `None` where it changes.

    Args:
        made: steps of a pass before this one.
    """
    texts = (resolved.prompt, resolved.negative_prompt)
    reading = read_prompts(*texts, dialect=resolved.dialect, steps=resolved.steps, made=made)
    moments = list(reading.moments())
    if len(moments) > 1:
        return None
    return moments[0].parts, tuple(part.weight for part in reading.parts), moments[0].negative


def is_guided(resolved: ResolvedImageRequest, facts: ModelFacts) -> bool:
    """Whether the pipeline makes a second pass without the prompt.

    Where guidance is distilled, only true guidance, asked for by argument, is a second pass.
    """
    return facts.guided(resolved.guidance, resolved.arguments, resolved.negative_prompt)


def conditioning(
    model: HostedModel,
    resolved: ResolvedImageRequest,
    inversions: AppliedInversions,
    *,
    made: int = 0,
    image: Image.Image | None = None,
) -> Conditioning:
    """Embeddings for families whose conditioning the engine computes, else the text itself.

    Args:
        made: steps of a pass before this one, from which schedules of the prompt count on.
        image: what the text encoders read beside the words.

    Raises:
        InputError: the pipeline tokenizes by itself and would cut the prompt.
    """
    family = model.description.family
    if family is None:
        return Conditioning(arguments=_texts(model, resolved))
    guided, worded = is_guided(resolved, model.facts), inversions.worded(model)
    encode = load_dotted(family.conditioning)
    arguments, steering = encode_prompts(
        worded,
        resolved,
        encode,
        guided=guided,
        places=family.prompt_places,
        made=made,
        by_step=resolved.refiner is not None,  # who reads the texts changes, if not they
        image=image,
    )
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
