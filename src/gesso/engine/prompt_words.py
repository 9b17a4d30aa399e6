"""Prompts with words that stand for vectors: where the words are, and which ids a text encoder gets for them.

A word is found wherever it stands by itself, in any case, the longest first, ComfyUI's `embedding:` before it or not;
what is before and behind it is tokenized as usual. Its ids are below zero and go down by one, so that `chunks.split`
can keep them together; between two words one is left out.
"""

import re
from collections.abc import Iterator, Mapping


def times_in(word: str, text: str) -> int:
    """How often a word stands in a text."""
    return sum(1 for _ in _pattern([word]).finditer(text))


class PromptWords:
    """The words of a request that stand for vectors.

    Args:
        counts: word → number of its vectors.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._words = sorted(counts, key=len, reverse=True)
        self._pattern = _pattern(self._words)
        self.first_rows: dict[str, int] = {}
        """Word → row of its first vector in the table that `ExtraVectors` reads."""
        self._ids: dict[str, list[int]] = {}
        rows = 0
        for word, count in counts.items():
            self.first_rows[word] = rows
            self._ids[word] = [-1 - row for row in range(rows, rows + count)]
            rows += count + 1
        self.rows = rows

    def parts(self, text: str) -> Iterator[tuple[int, int, str | list[int]]]:
        """`text` in pieces, with the ids of a word in its place, and where each begins and ends."""
        end = 0
        for found in self._pattern.finditer(text) if self._words else ():
            yield end, found.start(), text[end : found.start()]
            yield found.start(), found.end(), self._ids[self._words[(found.lastindex or 1) - 1]]
            end = found.end()
        yield end, len(text), text[end:]

    def word_of(self, token: int) -> str:
        """The word that an id below zero belongs to."""
        return next(word for word, ids in self._ids.items() if token in ids)

    def counted(self, text: str) -> dict[str, int]:
        """Word → how often it stands in `text`."""
        counts = dict.fromkeys(self._ids, 0)
        for found in self._pattern.finditer(text) if self._words else ():
            counts[self._words[(found.lastindex or 1) - 1]] += 1
        return counts


def _pattern(words: list[str]) -> re.Pattern[str]:
    """One group for each word. No letter, digit or `_` may stand beside one that begins or ends so."""
    return re.compile("|".join(f"({_bounded(word)})" for word in words), re.IGNORECASE)


def _bounded(word: str) -> str:
    spelt = r"\s+".join(re.escape(part) for part in word.split())
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    behind = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return rf"(?:\bembedding:)?{before}{spelt}{behind}"
