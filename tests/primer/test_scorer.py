"""The scorer reads pictures back into facts, says so where it cannot, and finds a wrong prompt wrong."""

from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from gesso.primer.prompt import asked_of, parse
from gesso.primer.reading import Reading, UnreadableError, read
from gesso.primer.render import Place, draw, render
from gesso.primer.scene import COLOURS, Fill, Relation, Scene, Size, Thing, random_scene
from gesso.primer.score import Kind, Score, compare
from gesso.primer.shapes import NEW_SHAPES, SHAPES
from gesso.primer.trial import SWAPPED_KINDS, try_scorer


def test_at_least_98_percent_of_the_facts_of_unseen_renders_are_read_rightly() -> None:
    trial = try_scorer(120, seed=20_261)
    assert trial.share_right >= 0.98
    assert sum(trial.whole.values()) >= 0.95 * trial.pictures == 0.95 * sum(trial.scenes.values())
    for kind, count in trial.asked.items():
        assert trial.right[kind] / count >= 0.97, kind


def test_a_prompt_made_wrong_is_found_wrong_in_that_fact_and_in_no_other() -> None:
    trial = try_scorer(60, seed=5)
    for kind in SWAPPED_KINDS:
        assert trial.swapped[kind] > 20
        assert trial.swaps[kind, kind] == trial.swapped[kind]
        for other in set(Kind) - {kind}:
            assert trial.swaps[kind, other] <= 0.02 * trial.swapped[kind]


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("size", list(Size))
@pytest.mark.parametrize("fill", list(Fill))
def test_each_shape_is_read_in_each_size_and_fill(shape: str, size: Size, fill: Fill) -> None:
    thing = Thing(shape=shape, colour="purple", size=size, fill=fill)
    (seen,) = read(render(Scene(things=(thing,), background="orange"), Random(3))).things
    assert (seen.shape, seen.colour, seen.size, seen.fill) == (shape, "purple", size, fill)


@pytest.mark.parametrize("colour", sorted(COLOURS))
def test_each_colour_is_told_from_each_background(colour: str) -> None:
    for background in COLOURS:
        if background != colour:
            scene = Scene(things=(Thing(shape="star", colour=colour, fill=Fill.STRIPED),), background=background)
            reading = read(render(scene, Random(4)))
            assert (reading.background, reading.things[0].colour) == (background, colour)


def test_where_a_thing_is_seen_is_where_it_was_drawn() -> None:
    where = Place(x=0.4, y=0.6, radius=0.2)
    for shape in SHAPES:
        picture = draw(Scene(things=(Thing(shape=shape, colour="red"),), background="white"), (where,))
        (seen,) = read(picture).things
        assert abs(seen.x - 0.4) < 0.02, shape
        assert abs(seen.y - 0.6) < 0.02, shape
        assert abs(seen.radius - 0.2) < 0.02, shape


def test_a_picture_is_read_at_any_size_and_through_a_blur() -> None:
    rng = Random(8)
    for _ in range(10):
        scene = random_scene(rng)
        for picture in (render(scene, rng, 256), render(scene, rng).filter(ImageFilter.GaussianBlur(0.7))):
            assert compare(asked_of(scene), read(picture)).all_right


def test_new_subjects_are_read_if_asked_for_and_are_of_no_known_shape_otherwise() -> None:
    for name in NEW_SHAPES:
        picture = render(
            Scene(things=(Thing(shape=name, colour="blue", size=Size.LARGE),), background="white"), Random(1)
        )
        assert read(picture, {**SHAPES, **NEW_SHAPES}).things[0].shape == name
        assert read(picture).things[0].shape is None, name


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (128, 128, 3), dtype=np.uint8))


def gradient() -> Image.Image:
    row = np.linspace(0, 255, 128, dtype=np.uint8)
    return Image.fromarray(
        np.stack([np.tile(row, (128, 1)), np.tile(row[:, None], (1, 128)), np.full((128, 128), 90, np.uint8)], axis=-1)
    )


def page_of_text() -> Image.Image:
    page = Image.new("RGB", (256, 256), "white")
    pen = ImageDraw.Draw(page)
    for line in range(8):
        pen.text((16, 16 + 28 * line), "The quick brown fox jumps", fill="black", font_size=18)
    return page


def patchwork() -> Image.Image:
    """A thing in the middle that is of many colours, on an even ground."""
    paper = Image.new("RGB", (128, 128), COLOURS["white"])
    paper.paste(noise(3).crop((0, 0, 60, 50)), (30, 40))
    return paper


@pytest.mark.parametrize(
    "picture",
    [noise(1), gradient(), page_of_text(), patchwork(), Image.new("RGB", (128, 64)), Image.new("RGB", (32, 32))],
    ids=["noise", "gradient", "text", "patchwork", "oblong", "tiny"],
)
def test_a_picture_that_is_none_of_the_world_cannot_be_read(picture: Image.Image) -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        read(picture)


