"""The records of pipeline classes say what is: of the folders, of diffusers, of the page that people read."""

import inspect

import pytest

import family_page
import zoo
from gesso.engine.facts import argument_kinds, facts_of, pipeline_class
from gesso.models.families import FAMILIES
from gesso.models.folder import describe
from gesso.models.verified import VERIFIED, Guidance

TRIED = [kind for kind in zoo.KINDS if kind not in zoo.UNKNOWN]


def test_every_record_has_a_thin_pipeline_and_the_other_way_round() -> None:
    assert {describe(zoo.saved(kind)).pipeline_class for kind in TRIED} == set(VERIFIED)
    assert not {describe(zoo.saved(kind)).pipeline_class for kind in zoo.UNKNOWN} & set(VERIFIED)
    assert len(VERIFIED) >= 15


@pytest.mark.parametrize("kind", TRIED)
def test_a_record_says_what_the_folder_says(kind: str) -> None:
    found = describe(zoo.saved(kind))
    record = VERIFIED[found.pipeline_class]
    assert dict(record.networks) == {network.name: network.class_name for network in found.networks}
    assert record.alone <= record.networks.keys()
    assert record.size_multiple_px == found.size_multiple_px
    assert (record.family is not None) == (kind in zoo.FIRST_CLASS)
    if found.family is not None:
        assert record.family in FAMILIES
        assert found.family.pipelines == FAMILIES[record.family].pipelines


@pytest.mark.parametrize("pipeline", VERIFIED)
def test_a_record_says_of_guidance_and_negative_prompts_what_the_pipeline_does(pipeline: str) -> None:
    record = VERIFIED[pipeline]
    facts = [facts_of(describe(zoo.saved(kind))) for kind in TRIED if zoo.RECIPES[kind][0].__name__ == pipeline]
    if record.family is None:
        assert record.negative_prompt == ("negative_prompt" in argument_kinds(pipeline))
    else:
        assert record.negative_prompt == any(not fact.distilled for fact in facts)
        assert (record.guidance is Guidance.INPUT) == FAMILIES[record.family].guidance_embedded
    given = {*record.given, *record.given_at_other_steps}
    assert given <= inspect.signature(pipeline_class(pipeline).__call__).parameters.keys()  # pyright: ignore[reportFunctionMemberAccess]


def test_the_page_of_families_is_made_of_them() -> None:
    assert family_page.PAGE.read_text("utf-8") == family_page.page(), "PYTHONPATH=tests python -m family_page"
