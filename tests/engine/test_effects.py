"""What a user would see: pictures of the primer's world, made in every way that there is, show what was asked for."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import studios
from effects import Effect
from gesso.core.requests import ImageRequest, Precision
from gesso.engine.evaluation import Tally, held_out_prompts, score_into
from gesso.engine.samplers.table import names_for
from gesso.engine.studio import Studio
from gesso.primer.prompt import parse
from gesso.primer.reading import read
from gesso.primer.score import Kind, Score, compare

PROMPT = "a large white heart on a teal background"
"""That of the README, which the primer draws rightly."""
SEED = 4
FEW_STEPS = frozenset({"LCM", "TCD"})
"""Samplers for distilled models: on others they blur what they draw."""


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with studios.studio() as opened:
        yield opened


def pictures(studio: Studio, requests: Sequence[dict[str, Any]]) -> list[Image.Image]:
    asked = [ImageRequest(**{"prompt": PROMPT, "seed": SEED, "steps": 20} | fields) for fields in requests]
    return [image for result in studios.run_together(studio, asked) for image in result.images]


def score(picture: Image.Image, prompt: str = PROMPT) -> Score:
    return compare(parse(prompt), read(picture))


def share_right(images: Sequence[Image.Image], prompts: Sequence[str]) -> float:
    """Of all facts that were asked for."""
    tally = Tally()
    for image, prompt in zip(images, prompts, strict=True):
        score_into(tally, prompt, image)
    return tally.right.total() / tally.asked.total()


def test_the_picture_of_the_readme_comes_out_right_for_19_of_20_seeds(studio: Studio, repository: Path) -> None:
    asked = re.search(r"^PROMPT := (.+)$", (repository / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert asked is not None
    assert asked[1] == PROMPT
    assert PROMPT in (repository / "README.md").read_text("utf-8")
    made = pictures(studio, [{"seed": 0, "count": 20}])
    assert sum(score(picture).all_right for picture in made) >= 19


@pytest.mark.parametrize("sampler", sorted(set(names_for(flow=False)) - FEW_STEPS))
def test_with_every_sampler_the_picture_shows_what_was_asked(studio: Studio, sampler: str) -> None:
    (picture,) = pictures(studio, [{"sampler": sampler, "steps": 10}])
    assert score(picture).all_right


def test_the_more_guidance_there_is_the_further_it_moves_a_picture(studio: Studio, effect: Effect) -> None:
    """The primer does what it is told without guidance too: more of it makes what it is told stronger than it is."""
    strengths = (1.0, 2.0, 4.0, 8.0)
    prompts = held_out_prompts(3, things=1, seed=7)
    made = pictures(studio, [{"prompt": one, "guidance": w, "steps": 8} for w in strengths for one in prompts])
    rows = [made[first : first + len(prompts)] for first in range(0, len(made), len(prompts))]
    distances = [sum(map(studios.mean_distance, rows[0], row)) / len(prompts) for row in rows]
    assert distances == sorted(distances)
    effect(
        "Guidance moves pictures the further the more there is: 8 further than 2, by a factor of",
        distances[3] / distances[1],
        least=2,
        pictures={f"guidance {w:g}": row[0] for w, row in zip(strengths, rows, strict=True)},
    )


def test_more_steps_show_more_of_what_was_asked(studio: Studio) -> None:
    prompts = held_out_prompts(6, things=2, seed=6)
    made = {steps: pictures(studio, [{"prompt": prompt, "steps": steps} for prompt in prompts]) for steps in (1, 10)}
    assert share_right(made[10], prompts) > share_right(made[1], prompts) + 0.2


@pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
def test_pictures_of_other_prompts_beside_it_leave_a_picture_what_it_is(studio: Studio, exact: bool) -> None:
    others = [{"prompt": prompt, "guidance": 1.0, "steps": 11} for prompt in held_out_prompts(3, things=1)]
    mixed = pictures(studio, [{"exact": exact}, *({"exact": exact} | other for other in others)])
    assert score(mixed[0]).all_right


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT32])
def test_half_the_precision_shows_the_same_facts(studio: Studio, precision: Precision) -> None:
    (picture,) = pictures(studio, [{"precision": precision, "steps": 8}])
    assert score(picture).all_right


def test_a_word_of_the_prompt_that_is_changed_changes_that_fact_and_no_other(studio: Studio) -> None:
    changed = PROMPT.replace("teal", "yellow").replace("white", "purple")
    (picture,) = pictures(studio, [{"prompt": changed, "seed": 1, "steps": 6}])
    wrong = {fact.kind for fact in score(picture, PROMPT).facts if not fact.right}
    assert {Kind.BACKGROUND, Kind.COLOUR} <= wrong
    assert Kind.NUMBER not in wrong
    assert Kind.SHAPE not in wrong


def test_a_variation_keeps_the_facts_and_moves_the_picture(studio: Studio) -> None:
    whole, *varied = pictures(
        studio,
        [
            {"steps": 8},
            *({"steps": 8, "variation_seed": 9, "variation_strength": strength} for strength in (0.1, 0.3, 0.6)),
        ],
    )
    assert all(score(picture).all_right for picture in varied)
    distances = [studios.mean_distance(whole, picture) for picture in varied]
    assert 0 < distances[0] < distances[-1]
