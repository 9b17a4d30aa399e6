"""`gesso bench`: the figures are there and agree with each other. How fast anything is, no test says."""

import pytest

import zoo
from cli_runs import Command
from gesso.engine.bench.short import BenchReport


def test_the_report_of_the_primer_is_complete_and_consistent(command: Command) -> None:
    ran = command("bench", "--steps", 2, "--clients", 2, "--seconds", 0.01, "--json")
    assert ran.code == 0
    assert set(ran.data) == set(BenchReport.model_fields)
    report = BenchReport.model_validate(ran.data)
    assert (report.model, report.steps, report.clients, report.rounds) == ("primer", 2, 2, 1)
    assert (report.width, report.height, report.threads) == (128, 128, 1)
    for way in (report.diffusers, report.alone, report.together):
        assert way.seconds > 0
        assert way.per_second == pytest.approx(1 / way.seconds)
        assert way.over_diffusers == pytest.approx(report.diffusers.seconds / way.seconds)
        assert way.over_diffusers_low <= way.over_diffusers <= way.over_diffusers_high
    assert report.together.p95_seconds >= report.together.seconds  # two were made while one was waited for
    assert report.ceiling is not None
    assert (report.ceiling.rows_alone, report.ceiling.rows_together) == (2, 4)
    assert report.ceiling.gain == pytest.approx(2 * report.ceiling.seconds_alone / report.ceiling.seconds_together)


def test_people_get_a_table(command: Command) -> None:
    model = zoo.saved("sd1")
    ran = command("bench", "--model", model, "--size", "64x64", "--steps", 2, "--clients", 2, "--seconds", 0.01)
    assert ran.code == 0
    assert "64x64, 2 steps" in ran.out
    for way in ("diffusers, one after another", "Gesso, one alone", "Gesso, 2 together"):
        assert way in ran.out
    assert "bare forwards" in ran.err


def test_one_client_shares_nothing_and_is_told_so(command: Command) -> None:
    ran = command("bench", "--steps", 1, "--clients", 1, "--seconds", 0.01, "--json")
    assert ran.data["ceiling"] is None
    assert "share no forwards" in ran.data["notes"][0]


def test_a_model_whose_rows_are_not_known_is_measured_without_a_ceiling(command: Command) -> None:
    model = zoo.saved("lcm")
    asked = ("--size", "64x64", "--steps", 2, "--clients", 2, "--seconds", 0.01, "--json")
    assert command("bench", "--model", model, *asked).data["together"]["seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--clients", 0), 2, "`--clients`: asked for 0"),
        (("--clients", 65), 2, "1 to 64"),
        (("--seconds", 0), 2, "`--seconds`: asked for 0"),
        (("--seconds", "nan"), 2, "`--seconds`"),
        (("--size", "big"), 2, "`--size`"),
        (("--size", "65x65"), 3, "nearest: 64x64"),
        (("--steps", 0), 3, "steps is 1 to"),
        (("--model", "nowhere"), 3, "Unknown model"),
    ],
)
def test_bad_input_is_one_clear_line(command: Command, arguments: tuple[object, ...], code: int, words: str) -> None:
    ran = command("bench", *arguments)
    assert ran.code == code
    assert ran.out == ""
    assert words in ran.err
    assert len(ran.err.splitlines()) <= 2
