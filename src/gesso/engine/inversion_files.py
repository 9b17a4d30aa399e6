"""What must be known of the file of an embedding to decide on a request, without reading its vectors."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gesso.core.errors import InputError, ModelError
from gesso.core.requests import MAX_PROMPT_CHARACTERS, EmbeddingUse, ResolvedEmbedding
from gesso.engine.adapter_files import what_it_is
from gesso.engine.prompt_words import times_in
from gesso.models.adapters.find import EMBEDDING, AdapterPlace, check_digest, find_adapter, title_of
from gesso.models.headers.read import read_weights_header
from gesso.models.identity import Identities
from gesso.models.recognition.kinds import Kind
from gesso.models.recognition.recognise import recognise
from gesso.models.store import ModelStore


@dataclass(frozen=True, kw_only=True)
class InversionFacts:
    """Facts of one file.

    Attributes:
        reference: what it is found by again: its name, or its path if it was asked for by path.
        title: what people call it.
        widths: text encoder as the file calls it, "" where it is for one → values of a vector.
        token: the word that the file itself names.
        families: models that it is made for, as far as its header tells; empty if it does not.
        sure: whether it tells beyond a guess.
    """

    reference: str
    title: str
    path: Path
    sha256: str
    widths: Mapping[str, int]
    token: str | None = None
    families: tuple[str, ...] = ()
    sure: bool = False

    @property
    def made_for(self) -> str:
        """The families if they are known, else the widths."""
        widths = " and ".join(str(width) for width in self.widths.values())
        return " or ".join(self.families) or f"text encoders of width {widths}"


class InversionFiles:
    """Finds and describes embeddings. Safe to use from many threads."""

    def __init__(self, store: ModelStore, identities: Identities) -> None:
        self._store = store
        self._identities = identities

    def facts(self, use: EmbeddingUse | ResolvedEmbedding) -> InversionFacts:
        """Facts of the embedding that a request names.

        Raises:
            UnknownNameError: there is none.
            InputError: it is something else than an embedding, or another file than the digest says.
            ModelError: the file is damaged, or not to be trusted.
        """
        place = find_adapter(use.name, self._store, EMBEDDING)
        found = self._facts(place)
        check_digest(place, found.sha256, use.sha256, EMBEDDING)
        return found

    def named_in(self, texts: Iterable[str]) -> tuple[list[InversionFacts], list[ModelError]]:
        """Embeddings in folders named so whose names stand in the texts, and why some of them cannot be used."""
        whole = "\n".join(text for text in texts if len(text) <= MAX_PROMPT_CHARACTERS)  # longer ones are refused
        folded = whole.casefold()

        def named(path: str) -> bool:
            title = title_of(path)
            first = next(iter(title.casefold().split()), None)  # whether it stands there takes a hundred times as long
            return first is not None and first in folded and times_in(title, whole) > 0

        facts: list[InversionFacts] = []
        broken: list[ModelError] = []
        for file in self._store.files_named(Kind.TEXTUAL_INVERSION, named):
            if file.facts.problem is not None:
                broken.append(ModelError(file.facts.problem))
            elif file.facts.kind == Kind.TEXTUAL_INVERSION:
                facts.append(self._facts(AdapterPlace(name=file.name, path=file.path)))
        return facts, broken

    def _facts(self, place: AdapterPlace) -> InversionFacts:
        recognition = recognise(read_weights_header(place.path))
        if recognition.kind.value != Kind.TEXTUAL_INVERSION:
            lora = recognition.kind.value == Kind.LORA
            raise InputError(
                f"`{place.path}` is {what_it_is(recognition)}, not an embedding: {recognition.kind.evidence}",
                hint="name it with `--lora`" if lora else "`gesso models show FILE` tells what a file is",
            )
        family = recognition.family
        return InversionFacts(
            reference=place.name,
            title=place.title,
            path=place.path,
            sha256=self._identities.file_digest(place.path),
            widths=recognition.widths,
            token=recognition.token,
            families=recognition.families,
            sure=family is not None and not family.guess,
        )
