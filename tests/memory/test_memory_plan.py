import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesso.core.budget import MemoryBudget
from gesso.core.errors import DoesNotFitError
from gesso.memory.plan import LIBRARY_BYTES, Footprint, MemoryPlan, Residence, activation_estimate, plan

GIB = 2**30
SIZES = st.integers(min_value=0, max_value=64 * GIB)


def budget(free_bytes: int) -> MemoryBudget:
    return MemoryBudget(device="cuda:0", total_bytes=96 * GIB, free_bytes=free_bytes)


def footprint(name: str, weight_bytes: int, activation_bytes: int = 0) -> Footprint:
    return Footprint(name=name, weight_bytes=weight_bytes, activation_bytes=activation_bytes)


@st.composite
def footprints(draw: st.DrawFn) -> list[Footprint]:
    sizes = draw(st.lists(st.tuples(SIZES, SIZES), max_size=6))
    return [footprint(f"network-{index}", *size) for index, size in enumerate(sizes)]


SDXL = [
    footprint("text_encoder", 1 * GIB, GIB // 8),
    footprint("unet", 5 * GIB, 1 * GIB),
    footprint("vae", GIB // 4, 3 * GIB),
]


def test_a_model_that_fits_stays_on_its_device_whole() -> None:
    made = plan(SDXL, budget(10 * GIB))
    assert set(made.residence.values()) == {Residence.RESIDENT}
    assert not made.offloads
    assert made.workspace_bytes == 3 * GIB
    assert made.needed_bytes == 9 * GIB + GIB // 4


def test_a_model_that_does_not_fit_whole_is_moved_in_network_by_network() -> None:
    made = plan(SDXL, budget(9 * GIB))
    assert set(made.residence.values()) == {Residence.OFFLOADED}
    assert made.offloads
    assert made.needed_bytes == 8 * GIB


def test_a_network_that_does_not_fit_alone_is_refused_with_what_it_needs_and_what_there_is() -> None:
    with pytest.raises(DoesNotFitError, match=r"Needs 8\.0 GiB, free on `cuda:0`: 7\.0 GiB") as caught:
        plan(SDXL, budget(7 * GIB))
    assert caught.value.needed_bytes == 8 * GIB
    assert caught.value.hint


def test_a_size_below_zero_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        footprint("unet", -1)


def planned(needs: list[Footprint], free: int) -> MemoryPlan | None:
    try:
        return plan(needs, budget(free))
    except DoesNotFitError:
        return None


@given(needs=footprints(), free=SIZES)
def test_a_plan_never_needs_more_than_there_is(needs: list[Footprint], free: int) -> None:
    made = planned(needs, free)
    if made is not None:
        assert made.needed_bytes <= free
        assert made.residence.keys() == {need.name for need in needs}
        assert all(need.weight_bytes + made.workspace_bytes <= made.needed_bytes for need in needs)


@given(needs=footprints(), free=SIZES)
def test_the_refusal_names_the_memory_with_which_it_would_run(needs: list[Footprint], free: int) -> None:
    if planned(needs, free) is None:
        with pytest.raises(DoesNotFitError) as caught:
            plan(needs, budget(free))
        assert planned(needs, caught.value.needed_bytes) is not None
        assert planned(needs, caught.value.needed_bytes - 1) is None


@given(needs=footprints(), free=SIZES, more=SIZES)
def test_more_memory_never_makes_a_plan_worse(needs: list[Footprint], free: int, more: int) -> None:
    before, after = planned(needs, free), planned(needs, free + more)
    if before is not None:
        assert after is not None
        assert before.offloads or not after.offloads


@given(needs=footprints(), free=SIZES)
def test_everything_is_resident_exactly_if_everything_fits(needs: list[Footprint], free: int) -> None:
    together = sum(need.weight_bytes for need in needs) + max((need.activation_bytes for need in needs), default=0)
    made = planned(needs, free)
    assert (made is not None and not made.offloads) == (together <= free)


@pytest.mark.parametrize("role", ["denoiser", "vae", "text", "image"])
@given(
    width=st.integers(1, 512),
    height=st.integers(1, 512),
    rows=st.integers(1, 32),
    patch=st.sampled_from([1, 2]),
    more=st.integers(1, 8),
)
def test_activations_grow_with_size_and_rows(
    role: str, width: int, height: int, rows: int, patch: int, more: int
) -> None:
    def estimate(width: int, height: int, rows: int, bytes_per_value: int) -> int:
        return activation_estimate(
            role,
            width_px=8 * width,
            height_px=8 * height,
            rows=rows,
            channels=64,
            bytes_per_value=bytes_per_value,
            patch=patch,
        )

    base = estimate(width, height, rows, 2)
    assert base > LIBRARY_BYTES
    assert estimate(width + more, height, rows, 2) >= base
    assert estimate(width, height, rows + more, 2) > base
    assert estimate(width, height, rows, 4) == pytest.approx(2 * base - LIBRARY_BYTES, abs=2)
    assert estimate(height, width, rows, 2) == base