def test_whatever_is_drawn_is_read_or_refused() -> None:
    rng = Random(17)

    def points(count: int) -> list[tuple[int, int]]:
        return [(rng.randrange(128), rng.randrange(128)) for _ in range(count)]

    refused = 0
    for _ in range(60):
        picture = Image.new("RGB", (128, 128), rng.choice(list(COLOURS.values())))
        pen = ImageDraw.Draw(picture)
        for _ in range(rng.randrange(6)):
            colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
            match rng.randrange(3):
                case 0:
                    pen.polygon(points(rng.randrange(3, 8)), fill=colour)
                case 1:
                    pen.line(points(4), fill=colour, width=rng.randrange(1, 9))
                case _:
                    (x, y), radius = points(1)[0], rng.randrange(1, 70)
                    pen.ellipse((x - radius, y - radius // 2, x + radius, y + radius), fill=colour)
        try:
            assert len(read(picture).things) <= 4
        except UnreadableError:
            refused += 1
    assert 5 < refused < 55


def test_what_has_no_shape_of_the_world_is_not_given_one() -> None:
    picture = Image.new("RGB", (128, 128), COLOURS["teal"])
    ImageDraw.Draw(picture).polygon([(20, 30), (108, 24), (64, 50), (100, 104), (40, 70)], fill=COLOURS["red"])
    (seen,) = read(picture).things
    assert (seen.shape, seen.colour) == (None, "red")
    score = compare(parse("a red star on a teal background"), read(picture))
    assert [fact.kind for fact in score.facts if not fact.right] == [Kind.SHAPE]


def test_a_colour_that_is_none_of_the_world_is_not_given_one() -> None:
    picture = Image.new("RGB", (128, 128), (200, 255, 200))
    ImageDraw.Draw(picture).rectangle((30, 30, 90, 90), fill=(0, 255, 0))
    reading = read(picture)
    assert reading.background is None
    assert (reading.things[0].colour, reading.things[0].shape) == (None, "square")


def test_an_empty_picture_shows_its_background_and_nothing_else() -> None:
    assert read(Image.new("RGB", (128, 128), COLOURS["pink"])) == Reading(background="pink", things=(), relation=None)


def test_only_what_was_asked_for_counts() -> None:
    scene = Scene(things=(Thing(shape="heart", colour="red", size=Size.LARGE),), background="black")
    reading = read(render(scene, Random(2)))
    kinds = {fact.kind for fact in compare(parse("a heart"), reading).facts}
    assert kinds == {Kind.NUMBER, Kind.SHAPE, Kind.FILL}


def pair(first: str, second: str, relation: Relation) -> Reading:
    things = (Thing(shape=first, colour="red"), Thing(shape=second, colour="blue"))
    return read(render(Scene(things=things, relation=relation, background="white"), Random(6)))


def wrong(score: Score) -> list[tuple[Kind, str, str | None]]:
    return [(fact.kind, fact.asked, fact.seen) for fact in score.facts if not fact.right]


def test_two_things_in_the_wrong_order_have_a_wrong_relation_and_nothing_else() -> None:
    reading = pair("circle", "star", Relation.LEFT_OF)
    asked = parse("a blue star left of a red circle on a white background")
    assert wrong(compare(asked, reading)) == [(Kind.RELATION, "left of", "right of")]
    assert wrong(compare(parse("a red circle above a blue star"), reading)) == [(Kind.RELATION, "above", "left of")]


def test_a_missing_thing_has_no_right_facts_and_one_too_many_is_counted() -> None:
    reading = pair("circle", "star", Relation.ABOVE)
    assert wrong(compare(parse("a blue star"), reading)) == [(Kind.NUMBER, "1", "2")]
    alone = read(render(Scene(things=(Thing(shape="ring", colour="red"),), background="white"), Random(1)))
    missed = compare(parse("a red ring left of a blue cross"), alone)
    assert {kind for kind, _, seen in wrong(missed) if seen is None} >= {Kind.RELATION, Kind.COLOUR, Kind.SHAPE}
    assert (Kind.NUMBER, "2", "1") in wrong(missed)


def test_two_things_that_touch_are_read_as_two() -> None:
    things = (Thing(shape="square", colour="red"), Thing(shape="circle", colour="red"))
    scene = Scene(things=things, relation=Relation.LEFT_OF, background="white")
    touching = (Place(x=0.38, y=0.5, radius=0.16), Place(x=0.66, y=0.5, radius=0.16))
    assert [thing.shape for thing in read(draw(scene, touching)).things] == ["square", "circle"]
