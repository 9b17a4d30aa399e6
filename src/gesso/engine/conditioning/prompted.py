"""Conditioning by prompts that may change from step to step, and of which several parts may guide at once.

The pipeline gets the embeddings of the first step. Where others are needed later or beside them, `PromptSteering` puts
them in their places at the seam of the denoiser. Composable diffusion (Liu et al. 2022, arXiv 2206.01714) of parts i of
weights w_i, with the guidance scale g, is

    e = u + g sum_i w_i (c_i - u)

The pipeline computes u + g (c - u) of the two rows that it gets, so it gets u and c = u + sum_i w_i (c_i - u).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gesso.components.layouts import CallLayout
from gesso.components.steering import Run, Steering
from gesso.components.tree import mapped
from gesso.core.errors import InputError
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.conditioning.base import TextModel, arguments
from gesso.engine.conditioning.texts import Texts
from gesso.engine.prompt.reading import Moment, PromptReading, read_prompts
from gesso.engine.prompt.steps import Entry, Sections

Encode = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
_EMBEDS, _POOLED = "encoder_hidden_states", "added_cond_kwargs.text_embeds"
"""Where denoisers take what text encoders make."""


def encode_prompts(
    model: TextModel, resolved: ResolvedImageRequest, encode: Encode, *, guided: bool
) -> tuple[dict[str, torch.Tensor], Steering | None]:
    """Arguments of the pipeline, and what its denoiser is asked instead, where that differs.

    Args:
        encode: reads several texts; see `clip.encode_texts`.

    Raises:
        InputError: a prompt, or a clip skip, that cannot be read.
    """
    reading = read_prompts(resolved.prompt, resolved.negative_prompt, dialect=resolved.dialect, steps=resolved.steps)
    texts = Texts(
        prompts=tuple(_different(part.entries) for part in reading.parts),
        negatives=_different(reading.negative) if guided else (),
        dialect=resolved.dialect,
        weighting=resolved.weighting,
    )
    embeds, pooled = encode(model, texts, clip_skip=resolved.clip_skip)
    places = _Places(texts)
    moments = list(reading.moments()) if guided else _unguided(reading)
    rows = [places.part(0, moments[0].parts[0]), *([places.negative(moments[0].negative)] if guided else [])]
    given = arguments(model, embeds[rows], None if pooled is None else pooled[rows], guided=guided)
    if len(moments) == 1 and not reading.composed:
        return given, None
    values = {_EMBEDS: embeds, **({} if pooled is None else {_POOLED: pooled})}
    values = {path: value.to(device=model.device, dtype=model.dtype) for path, value in values.items()}
    return given, PromptSteering(
        moments=tuple((moment.last_step, places.rows(moment, guided=guided)) for moment in moments),
        weights=tuple(part.weight for part in reading.parts),
        values=values,
        guided=guided,
    )


def _different(entries: tuple[Entry, ...]) -> tuple[Sections, ...]:
    return tuple(dict.fromkeys(entry.sections for entry in entries))


def _unguided(reading: PromptReading) -> list[Moment]:
    """Without the changes of a negative prompt that nobody reads."""
    return list(PromptReading(parts=reading.parts, negative=reading.negative[-1:]).moments())


class _Places:
    """In which rows the texts of a request are."""

    def __init__(self, texts: Texts) -> None:
        self._rows: list[dict[Sections, int]] = []
        start = 0
        for group in texts.groups:
            self._rows.append({text: start + place for place, text in enumerate(group)})
            start += len(group)

    def part(self, index: int, text: Sections) -> int:
        return self._rows[index][text]

    def negative(self, text: Sections) -> int:
        return self._rows[-1][text]

    def rows(self, moment: Moment, *, guided: bool) -> tuple[int, ...]:
        """The negative prompt first, as pipelines have it."""
        parts = tuple(self.part(index, text) for index, text in enumerate(moment.parts))
        return (self.negative(moment.negative), *parts) if guided else parts


@dataclass(frozen=True, kw_only=True)
class PromptSteering:
    """Gives a denoiser the embeddings of the step, and what the parts of a prompt say as one answer.

    Attributes:
        moments: up to which step, from 1, which rows of `values` are read: of the negative prompt if `guided`, then of
            each part.
        weights: of each part.
        values: by the path of the denoiser's argument, [texts, ...].
    """

    moments: tuple[tuple[int, tuple[int, ...]], ...]
    weights: tuple[float, ...]
    values: Mapping[str, torch.Tensor]
    guided: bool

    @property
    def composed(self) -> bool:
        """Whether the prediction of the prompt is made of those of several parts and of that without it."""
        return self.weights != (1.0,)

    def __call__(self, arguments: Mapping[str, Any], run: Run, *, layout: CallLayout, step: int | None) -> Any:
        asked = len(arguments[layout.rows[0]])
        texts = self._texts(step)
        if self.guided and asked == 1 and not self.composed:
            texts = texts[1:]  # a distilled network gets its guidance as a number
        elif asked != 1 + self.guided or (self.composed and not self.guided):
            raise InputError(
                f"The pipeline asks for {asked} rows at a time, and cannot follow a prompt with schedules or AND",
                hint="write the prompt without them",
            )
        rows = [0] * len(texts) if asked == 1 else [0, *[1] * (len(texts) - 1)]

        def change(path: str, leaf: Any) -> Any:
            if path in self.values:
                return self.values[path][list(texts)]
            place = layout.at(path)
            has_rows = isinstance(leaf, torch.Tensor) and leaf.ndim > 0 and (place.rows or place.timestep)
            return leaf[rows] if has_rows and len(leaf) == asked and len(rows) > asked else leaf

        output = run({name: mapped(value, change, name) for name, value in arguments.items()})
        return mapped(output, lambda _, leaf: self._composed(leaf)) if self.composed else output

    def _texts(self, step: int | None) -> tuple[int, ...]:
        now = 1 + (step or 0)
        return next((rows for last, rows in self.moments if now <= last), self.moments[-1][1])

    def _composed(self, leaf: Any) -> Any:
        """[1 + parts, ...] -> [2, ...]"""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        without, parts = leaf[:1], leaf[1:]
        weights = torch.tensor(self.weights, dtype=leaf.dtype, device=leaf.device).reshape(-1, *[1] * (leaf.ndim - 1))
        return torch.cat([without, without + (weights * (parts - without)).sum(0, keepdim=True)])
