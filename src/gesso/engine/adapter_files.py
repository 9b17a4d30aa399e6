"""What must be known of an adapter's file to decide on a request, without reading its weights."""

from dataclasses import dataclass
from pathlib import Path

from gesso.core.errors import InputError
from gesso.core.requests import AdapterUse, ResolvedAdapter
from gesso.models.adapters.few_step import Sampled, few_step
from gesso.models.adapters.find import ADAPTER, AdapterPlace, check_digest, find_adapter
from gesso.models.adapters.keys import take_apart
from gesso.models.headers.base import WeightsHeader
from gesso.models.headers.read import read_weights_header
from gesso.models.identity import Identities
from gesso.models.recognition.facts import makers_facts
from gesso.models.recognition.kinds import Kind, Recognition
from gesso.models.recognition.recognise import recognise
from gesso.models.store import ModelStore


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """Facts of one adapter file.

    Attributes:
        reference: what it is found by again: its name, or its path if it was asked for by path.
        title: what people call it.
        recognition: what its header tells, above all which families it is made for.
        sampled: how it wants to be sampled, of one that makes a model need few steps.
    """

    reference: str
    title: str
    path: Path
    sha256: str
    recognition: Recognition
    sampled: Sampled | None = None

    @property
    def made_for(self) -> str:
        """Empty if the header does not tell."""
        return " or ".join(self.recognition.families)


class AdapterFiles:
    """Finds and describes adapters. Safe to use from many threads."""

    def __init__(self, store: ModelStore, identities: Identities) -> None:
        self._store = store
        self._identities = identities

    def facts(self, use: AdapterUse | ResolvedAdapter) -> AdapterFacts:
        """Facts of the adapter that a request names.

        Raises:
            UnknownNameError: there is none.
            InputError: it is something else than an adapter, of an algorithm that is not applied, or another file than
                the digest says.
            ModelError: the file is damaged, or not to be trusted.
        """
        place = find_adapter(use.name, self._store)
        header = read_weights_header(place.path)
        recognition = recognise(header)
        _check_kind(place, header, recognition)
        sha256 = self._identities.file_digest(place.path)
        check_digest(place, sha256, use.sha256, ADAPTER)
        return AdapterFacts(
            reference=place.name,
            title=place.title,
            path=place.path,
            sha256=sha256,
            recognition=recognition,
            sampled=few_step(_called(place, header), recognition.families),
        )


_INSTEAD: dict[str, str] = {
    Kind.TEXTUAL_INVERSION: "name it with `--embedding`",
    Kind.HYPERNETWORK: "its layers inside the attention have no place in diffusers' networks; use a LoRA",
}
"""What to do with what is no adapter, by its kind."""


def _called(place: AdapterPlace, header: WeightsHeader) -> list[str]:
    """Everything that its maker or its owner calls it."""
    title = makers_facts(header.metadata).title
    return [place.title, place.path.stem, *([title] if title else [])]


def _check_kind(place: AdapterPlace, header: WeightsHeader, recognition: Recognition) -> None:
    refused = take_apart(header.tensors).refused
    if refused is not None and recognition.kind.value in {Kind.LORA, Kind.UNKNOWN}:
        raise InputError(
            f"`{place.title}` is an adapter of the kind {refused}, which is not applied yet",
            hint="LoRA, LoCon, LoHa, LoKr, DoRA and full differences are",
        )
    if recognition.kind.value != Kind.LORA:
        raise InputError(
            f"`{place.path}` is {what_it_is(recognition)}, not an adapter: {recognition.kind.evidence}",
            hint=_INSTEAD.get(recognition.kind.value, "`gesso models show FILE` tells what a file is"),
        )


def what_it_is(recognition: Recognition) -> str:
    kind = recognition.kind.value
    return "nothing that is known" if kind == Kind.UNKNOWN else f"a {kind}"
