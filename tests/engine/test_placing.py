"""A model that does not fit the free memory runs all the same, network by network, without being asked."""

import pytest

import studios
from gesso.core.budget import MemoryBudget
from gesso.core.errors import DoesNotFitError
from gesso.core.requests import ImageRequest
from gesso.devices import choose
from gesso.devices.base import Device
from gesso.devices.cpu import CpuDevice
from gesso.engine.placing import plan_for
from gesso.engine.studio import Studio
from gesso.models.folder import ModelDescription

ROOMY_BYTES = 2**40


class SmallCard(CpuDevice):
    """The CPU, posing as a card with `free_bytes` of memory: moves are counted, copies cost nothing."""

    accelerator = True
    free_bytes = ROOMY_BYTES

    def memory(self) -> MemoryBudget:
        return MemoryBudget(device=self.name, total_bytes=ROOMY_BYTES, free_bytes=self.free_bytes)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SmallCard:
    card = SmallCard()

    def choose_card(name: str | None) -> Device:
        return card

    monkeypatch.setattr(choose, "choose", choose_card)
    return card


def all_of_it_bytes(studio: Studio, card: SmallCard, request: ImageRequest) -> int:
    planned, room = plan_for(described(studio), studio.resolve(request), card)
    assert room is None
    return planned.needed_bytes


def described(studio: Studio) -> ModelDescription:
    return studio.store.find("primer")


REQUEST = ImageRequest(prompt="a red circle", seed=3, steps=3)


def test_networks_that_do_not_fit_together_come_when_they_are_called(card: SmallCard) -> None:
    with studios.studio() as studio:
        expected = studio.submit(REQUEST).result(60).images[0]
        everything_bytes = all_of_it_bytes(studio, card, REQUEST)
    with studios.studio() as studio:
        card.free_bytes = everything_bytes - 1
        result = studio.submit(REQUEST).result(60)
        residency = studio._worker(card).residency
        assert residency.room_bytes is not None
        assert residency.moved_in_bytes() <= residency.room_bytes
        assert residency.moves == len(described(studio).networks)
    assert result.images[0].tobytes() == expected.tobytes()


def test_a_network_that_does_not_fit_alone_is_refused_with_the_numbers(card: SmallCard) -> None:
    with studios.studio() as studio:
        card.free_bytes = 10 * 2**20
        with pytest.raises(DoesNotFitError, match=r"Needs .* MiB, free on `cpu`: 10\.0 MiB"):
            studio.submit(REQUEST).result(60)
        card.free_bytes = ROOMY_BYTES
        assert len(studio.submit(REQUEST).result(60).images) == 1


def test_on_the_cpu_itself_moving_out_would_free_nothing(monkeypatch: pytest.MonkeyPatch, card: SmallCard) -> None:
    monkeypatch.setattr(SmallCard, "accelerator", False)
    with studios.studio() as studio:
        card.free_bytes = all_of_it_bytes(studio, card, REQUEST) - 1
        with pytest.raises(DoesNotFitError):
            studio.submit(REQUEST).result(60)
