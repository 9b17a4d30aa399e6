"""A model whose tokenizers know the words of one request: these become ids of vectors, all else is as it was."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import torch

from gesso.engine.conditioning.base import Part, TextModel, Tokenizer
from gesso.engine.prompt_words import PromptWords


class WordTokenizer:
    """A tokenizer that knows further words; otherwise like the one that it asks."""

    def __init__(self, tokenizer: Tokenizer, words: PromptWords) -> None:
        self._tokenizer = tokenizer
        self._words = words

    def __call__(self, text: str, /, **options: Any) -> Mapping[str, Any]:
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        for start, end, part in self._words.parts(text):
            if isinstance(part, str):
                found = self._tokenizer(part, **options)
                ids += found["input_ids"]
                places += [(start + first, start + last) for first, last in found.get("offset_mapping", ())]
            else:
                ids += part
                places += [(start, end)] * len(part)
        return {"input_ids": ids, "offset_mapping": places}

    def decode(self, token_ids: list[int], /) -> str:
        """The text of ids, words by their names."""
        parts: list[str] = []
        for word, ids in groupby(token_ids, key=lambda token: self._words.word_of(token) if token < 0 else None):
            parts.append(self._tokenizer.decode(list(ids)).strip() if word is None else word)
        return " ".join(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)


class WordedModel:
    """A model whose tokenizers know the words of one request."""

    def __init__(self, model: TextModel, words: PromptWords) -> None:
        self._model = model
        self._words = words

    @property
    def init_options(self) -> Mapping[str, Any]:
        return self._model.init_options

    @property
    def device(self) -> torch.device:
        return self._model.device

    @property
    def dtype(self) -> torch.dtype:
        return self._model.dtype

    def network(self, name: str) -> Any | None:
        return self._model.network(name)

    def tokenizer(self, name: str) -> Any | None:
        tokenizer = self._model.tokenizer(name)
        return None if tokenizer is None else WordTokenizer(tokenizer, self._words)

    def processor(self, name: str) -> Any | None:
        return self._model.processor(name)

    def part(self, path: str) -> Part:
        return self._model.part(path)
