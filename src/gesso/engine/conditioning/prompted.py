"""Conditioning by prompts that may change from step to step, and of which several parts may guide at once.

Where one text is read at all steps, the pipeline gets its embeddings. Where not, it gets marks of the same shape that
say which row is the prompt's and which the negative prompt's, and `PromptSteering` puts the embeddings of the step in
their places at the seam of the denoiser, whatever the order in which a pipeline asks. Composable diffusion (Liu et al.
2022, arXiv 2206.01714) of parts i of weights w_i, with the guidance scale g, is

    e = u + g sum_i w_i (c_i - u)

The pipeline computes u + g (c - u) of what it gets, so it gets u and c = u + sum_i w_i (c_i - u).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from gesso.components.layouts import CallLayout
from gesso.components.steering import Run
from gesso.components.tree import mapped
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.conditioning.base import PROMPT_EMBEDS, Encoded, TextModel, Value
from gesso.engine.conditioning.texts import Texts
from gesso.engine.prompt.reading import Moment, PromptReading, read_prompts
from gesso.engine.prompt.steps import Entry, Sections

Encode = Callable[..., Encoded]
_NEGATIVE = "negative_"
_MARK = "gesso_marked_rows"
"""Attribute of a tensor whose marks were read: reading waits for the device."""


def encode_prompts(
    model: TextModel,
    resolved: ResolvedImageRequest,
    encode: Encode,
    *,
    guided: bool,
    places: Mapping[str, str],
    made: int = 0,
    by_step: bool = False,
    image: Image.Image | None = None,
) -> tuple[dict[str, Any], "PromptSteering | None"]:
    """Arguments of the pipeline, and what its denoiser is asked instead, where that differs.

    Args:
        encode: reads several texts; see `clip.encode_texts`.
        places: pipeline's name for what is encoded → path of the denoiser's argument.
        made: steps of a pass before this one, from which schedules count on.
        by_step: the denoiser is given its texts at each step, also where they are the same at all of them.
        image: what they are about, for encoders that read it too.

    Raises:
        InputError: a prompt, or a clip skip, that cannot be read.
    """
    reading = read_prompts(
        resolved.prompt, resolved.negative_prompt, dialect=resolved.dialect, steps=resolved.steps, made=made
    )
    texts = Texts(
        prompts=tuple(_different(part.entries) for part in reading.parts),
        negatives=_different(reading.negative) if guided else (),
        dialect=resolved.dialect,
        weighting=resolved.weighting,
        image=image,
    )
    encoded = encode(model, texts, clip_skip=resolved.clip_skip)
    rows = _Rows(texts)
    moments = list(reading.moments()) if guided else _unguided(reading)
    prompt = encoded.texts[rows.part(0, moments[0].parts[0])]
    negative = encoded.texts[rows.negative(moments[0].negative)] if guided else {}
    steered = by_step or len(moments) > 1 or reading.composed
    given = {name: _marked(name, value, 0.0) if steered else value for name, value in prompt.items()}
    given |= {f"{_NEGATIVE}{name}": _marked(name, value, 1.0) if steered else value for name, value in negative.items()}
    given |= encoded.others
    if not steered:
        return given, None
    return given, PromptSteering(
        moments=tuple((moment.last_step, rows.of(moment, guided=guided)) for moment in moments),
        weights=tuple(part.weight for part in reading.parts),
        texts=tuple({places[name]: value for name, value in text.items()} for text in encoded.texts),
        mark=places[PROMPT_EMBEDS],
    )


def _different(entries: tuple[Entry, ...]) -> tuple[Sections, ...]:
    return tuple(dict.fromkeys(entry.sections for entry in entries))


def _unguided(reading: PromptReading) -> list[Moment]:
    """Without the changes of a negative prompt that nobody reads."""
    return list(PromptReading(parts=reading.parts, negative=reading.negative[-1:]).moments())


def _marked(name: str, value: Value, mark: float) -> Value:
    if name != PROMPT_EMBEDS:
        return value
    return [torch.full_like(one, mark) for one in value] if isinstance(value, list) else torch.full_like(value, mark)


class _Rows:
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

    def of(self, moment: Moment, *, guided: bool) -> "TextsOfStep":
        parts = tuple(self.part(index, text) for index, text in enumerate(moment.parts))
        return TextsOfStep(parts=parts, negative=self.negative(moment.negative) if guided else None)


@dataclass(frozen=True, kw_only=True)
class TextsOfStep:
    """Which texts are read: of each part of the prompt, and of the negative prompt, if there is one."""

    parts: tuple[int, ...]
    negative: int | None


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that the network is asked for: its text, and the row of the pipeline's call that it is otherwise like."""

    text: int
    like: int


