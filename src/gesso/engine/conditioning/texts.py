"""The texts of a request, as they are given to text encoders of the CLIP kind."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from gesso.core.requests import PromptDialect, Weighting
from gesso.engine.prompt.steps import Piece, Sections

NOTHING: Sections = ((),)
"""A text without a word."""


def plain(text: str) -> Sections:
    """A text in one piece, at its full weight."""
    return ((Piece(text, 1.0),),) if text else NOTHING


@dataclass(frozen=True, kw_only=True)
class Texts:
    """All texts of a request, in the order in which they become rows: of each part of the prompt, then the negative."""

    prompts: tuple[tuple[Sections, ...], ...]
    """Of each part of the prompt its texts, in the order of the steps."""
    negatives: tuple[Sections, ...]
    """Of the negative prompt; empty if nothing is guided away from it."""
    dialect: PromptDialect = PromptDialect.PLAIN
    weighting: Weighting = Weighting.ORIGINAL
    image: Image.Image | None = None
    """The picture that they are about, for encoders that read it too."""

    @classmethod
    def plain(cls, prompt: str, negative_prompt: str | None) -> "Texts":
        """Two texts, or one without a negative prompt."""
        negatives = () if negative_prompt is None else (plain(negative_prompt),)
        return cls(prompts=((plain(prompt),),), negatives=negatives)

    @property
    def groups(self) -> tuple[tuple[Sections, ...], ...]:
        """Texts that belong together."""
        return (*self.prompts, self.negatives) if self.negatives else self.prompts

    def weighted(self) -> bool:
        """Whether a weight is to be applied."""
        return self.weighting is not Weighting.IGNORE and any(
            piece.weight != 1 for group in self.groups for text in group for section in text for piece in section
        )


def joined(groups: Sequence[Sequence[Sections]]) -> list[Sections]:
    """All texts one after the other."""
    return [text for group in groups for text in group]
