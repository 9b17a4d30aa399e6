"""What every conditioning shares: what it needs of a model, and the shape of what it gives to the pipeline.

Legend of shapes: B texts (the prompt, and the negative prompt if guided), K chunks of a text, P positions of a text
encoder (77 for CLIP), L tokens of a T5 text, C channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from gesso.core.errors import InputError, ModelError


class TextEncoder(Protocol):
    """A text encoder of transformers, or its hosted face: calls like the module, from any thread, and blocks."""

    @property
    def config(self) -> Any: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Part(Protocol):
    """A module inside a network, called like the module."""

    def __call__(self, states: torch.Tensor, /) -> torch.Tensor: ...


class Tokenizer(Protocol):
    """A tokenizer of transformers. Padding and truncation are state of the object, so whoever shares it locks it."""

    model_max_length: int
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None

    def __call__(self, text: str, /, **options: Any) -> Mapping[str, Any]: ...

    def decode(self, token_ids: list[int], /) -> str: ...

    def apply_chat_template(self, conversation: list[dict[str, Any]], /, **options: Any) -> str:
        """The conversation written out, for tokenizers of language models; asked with `tokenize=False`."""
        ...


class TextModel(Protocol):
    """The model as conditioning sees it."""

    @property
    def init_options(self) -> Mapping[str, Any]:
        """Init arguments of the pipeline that are not components, such as `force_zeros_for_empty_prompt`."""
        ...

    @property
    def device(self) -> torch.device:
        """Where token ids are put and embeddings are wanted."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """In which embeddings are wanted; pipelines make the latents in the same."""
        ...

    def network(self, name: str) -> Any | None:
        """The network called `name` in the pipeline; `None` if the folder has none."""
        ...

    def tokenizer(self, name: str) -> Any | None:
        """The tokenizer called `name` in the pipeline; `None` if the folder has none."""
        ...

    def processor(self, name: str) -> Any | None:
        """What prepares pictures for a network, called `name` in the pipeline; `None` if the folder has none."""
        ...

    def part(self, path: str) -> Part:
        """A module inside a network by its dotted path, such as `text_encoder.final_layer_norm`."""
        ...


def reader(model: TextModel, suffix: str = "") -> tuple[Tokenizer, TextEncoder]:
    """The tokenizer and text encoder whose names end in `suffix` ("" or "_2", "_3").

    Raises:
        ModelError: the folder lacks one of them.
    """
    tokenizer, encoder = model.tokenizer(f"tokenizer{suffix}"), model.network(f"text_encoder{suffix}")
    for name, part in ((f"tokenizer{suffix}", tokenizer), (f"text_encoder{suffix}", encoder)):
        if part is None:
            raise ModelError(f"The model has no `{name}`", hint="download the whole model folder again")
    assert tokenizer is not None
    assert encoder is not None
    return tokenizer, encoder


def hidden_layer(states: tuple[torch.Tensor, ...], *, clip_skip: int, usual: int = 1) -> torch.Tensor:
    """The hidden state that `clip_skip` asks for, counted from the end.

    Args:
        states: the embeddings, then the output of each layer. Each [rows, P, C].
        clip_skip: 1 is the layer that the family normally reads, 2 the one before.
        usual: the layer that the family normally reads; 1 is the last.

    Raises:
        InputError: there are not that many layers.
    """
    layers = len(states) - 1
    most = layers - usual + 1
    if not 1 <= clip_skip <= most:
        raise InputError(
            f"Clip skip {clip_skip} was asked of a text encoder of {layers} layers", hint=f"use 1 to {most}"
        )
    return states[-(clip_skip + usual - 1)]


def refuse_clip_skip(clip_skip: int) -> None:
    """Raises `InputError` for any clip skip but 1: no hidden layer of CLIP is read."""
    if clip_skip != 1:
        raise InputError(
            f"Clip skip {clip_skip} was asked of a model that reads no hidden states of CLIP", hint="use 1"
        )


PROMPT_EMBEDS, POOLED, MASK = "prompt_embeds", "pooled_prompt_embeds", "prompt_embeds_mask"
"""What pipelines call what text encoders make; of the negative prompt with `negative_` before it."""

Value = torch.Tensor | list[torch.Tensor]
"""Of one text: a tensor of one row, or a list of one, for pipelines that take lists."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What text encoders made of the texts of a request.

    Attributes:
        texts: of each text, in the order of `Texts`, by the pipeline's name for it.
        others: further arguments of the pipeline.
    """

    texts: Sequence[Mapping[str, Value]]
    others: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def of_rows(cls, model: TextModel, embeds: torch.Tensor, pooled: torch.Tensor | None = None) -> "Encoded":
        """Of embeddings [B, tokens, C], and what was pooled [B, C] for pipelines that take it."""
        rows = {PROMPT_EMBEDS: embeds} | ({} if pooled is None else {POOLED: pooled})
        texts = [{name: row[index : index + 1] for name, row in rows.items()} for index in range(len(embeds))]
        return cls(texts=[{name: ready(model, row) for name, row in text.items()} for text in texts])


def ready(model: TextModel, row: torch.Tensor) -> torch.Tensor:
    """A row as the pipeline wants it, by itself: a view keeps the whole batch alive, and is aligned differently."""
    return row.to(device=model.device, dtype=model.dtype).clone()
