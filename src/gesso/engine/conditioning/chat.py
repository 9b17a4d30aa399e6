"""What conditionings by language models share: the prompt is a turn of a conversation, and hidden states are read.

These encoders were trained, together with their denoisers, on texts of a stated length. A longer one is refused: there
is no way to chunk a conversation, and positions beyond that length mean nothing to the denoiser. For the same reason
`BREAK` is refused before anything runs (`gesso.engine.resolve`).

A weight w makes m + w (z - m) of the embedding z of a token, where m is the mean of the prompt's own tokens: there is
no embedding of no text at a place of a conversation that is as long as the text, and the first tokens of a
conversation, which attention uses as a resting place, are hundreds of times as large as all others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gesso.core.errors import InputError, ModelError
from gesso.core.requests import Weighting
from gesso.engine.conditioning.base import TextEncoder, TextModel, Tokenizer
from gesso.engine.conditioning.pieces import weights_at, with_places
from gesso.engine.conditioning.texts import Texts
from gesso.engine.prompt.steps import Piece

PROMPT, NEGATIVE = "prompt", "negative prompt"
"""What a text is called in messages."""
_SOMETHING = "\ue000"
"""Stands for the prompt when it is looked for in a template; nobody writes it."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a person says, in pieces, and what it is called in messages."""

    pieces: tuple[Piece, ...]
    what: str

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


def turns(texts: Texts) -> list[Turn]:
    """The texts of a request, in their order.

    Blanks beside `AND` are nobody's words, and would be tokens.
    """
    prompts = [section for group in texts.prompts for (section,) in group]
    if len(texts.prompts) > 1:
        prompts = [_stripped(section) for section in prompts]
    named = [(section, PROMPT) for section in prompts] + [(section, NEGATIVE) for (section,) in texts.negatives]
    return [Turn(pieces=section, what=what) for section, what in named]


def _stripped(section: tuple[Piece, ...]) -> tuple[Piece, ...]:
    pieces = list(section)
    if pieces:
        pieces[0] = Piece(pieces[0].text.lstrip(), pieces[0].weight)
        pieces[-1] = Piece(pieces[-1].text.rstrip(), pieces[-1].weight)
    return tuple(pieces)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A turn written out in the template of a model; `start` is where in it the turn is."""

    written: str
    turn: Turn
    start: int

    @classmethod
    def around(cls, turn: Turn, template: Callable[[str], str]) -> "Conversation":
        """Write a turn out.

        Args:
            template: what stands around a text.
        """
        start = template(_SOMETHING).find(_SOMETHING)
        return cls(written=template(turn.text), turn=turn, start=start)

    def ends(self, offsets: Sequence[tuple[int, int]]) -> list[int]:
        """Where in the turn each token ends; 0 for those that are none of it.

        Raises:
            ModelError: the template changes the turn.
        """
        text = self.turn.text
        begin = self.start
        if not self.written.startswith(text, begin):  # some take blanks off
            begin -= len(text) - len(text.lstrip())
            if not self.written.startswith(text.strip(), self.start):
                raise ModelError(
                    "The template of this model's conversations changes the prompt, so words cannot be weighed",
                    hint="write the prompt without weights",
                )
        return [max(0, end - begin) if first < end <= begin + len(text) else 0 for first, end in offsets]


@dataclass(frozen=True, kw_only=True)
class Words:
    """The tokens of a conversation: [1, L] each.

    Attributes:
        weights: `None` where nothing is weighed; then `own` says which tokens are the prompt's.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    weights: torch.Tensor | None = None
    own: torch.Tensor | None = None

    def weigh(self, states: torch.Tensor, weighting: Weighting) -> torch.Tensor:
        """Apply the weights to hidden states [1, L, C]."""
        if self.weights is None or self.own is None:
            return states
        weights = self.weights.unsqueeze(-1).to(states)
        if weighting is Weighting.NO_NORM:
            return states * weights
        mean = states[self.own.to(states.device)].float().mean(0).to(states)  # [C]
        return torch.where(weights == 1, states, mean + weights * (states - mean))


def tokens(
    tokenizer: Tokenizer, said: Conversation, *, longest: int, padded: bool, weighting: Weighting, **options: Any
) -> Words:
    """Ids and mask of a whole conversation, and its weights; L is `longest` if padded.

    Args:
        longest: tokens that the family reads at most.
        options: for the tokenizer.

    Raises:
        InputError: it has more tokens, or a single one with a weight, which nothing is beside.
        ModelError: the tokenizer does not say where tokens are, and words have weights.
    """
    padding = {"padding": "max_length", "max_length": longest} if padded else {}
    options |= {"truncation": False, "return_tensors": "pt", "verbose": False, **padding}
    weighted = weighting is not Weighting.IGNORE and any(piece.weight != 1 for piece in said.turn.pieces)
    found = with_places(tokenizer, said.written, **options) if weighted else tokenizer(said.written, **options)
    ids, mask = found["input_ids"], found["attention_mask"]
    if ids.shape[1] > longest:
        raise InputError(
            f"The {said.turn.what} has {ids.shape[1]} tokens with the words around it, this model reads at most "
            f"{longest}",
            hint="shorten it; nothing of a prompt is ever cut off silently",
        )
    if not weighted:
        return Words(ids=ids, mask=mask)
    ends = said.ends(found["offset_mapping"][0].tolist())
    own = torch.tensor([ends]) > 0
    if weighting is not Weighting.NO_NORM and own.sum() < 2:
        raise InputError(
            f"The {said.turn.what} is a single token, so its weight has nothing to be measured against",
            hint="add words, or leave the weight out",
        )
    return Words(ids=ids, mask=mask, weights=torch.tensor([weights_at(said.turn.pieces, ends)]), own=own)


def hidden_states(
    model: TextModel, encoder: TextEncoder, words: Words, **beside: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The embeddings, then the output of each layer: [1, L, C] each.

    Without a cache of keys, which nobody would use, and which cannot be split into rows.

    Args:
        beside: what the encoder takes beside words.
    """
    # The scores of the next word are as wide as the vocabulary: for one place instead of all.
    options = {"logits_to_keep": 1} if hasattr(encoder, "lm_head") else {}
    ids, mask = words.ids.to(model.device), words.mask.to(model.device)
    found = encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False, **options, **beside)
    return found.hidden_states


def side_by_side(states: tuple[torch.Tensor, ...], layers: tuple[int, ...]) -> torch.Tensor:
    """Layers of hidden states joined along the channels: [1, L, C] each -> [1, L, len(layers) C]."""
    return torch.cat([states[layer] for layer in layers], dim=-1)
