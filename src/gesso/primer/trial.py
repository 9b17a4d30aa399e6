"""Trying out the scorer itself, on pictures whose truth is known."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random

from PIL import Image

from gesso.primer.prompt import Asked, asked_of
from gesso.primer.reading import UnreadableError, read
from gesso.primer.render import render
from gesso.primer.scene import COLOURS, Size, random_scene
from gesso.primer.score import Kind, Score, compare
from gesso.primer.shapes import SHAPES

SWAPPED_KINDS = (Kind.COLOUR, Kind.SHAPE, Kind.SIZE, Kind.RELATION, Kind.BACKGROUND)


@dataclass(kw_only=True)
class Trial:
    """What came of reading many pictures."""

    pictures: int = 0
    unreadable: int = 0
    scenes: Counter[int] = field(default_factory=Counter[int])
    """Pictures by their number of things."""
    whole: Counter[int] = field(default_factory=Counter[int])
    """Those of them of which every fact was read rightly."""
    asked: Counter[Kind] = field(default_factory=Counter[Kind])
    right: Counter[Kind] = field(default_factory=Counter[Kind])
    mistaken: Counter[tuple[Kind, str, str | None]] = field(default_factory=Counter[tuple[Kind, str, str | None]])
    """(kind, true, read) of the facts that were read wrongly, or not at all (`None`)."""
    swaps: Counter[tuple[Kind, Kind]] = field(default_factory=Counter[tuple[Kind, Kind]])
    """(fact of the prompt that was made wrong, fact that was found wrong)."""
    swapped: Counter[Kind] = field(default_factory=Counter[Kind])
    """Prompts that were made wrong, by kind."""

    @property
    def share_right(self) -> float:
        """Of all facts, those of unreadable pictures counted as wrong."""
        return sum(self.right.values()) / max(1, sum(self.asked.values()))

    def shares(self) -> dict[str, float]:
        """What was read rightly. `one_object` and `two_objects` are shares of pictures with all facts right."""
        return {
            "all_facts": self.share_right,
            "one_object": self.whole[1] / max(1, self.scenes[1]),
            "two_objects": self.whole[2] / max(1, self.scenes[2]),
            **{str(kind): self.right[kind] / count for kind, count in self.asked.items()},
        }

    def as_dict(self) -> dict[str, object]:
        """For programs: JSON types only."""
        return {
            "pictures": self.pictures,
            "unreadable": self.unreadable,
            "facts": sum(self.asked.values()),
            **self.shares(),
            "mistaken": [
                {"fact": str(kind), "true": true, "read": seen, "times": times}
                for (kind, true, seen), times in self.mistaken.most_common()
            ],
            "swaps": {
                str(kind): {
                    "prompts": self.swapped[kind],
                    "found_wrong": {str(other): self.swaps[kind, other] for other in Kind if self.swaps[kind, other]},
                }
                for kind in SWAPPED_KINDS
            },
        }


def try_scorer(
    count: int, *, seed: int = 0, through: Callable[[Image.Image], Image.Image] = lambda picture: picture
) -> Trial:
    """Render `count` random scenes, read them back, and compare: with the truth, and with prompts made wrong.

    Args:
        through: what happens to each picture before it is read, for example a round trip through the VAE.
    """
    rng, trial = Random(seed), Trial()
    for _ in range(count):
        scene = random_scene(rng)
        picture, asked = through(render(scene, rng)), asked_of(scene)
        trial.pictures += 1
        trial.scenes[len(scene.things)] += 1
        try:
            reading = read(picture)
        except UnreadableError:
            trial.unreadable += 1
            trial.asked.update(_kinds(asked))
            continue
        score = compare(asked, reading)
        trial.whole[len(scene.things)] += score.all_right
        trial.asked.update(fact.kind for fact in score.facts)
        trial.right.update(fact.kind for fact in score.facts if fact.right)
        trial.mistaken.update((fact.kind, fact.asked, fact.seen) for fact in score.facts if not fact.right)
        for kind, wrong in made_wrong(asked, rng):
            trial.swapped[kind] += 1
            trial.swaps.update((kind, other) for other in _wrong_kinds(compare(wrong, reading)))
    return trial


def made_wrong(asked: Asked, rng: Random) -> Iterator[tuple[Kind, Asked]]:
    """What was asked, with one fact exchanged for another, for each kind of fact that it has."""
    first, *others = asked.things
    taken = {thing.colour for thing in asked.things} | {asked.background}
    colours = [colour for colour in COLOURS if colour not in taken]
    shapes = [shape for shape in SHAPES if shape not in {thing.shape for thing in asked.things}]
    yield Kind.COLOUR, replace(asked, things=(replace(first, colour=rng.choice(colours)), *others))
    yield Kind.SHAPE, replace(asked, things=(replace(first, shape=rng.choice(shapes)), *others))
    yield Kind.BACKGROUND, replace(asked, background=rng.choice(colours))
    if first.size is not None:
        other_size = Size.LARGE if first.size is Size.SMALL else Size.SMALL
        yield Kind.SIZE, replace(asked, things=(replace(first, size=other_size), *others))
    if asked.relation is not None:
        yield Kind.RELATION, replace(asked, things=(*others, first))


def _wrong_kinds(score: Score) -> set[Kind]:
    return {fact.kind for fact in score.facts if not fact.right}


def _kinds(asked: Asked) -> list[Kind]:
    """The kinds of all facts of a scene."""
    kinds = [Kind.NUMBER, Kind.BACKGROUND, *([Kind.RELATION] if asked.relation else [])]
    return kinds + [kind for _ in asked.things for kind in (Kind.COLOUR, Kind.SHAPE, Kind.SIZE, Kind.FILL)]
