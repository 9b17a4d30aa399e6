"""What the pictures that read one text share: its adapters, embeddings and conditioning."""

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field

from gesso.components.metering import Meter
from gesso.components.trace import TraceRecorder
from gesso.core.recipe import EmbeddingReport
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.adapters import AppliedAdapters
from gesso.engine.prompting import Conditioning


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A text that is ready to be painted."""

    adapters: AppliedAdapters
    embeddings: tuple[EmbeddingReport, ...]
    conditioning: Conditioning
    second: Conditioning | None = None
    """Of the second pass, where there is one."""
    refined: Conditioning | None = None
    """Of the last pass as a refiner reads it, where there is one."""


@dataclass(frozen=True, kw_only=True)
class RememberedText:
    """What a text became and the calls that made it, kept so that text encoders need not read it again.

    It has the bytes of a run by itself: in fast mode it is kept only where no rows of others ran beside its own, in
    exact mode they never matter. A replay and a job with a journal read their texts themselves, since theirs are the
    calls that are compared and kept.
    """

    conditioning: Conditioning
    trace: TraceRecorder


@dataclass(eq=False, kw_only=True)
class TextOfPictures:
    """One text of a request, and how many of its pictures still need it.

    Attributes:
        resolved: the request as those pictures read it.
        name: under which a journal keeps its calls.
        trace: of its conditioning.
        meter: of the picture that makes it, once one has begun to.
    """

    resolved: ResolvedImageRequest
    name: str
    users: int = 0
    trace: TraceRecorder = field(default_factory=TraceRecorder)
    making: threading.Lock = field(default_factory=threading.Lock)
    resources: ExitStack = field(default_factory=ExitStack)
    prepared: Prepared | None = None
    first: int | None = None
    meter: Meter = field(default_factory=Meter)

    def meter_of(self, index: int) -> Meter:
        """What all of its pictures share is on the bill of the first."""
        return self.meter if index == self.first else Meter()

    def close(self) -> None:
        """No picture needs it any more."""
        self.resources.close()
        self.prepared = None


def texts_of(resolved: ResolvedImageRequest, indices: list[int]) -> dict[int, TextOfPictures]:
    """The text of each picture; pictures that read the same share one."""
    if not resolved.words:
        text = TextOfPictures(resolved=resolved, name="conditioning", users=len(indices))
        return dict.fromkeys(indices, text)
    firsts: dict[str, int] = {}
    found: dict[int, TextOfPictures] = {}
    texts: dict[int, TextOfPictures] = {}
    # Of each picture the first that reads the same, also where a journal has that one already: it gives the name.
    alike = [firsts.setdefault(words.model_dump_json(), index) for index, words in enumerate(resolved.words)]
    for index in indices:
        first = alike[index]
        if first not in texts:
            texts[first] = TextOfPictures(resolved=resolved.read_by(first), name=f"conditioning-{first:05d}")
        texts[first].users += 1
        found[index] = texts[first]
    return found
