"""The page of effects has a row for each that a test shows."""

import effects_page


def test_the_page_tells_the_effects_that_tests_show() -> None:
    assert effects_page.lines_on_page() == effects_page.lines_in_tests(), (
        "write it anew with `PYTHONPATH=tests python -m effects_page`"
    )
