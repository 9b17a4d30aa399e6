"""The page of what was tried is made of the tests that try it."""

from collections import Counter

import robustness


def test_the_page_of_rough_treatment_is_that_of_the_tests() -> None:
    page = robustness.PAGE.read_text("utf-8")
    assert page == robustness.renewed(page), "run `python tests/robustness.py`"


def test_every_row_has_a_topic_and_stands_alone() -> None:
    rows = robustness.rows()
    assert len(rows) >= 50
    assert {row.topic for row in rows} == set(robustness.TOPICS)
    assert [tried for tried, times in Counter(row.tried for row in rows).items() if times > 1] == []
    for row in rows:
        for cell in (row.tried, row.happens, row.told):
            assert cell
            assert "|" not in cell
            assert "\n" not in cell
