"""The networks that a prompt names become adapters of its request."""

from dataclasses import dataclass

from gesso.core.errors import InputError, UnknownNameError
from gesso.core.requests import ImageRequest, PromptDialect
from gesso.engine.adapter_files import AdapterFacts, AdapterFiles
from gesso.engine.facts import ModelFacts
from gesso.engine.prompt.networks import LORA_KINDS, NamedNetworks, take_networks
from gesso.engine.resolve import check_texts, dialect_of


@dataclass(frozen=True, kw_only=True)
class Named:
    """A request without networks in its prompt.

    Attributes:
        request: with the adapters that the prompt names after its own.
        adapters: facts of those, in their order.
        missing: tags of networks that are not here, or of kinds that are not applied.
    """

    request: ImageRequest
    adapters: tuple[AdapterFacts, ...] = ()
    missing: tuple[str, ...] = ()


def named_networks(request: ImageRequest, facts: ModelFacts, files: AdapterFiles) -> Named:
    """Take the networks out of the prompt of a request.

    Raises:
        InputError: one is not here, or of a kind that is not applied, and the dialect is Gesso's own; in any dialect,
            a file cannot be used as an adapter, or the prompt of the second pass names one that the first does not.
    """
    check_texts(request, facts)
    dialect = dialect_of(request, facts)
    _check_negative(request, dialect)
    found = take_networks(request.prompt, dialect)
    request = _with_second(request, found, dialect)
    if found.prompt == request.prompt:
        return Named(request=request)
    strict = dialect is not PromptDialect.A1111
    if found.unknown and strict:
        kinds = " and ".join(f"`<{kind}:…>`" for kind in sorted(LORA_KINDS))
        raise InputError(f"`{found.unknown[0]}` in the prompt is no network that is applied", hint=f"{kinds} are")
    missing = list(found.unknown)
    uses = [*request.adapters]
    adapters: list[AdapterFacts] = []
    for tag, use in found.adapters:
        try:
            adapters.append(files.facts(use))
        except UnknownNameError:
            if strict:
                raise
            missing.append(tag)
        else:
            uses.append(use)
    changed = request.model_copy(update={"prompt": found.prompt, "adapters": tuple(uses)})
    return Named(request=changed, adapters=tuple(adapters), missing=tuple(missing))


def _check_negative(request: ImageRequest, dialect: PromptDialect) -> None:
    """There a network is words, as AUTOMATIC1111 has it; in Gesso's own dialect nobody shall hope for it in vain."""
    if dialect is not PromptDialect.GESSO:
        return
    second = None if request.hires is None else request.hires.negative_prompt
    for text in (request.negative_prompt, second):
        named = take_networks(text or "", dialect)
        tags = [*(tag for tag, _ in named.adapters), *named.unknown]
        if tags:
            raise InputError(
                f"`{tags[0]}` in the negative prompt has no effect", hint="networks are named in the prompt"
            )


def _with_second(request: ImageRequest, first: NamedNetworks, dialect: PromptDialect) -> ImageRequest:
    """Networks of the first prompt hold for the second pass too, whose prompt may name them once more."""
    hires = request.hires
    if hires is None or hires.prompt is None:
        return request
    second = take_networks(hires.prompt, dialect)
    known = {tag for tag, _ in first.adapters} | {*first.unknown}
    for tag in (*(tag for tag, _ in second.adapters), *second.unknown):
        if tag not in known:
            raise InputError(
                f"The prompt of the second pass names a network that the first does not: `{tag}`",
                hint="name it in the prompt of the first: it holds for both",
            )
    return request.model_copy(update={"hires": hires.model_copy(update={"prompt": second.prompt})})
