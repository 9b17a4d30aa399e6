"""Embeddings of a request on its model: their vectors, the words of its prompts, and what is told of them."""

import logging
import weakref
from collections.abc import Callable

import torch
from torch import Tensor

from gesso.components.extra_vectors import ExtraVectors
from gesso.core.recipe import EmbeddingReport
from gesso.core.requests import ImageRequest, ResolvedEmbedding, ResolvedImageRequest
from gesso.engine.adapters import States
from gesso.engine.conditioning import TextModel
from gesso.engine.conditioning.words import WordedModel
from gesso.engine.facts import ModelFacts
from gesso.engine.inversion_checks import idle, misfit, passed_over, vectors_for
from gesso.engine.inversion_files import InversionFiles
from gesso.engine.prompt_words import PromptWords
from gesso.models.adapters.inversion import read_inversion

logger = logging.getLogger(__name__)


class AppliedInversions:
    """The embeddings of one request, in memory.

    Args:
        tables: text encoder → the vectors of all words, [rows, C].
        rows: sha256 and number of vectors of each embedding, in the order of the tables.
    """

    def __init__(
        self,
        words: PromptWords,
        tables: dict[str, Tensor],
        rows: tuple[tuple[str, int], ...],
        reports: tuple[EmbeddingReport, ...],
    ) -> None:
        self.reports = reports
        self.states: States = {network: (ExtraVectors(rows, weakref.ref(table)),) for network, table in tables.items()}
        self.words = words
        self._tables = tables  # which the states hold weakly

    def worded(self, model: TextModel) -> TextModel:
        """The model as the conditioning of this request sees it."""
        return WordedModel(model, self.words) if self._tables else model


def apply_inversions(
    facts: ModelFacts,
    asked: ImageRequest,
    resolved: ResolvedImageRequest,
    files: InversionFiles,
    warn: Callable[[str], None],
) -> AppliedInversions:
    """Read the embeddings of a request.

    Args:
        warn: told of those that have no effect.

    Raises:
        InputError: a file is not the one that was decided on, or does not fit.
        ModelError: a file cannot be read.
    """
    if asked.embeddings_by_name:
        named, broken = files.named_in((resolved.prompt, resolved.negative_prompt))
        for line in (*passed_over(named, resolved.embeddings, facts), *(error.message for error in broken)):
            warn(line)
    found = [files.facts(embedding) for embedding in resolved.embeddings]
    places = [vectors_for(one, facts) for one in found]
    vectors = [read_inversion(one.path) for one in found]
    counts = {
        embedding.word: len(next(iter(held.values())))
        for embedding, held in zip(resolved.embeddings, vectors, strict=True)
    }
    words = PromptWords(counts)
    in_prompt, in_negative = words.counted(resolved.prompt), words.counted(resolved.negative_prompt)
    tables: dict[str, Tensor] = {}
    reports: list[EmbeddingReport] = []
    for embedding, one, place, held in zip(resolved.embeddings, found, places, vectors, strict=True):
        word = embedding.word
        report = EmbeddingReport(
            name=one.title,
            sha256=one.sha256,
            word=word,
            vectors=counts[word],
            widths={network: held[called].shape[1] for network, called in place.items()},
            in_prompt=in_prompt[word],
            in_negative_prompt=in_negative[word],
        )
        reports.append(report)
        if not report.in_prompt + report.in_negative_prompt:
            warn(idle(one, word))
        logger.info("Embedding `%s`: %s", one.title, report.told())
        for network, called in place.items():
            table = tables.setdefault(network, torch.zeros(words.rows, held[called].shape[1]))
            table[words.first_rows[word] :][: counts[word]] = held[called]
    return AppliedInversions(
        words, tables, tuple((report.sha256, report.vectors) for report in reports), tuple(reports)
    )


def fitting_embeddings(
    facts: ModelFacts, resolved: ResolvedImageRequest, files: InversionFiles, warn: Callable[[str], None]
) -> tuple[ResolvedEmbedding, ...]:
    """The embeddings of a request that another model than its own reads, too; `warn` is told of the others."""
    fitting: list[ResolvedEmbedding] = []
    for embedding in resolved.embeddings:
        problem = misfit(files.facts(embedding), facts)
        if problem is None:
            fitting.append(embedding)
        else:
            warn(f"`{facts.name}` reads `{embedding.word}` in the prompts as plain words. {problem}")
    return tuple(fitting)
