"""Prompts of the primer's world are read back into the facts that they name."""

from pathlib import Path
from random import Random

import pytest

from gesso.core.errors import InputError
from gesso.primer.caption import caption
from gesso.primer.prompt import GRAMMAR, WORDS, Asked, AskedThing, parse
from gesso.primer.scene import COLOURS, Fill, Relation, Size, random_scene
from gesso.primer.shapes import SHAPES


def test_every_caption_is_read_back_into_the_facts_of_its_scene() -> None:
    rng = Random(1)
    for _ in range(1000):
        scene = random_scene(rng)
        asked = parse(caption(scene, rng))
        assert (asked.background, asked.relation) == (scene.background, scene.relation)
        for one, thing in zip(asked.things, scene.things, strict=True):
            assert (one.shape, one.colour, one.fill) == (thing.shape, thing.colour, thing.fill)
            assert one.size in {None, thing.size}


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("circle", Asked(things=(AskedThing(shape="circle"),))),
        ("The BIG red circle.", Asked(things=(AskedThing(shape="circle", colour="red", size=Size.LARGE),))),
        (
            "striped star above a small gray ring, a pink background",
            Asked(
                things=(
                    AskedThing(shape="star", fill=Fill.STRIPED),
                    AskedThing(shape="ring", colour="gray", size=Size.SMALL),
                ),
                relation=Relation.ABOVE,
                background="pink",
            ),
        ),
        ("a heart on teal", Asked(things=(AskedThing(shape="heart"),), background="teal")),
    ],
)
def test_what_is_left_out_is_not_asked_for(prompt: str, asked: Asked) -> None:
    assert parse(prompt) == asked


def test_unknown_words_are_all_named_and_the_nearest_known_one_is_told() -> None:
    with pytest.raises(InputError) as raised:
        parse("a fierce circel on a red background with dragon")
    assert "`fierce`, `circel`, `with`, `dragon`" in raised.value.message
    with pytest.raises(InputError) as raised:
        parse("a red circel")
    assert (raised.value.hint or "").startswith("nearest: circle")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", "expected a shape, found the end"),
        ("red", "expected a shape, found the end"),
        ("a circle star", "expected the end, found `star`"),
        ("a circle left a star", "expected `of`, found `a`"),
        ("a circle on a star", "expected the colour of the background, found `star`"),
        ("a circle, red", "expected `background`, found the end"),
        ("a red blue circle", "expected a shape, found `blue`"),
    ],
)
def test_known_words_in_an_order_that_says_nothing_are_refused(prompt: str, expected: str) -> None:
    with pytest.raises(InputError) as raised:
        parse(prompt)
    assert expected in raised.value.message


def test_the_model_card_has_the_grammar_as_it_is(repository: Path) -> None:
    assert GRAMMAR in (repository / "docs" / "reference" / "primer.md").read_text("utf-8")


def test_the_grammar_names_every_word_that_is_no_colour_or_shape() -> None:
    for word in WORDS - set(COLOURS) - set(SHAPES):
        assert f'"{word}' in GRAMMAR or f'{word}"' in GRAMMAR, word
