"""The proof of the heart: whatever arrives when, every picture is what it is alone, and every picture ends."""

import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from gesso.components.batcher import PATIENCE
from gesso.core.errors import CancelledError, DeadlineError, NonFiniteError
from simulation import Ending, Outcome, Plan, Rule, VirtualStudio, drive, solo
from toys import ToyDecoder, ToyDenoiser, ToyTextEncoder, seeded

SCHEDULES = 200
IN_TURN = 20
"""Schedules of one test."""

ERRORS: dict[str, tuple[type[BaseException], ...]] = {
    "cancelled": (CancelledError,),
    "late": (DeadlineError,),
    "nan": (NonFiniteError,),
}


def schedule(number: int) -> list[Plan]:
    """Up to seven pictures of every kind, arriving when they like; most end well."""
    chance = random.Random(number)
    rules: list[Rule] = ["euler", "euler", "heun", "noisy"]
    endings: list[Ending] = ["well", "raises", "nan", "cancelled", "late"]
    return [
        Plan(
            seed=chance.randrange(3),
            steps=chance.randint(3, 12),
            guided=chance.random() < 0.5,
            size=chance.choice([8, 12]),
            rule=chance.choice(rules),
            ending=chance.choices(endings, [6, 1, 1, 1, 1])[0],
            priority=chance.choice([0, 0, 0, 5, -5]),
            arrival_seconds=chance.choice([0.0, chance.uniform(0, 3), chance.uniform(0, 20)]),
            between_seconds=chance.choice([0.001, 0.01, 0.05, 0.3]),
        )
        for _ in range(chance.randint(2, 7))
    ]


def check_endings(studio: VirtualStudio, outcomes: list[Outcome]) -> None:
    """Every picture ends, and each in its own way."""
    assert len(studio.worker.batcher.drain()) == 0
    assert studio.longest_idle_wait <= PATIENCE * (studio.benches["unet"].component.pace("forward") + 1.0)
    for outcome in outcomes:
        plan = outcome.plan
        if plan.ends_well():
            assert outcome.error is None
        elif plan.ending == "raises":
            assert "poison" in str(outcome.error)
        else:
            # A picture that finds the device to itself may be done before it is cancelled or late.
            assert isinstance(outcome.error, ERRORS[plan.ending]) or (
                outcome.picture is not None and plan.ending in ("cancelled", "late")
            )


@pytest.mark.parametrize("first", range(0, SCHEDULES, IN_TURN))
def test_exact_pictures_have_their_solo_bytes_in_every_schedule(first: int) -> None:
    studio = VirtualStudio()
    for number in range(first, first + IN_TURN):
        plans = [replace(plan, exact=True) for plan in schedule(number)]
        outcomes = studio.run(*plans)
        check_endings(studio, outcomes)
        for outcome in outcomes:
            if outcome.plan.ends_well():
                assert outcome.data() == solo(outcome.plan).data(), f"schedule {number}, {outcome.plan}"
        shared = [entry for outcome in outcomes for entry in outcome.scope.trace.entries()]
        assert {segment.batch_rows for entry in shared for segment in entry.segments} <= {1, 4}
    network: Any = studio.benches["unet"].component.module
    assert any(len(set(batch)) > 2 for batch in network.control.batches[20:]), "nothing was shared, nothing is proved"


@pytest.mark.parametrize("first", range(0, SCHEDULES, IN_TURN))
def test_fast_pictures_stay_within_a_thousandth_of_solo_in_every_schedule(first: int) -> None:
    foreign, studio = 0, VirtualStudio()
    for number in range(first, first + IN_TURN):
        outcomes = studio.run(*schedule(number))
        check_endings(studio, outcomes)
        for outcome in outcomes:
            if outcome.plan.ends_well():
                assert outcome.picture is not None
                torch.testing.assert_close(outcome.picture, solo(outcome.plan).picture, rtol=0, atol=1e-3)
        foreign += sum(outcome.foreign_rows() for outcome in outcomes)
    assert foreign > 0


@pytest.mark.parametrize("ending", ["raises", "nan", "cancelled", "late"])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "fast"])
def test_a_picture_that_ends_badly_leaves_the_others_as_they_are(ending: Ending, exact: bool) -> None:
    """The same company twice: once with a picture that ends badly half-way, once with the same one ending well."""
    plans = [Plan(seed=seed, steps=8, guided=seed == 2, exact=exact) for seed in range(4)]
    plans[1] = replace(plans[1], ending=ending)
    outcomes = VirtualStudio().run(*plans)
    assert outcomes[1].error is not None
    assert outcomes[1].picture is None
    for index in (0, 2, 3):
        found, expected = outcomes[index], solo(plans[index])
        if exact:
            assert found.data() == expected.data()
        else:
            torch.testing.assert_close(found.picture, expected.picture, rtol=0, atol=1e-3)
        assert found.foreign_rows() > 0


def test_the_same_schedule_gives_the_same_trace() -> None:
    """Nothing in the queue depends on addresses, hashes or the machine's clock."""
    plans = schedule(7)
    first, second = (VirtualStudio().run(*plans) for _ in range(2))
    assert [one.scope.trace.entries() for one in first] == [other.scope.trace.entries() for other in second]


def test_a_lone_fast_picture_has_the_bytes_of_the_plain_networks() -> None:
    plan = Plan(seed=3, steps=7, guided=True, rule="heun")
    networks: dict[str, Any] = {
        name: seeded(network, seed)
        for seed, (name, network) in enumerate(
            {"text": ToyTextEncoder(), "unet": ToyDenoiser(), "vae": ToyDecoder()}.items()
        )
    }
    picture = drive(plan, lambda name, arguments: _plain(networks[name], arguments))
    assert torch.equal(picture, torch.as_tensor(solo(plan).picture))


def _plain(network: Any, arguments: Any) -> Any:
    given = dict(arguments)
    if "timestep" in given:
        given["timestep"] = given["timestep"].expand(len(given["sample"]))
    with torch.no_grad():
        return network.decode(**given) if "z" in given else network(**given)