@dataclass(frozen=True, kw_only=True)
class PromptSteering:
    """Gives a denoiser the embeddings of the step, and what the parts of a prompt say as one answer.

    Attributes:
        moments: up to which step, from 1, which texts are read.
        weights: of each part.
        texts: by the path of the denoiser's argument.
        mark: of these the path at which the pipeline's rows are marked.
    """

    moments: tuple[tuple[int, TextsOfStep], ...]
    weights: tuple[float, ...]
    texts: Sequence[Mapping[str, Value]]
    mark: str

    @property
    def composed(self) -> bool:
        """Whether the prediction of the prompt is made of those of several parts and of that without it."""
        return self.weights != (1.0,)

    def __call__(self, arguments: Mapping[str, Any], run: Run, *, layout: CallLayout, step: int | None) -> Any:
        now = self._now(step)
        asked = self.marks(arguments)
        rows = [_Row(text, like) for like, negative in enumerate(asked) for text in self._of(now, negative)]
        # Of what the parts say, that without them is taken away: where it is not asked for, it is asked for beside.
        beside = self.composed and not any(asked)
        if beside:
            assert now.negative is not None
            rows.insert(0, _Row(now.negative, 0))
        output = self._asked(arguments, run, rows, layout)
        if not self.composed:
            return output
        without = 0 if beside else next(place for place, row in enumerate(rows) if asked[row.like])

        def composed(_: str, leaf: Any) -> Any:
            return self._composed(leaf, asked, without, beside) if isinstance(leaf, torch.Tensor | list) else leaf

        return mapped(output, composed, whole=layout.listed_outputs)

    def _now(self, step: int | None) -> TextsOfStep:
        now = 1 + (step or 0)
        return next((texts for last, texts in self.moments if now <= last), self.moments[-1][1])

    def _of(self, now: TextsOfStep, negative: bool) -> tuple[int, ...]:
        if not negative:
            return now.parts
        assert now.negative is not None
        return (now.negative,)

    def marks(self, arguments: Mapping[str, Any]) -> list[bool]:
        """Of each row that the pipeline asks for, whether it is the negative prompt's."""
        marked = _at(arguments, self.mark)
        return [mark for one in marked for mark in _read(one[None])] if isinstance(marked, list) else _read(marked)

    def _asked(self, arguments: Mapping[str, Any], run: Run, rows: Sequence[_Row], layout: CallLayout) -> Any:
        shapes = {tuple(_shape(value) for value in self.texts[row.text].values()) for row in rows}
        if len(shapes) == 1:
            return run(self._call(arguments, rows, layout))
        outputs = [run(self._call(arguments, [row], layout)) for row in rows]  # texts of several lengths
        return _together(outputs, layout)

    def _call(self, arguments: Mapping[str, Any], rows: Sequence[_Row], layout: CallLayout) -> dict[str, Any]:
        """The call for these rows."""
        asked = len(arguments[layout.rows[0]])
        like = [row.like for row in rows]

        def change(path: str, leaf: Any) -> Any:
            values = [self.texts[row.text][path] for row in rows] if path in self.texts[0] else None
            if values is not None:
                return _joined(values)
            if not layout.has_each_row(path, leaf, asked) or like == list(range(asked)):
                return leaf
            return [leaf[index] for index in like] if isinstance(leaf, list) else leaf[like]

        return {name: mapped(value, change, name, whole=layout.listed) for name, value in arguments.items()}

    def _composed(self, leaf: Value, asked: Sequence[bool], without: int, beside: bool) -> Value:
        """[rows of the network, ...] -> [rows of the pipeline, ...]"""
        lists = isinstance(leaf, list)
        u = leaf[without][None]
        rows: list[torch.Tensor] = []
        place = int(beside)
        for negative in asked:
            count = 1 if negative else len(self.weights)
            found = torch.stack(leaf[place : place + count]) if lists else leaf[place : place + count]
            place += count
            if not negative:
                weights = torch.tensor(self.weights, dtype=found.dtype, device=found.device)
                weights = weights.reshape(-1, *[1] * (found.ndim - 1))
                found = u + (weights * (found - u)).sum(0, keepdim=True)
            rows.append(found)
        return [row[0] for row in rows] if lists else torch.cat(rows)


def _at(arguments: Mapping[str, Any], path: str) -> Any:
    found: Any = arguments
    for key in path.split("."):
        found = found[key]
    return found


def _read(marked: torch.Tensor) -> list[bool]:
    """Of [rows, ...] the marks. Pipelines give the same tensor at each step, so it is read once."""
    known = getattr(marked, _MARK, None)
    if known is None:
        known = [bool(mark) for mark in marked.flatten(1)[:, 0].tolist()]
        setattr(marked, _MARK, known)
    return known


def _shape(value: Value) -> tuple[int, ...]:
    """What must be alike for texts to be rows of one call; items of lists need not be."""
    return () if isinstance(value, list) else tuple(value.shape)


def _joined(values: Sequence[Value]) -> Value:
    lists = [value for value in values if isinstance(value, list)]
    if lists:
        return [one for value in lists for one in value]
    return torch.cat([value for value in values if isinstance(value, torch.Tensor)])


def _together(outputs: Sequence[Any], layout: CallLayout) -> Any:
    """Outputs of one row each as one."""
    leaves: list[list[Any]] = []
    for output in outputs:
        found: list[Any] = []
        mapped(output, lambda _, leaf, found=found: found.append(leaf), whole=layout.listed_outputs)
        leaves.append(found)
    columns = iter(zip(*leaves, strict=True))

    def joined(_: str, leaf: Any) -> Any:
        column = next(columns)
        return _joined(column) if isinstance(leaf, torch.Tensor | list) else leaf

    return mapped(outputs[0], joined, whole=layout.listed_outputs)
