"""Which embeddings a request gets, at which words, and which it does not. Pure: no file is read here."""

from collections.abc import Iterator, Sequence

from gesso.core.errors import InputError
from gesso.core.requests import ImageRequest, ResolvedEmbedding
from gesso.engine.facts import ModelFacts
from gesso.engine.inversion_files import InversionFacts
from gesso.engine.prompt_words import times_in

MAX_EMBEDDINGS = 64


def resolve_embeddings(
    request: ImageRequest, facts: ModelFacts, asked: Sequence[InversionFacts], named: Sequence[InversionFacts]
) -> tuple[ResolvedEmbedding, ...]:
    """Those that were asked for, then those that fit of which the prompts hold the names.

    Args:
        asked: of each embedding of the request, in their order.
        named: embeddings whose names stand in the prompts.

    Raises:
        InputError: one that was asked for does not fit the model or, of a strict request, its word stands nowhere;
            a word means several.
    """
    if len(request.embeddings) > MAX_EMBEDDINGS:
        raise InputError(f"{len(request.embeddings)} embeddings were asked for", hint=f"use {MAX_EMBEDDINGS} at most")
    texts = (request.prompt, request.negative_prompt or "")
    chosen: dict[str, tuple[str, InversionFacts]] = {}
    for use, found in zip(request.embeddings, asked, strict=True):
        vectors_for(found, facts)
        word = use.word or _own_word(found, texts)
        if request.strict and not any(times_in(word, text) for text in texts):
            raise InputError(idle(found, word), hint="without `--strict` the picture is made without it")
        if word.casefold() in chosen:
            raise _two_of(word, chosen[word.casefold()][1], found)
        chosen[word.casefold()] = word, found
    settled, files = set(chosen), {found.sha256 for found in asked}
    for found in named:
        word = found.title
        if word.casefold() in settled or found.sha256 in files or misfit(found, facts) is not None:
            continue
        _, other = chosen.setdefault(word.casefold(), (word, found))
        if other.sha256 != found.sha256:
            raise _two_of(word, other, found)
    return tuple(
        ResolvedEmbedding(name=found.reference, word=word, sha256=found.sha256) for word, found in chosen.values()
    )


def _two_of(word: str, one: InversionFacts, other: InversionFacts) -> InputError:
    return InputError(
        f"`{word}` means two embeddings: `{one.path}`, `{other.path}`",
        hint="name the one that is meant with `--embedding PATH`, or give each a word: `--embedding PATH=WORD`",
    )


def vectors_for(found: InversionFacts, facts: ModelFacts) -> dict[str, str]:
    """Text encoder of the model → what the file calls it.

    Raises:
        InputError: the embedding does not fit.
    """
    problem = misfit(found, facts)
    if problem is not None:
        raise InputError(problem, hint="choose a model that it fits with `--model`, or another embedding")
    one = "" in found.widths
    return {network: "" if one else reader.called for network, reader in facts.text_readers.items()}


def misfit(found: InversionFacts, facts: ModelFacts) -> str | None:
    """Why an embedding does not fit a model; `None` if it does."""
    readers = facts.text_readers
    model = f"`{facts.name}` ({facts.family})"
    if not readers:
        return f"The embedding `{found.title}` fits {found.made_for}; {model} reads no embeddings"
    if found.sure and found.families and facts.family not in found.families:
        return f"The embedding `{found.title}` is made for {found.made_for}, `{facts.name}` is {facts.family}"
    if "" in found.widths and len(readers) > 1:
        return (
            f"The embedding `{found.title}` has vectors for one text encoder, {model} has {len(readers)}: it fits "
            f"{found.made_for}"
        )
    for network, reader in readers.items():
        width = found.widths.get("" if "" in found.widths else reader.called)
        if width != reader.width:
            has = f"vectors of width {width}" if width is not None else f"no vectors for `{reader.called}`"
            return (
                f"The embedding `{found.title}` has {has}, `{network}` of {model} reads {reader.width}: it fits "
                f"{found.made_for}"
            )
    return None


def passed_over(
    named: Sequence[InversionFacts], resolved: Sequence[ResolvedEmbedding], facts: ModelFacts
) -> Iterator[str]:
    """Of each embedding whose name stands in a prompt and that does not fit: that it is not used, and why.

    Another of the same name may have been used; then nothing was passed over.
    """
    used = {embedding.word.casefold() for embedding in resolved}
    for found in named:
        problem = misfit(found, facts)
        if problem is not None and found.title.casefold() not in used:
            yield f"`{found.title}` in the prompts is read as plain words. {problem}"


def idle(found: InversionFacts, word: str) -> str:
    """That an embedding which was asked for has no effect."""
    otherwise = f", nor does `{found.title}`" if word == found.token and word != found.title else ""
    return f"The embedding `{found.title}` is NOT USED: its word `{word}` stands in no prompt{otherwise}"


def _own_word(found: InversionFacts, texts: Sequence[str]) -> str:
    """The token that the file names, or the file's name where only that stands in a text."""
    if found.token is None:
        return found.title
    named = any(times_in(found.title, text) for text in texts)
    return found.title if named and not any(times_in(found.token, text) for text in texts) else found.token
