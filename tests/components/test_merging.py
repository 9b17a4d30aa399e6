"""What merging does to bytes and memory: rows go in contiguous, come out owned, and are split at the limit."""

from typing import Any

import pytest
import torch
from torch import nn

from bench import Bench, rows
from gesso.components.merge import merged
from gesso.components.scope import ImageScope
from gesso.components.slots import Forward, Piece
from gesso.components.tree import joined_rows, leaves, mapped, take_rows
from toys import COUNTING, SAMPLE, CountingNetwork


class StrideReader(nn.Module):
    """Says what layout in memory its rows have, as the kernels of convolutions and norms ask."""

    def __init__(self) -> None:
        super().__init__()
        self.strides: list[tuple[int, ...]] = []

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        self.strides.append(sample.stride())
        return sample * 1


ROW_MAJOR = (256, 64, 8, 1)
ONE_CHANNEL = (64, 64, 8, 1)


@pytest.mark.parametrize("count", [1, 2])
def test_a_lone_call_reaches_the_network_row_by_row_whatever_its_strides(count: int) -> None:
    reader = StrideReader()
    bench = Bench(reader, layouts=SAMPLE)
    picture = torch.randn(count, 4, 8, 8).to(memory_format=torch.channels_last)
    assert torch.equal(bench.run(bench.call(picture))[0], picture)
    bench.run(bench.call(torch.randn(4, 8, 8, count).permute(3, 0, 1, 2)))
    bench.run(bench.call(torch.randn(2 * count, 4, 8, 8)[::2]))
    assert reader.strides == [ROW_MAJOR] * 3


def test_strides_that_only_say_channels_last_are_made_plain_too() -> None:
    """With one channel such a tensor counts as contiguous, and still a convolution takes it for channels last."""
    reader = StrideReader()
    bench = Bench(reader, layouts=SAMPLE)
    picture = torch.randn(1, 1, 8, 8).as_strided((1, 1, 8, 8), (64, 1, 8, 1))
    assert picture.is_contiguous()
    bench.run(bench.call(picture))
    assert reader.strides == [ONE_CHANNEL]


@pytest.mark.parametrize("channels", [1, 4])
def test_the_strides_of_a_neighbour_do_not_change_my_bytes(channels: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 4, 3, padding=1)
    )

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, sample: torch.Tensor) -> torch.Tensor:
            return self.network(sample)

    bench = Bench(Wrapped(), layouts=SAMPLE)
    mine, other = torch.randn(1, channels, 16, 16), torch.randn(1, channels, 16, 16)
    plain = bench.run(bench.call(mine), bench.call(other))[0]
    strided = other.to(memory_format=torch.channels_last)
    if channels == 1:
        strided = other.as_strided(other.shape, (256, 1, 16, 1))
    assert torch.equal(bench.run(bench.call(mine), bench.call(strided))[0], plain)
    assert torch.equal(
        bench.run(bench.call(strided), bench.call(mine))[0], bench.run(*made_calls(bench, other, mine))[0]
    )


def made_calls(bench: Bench, *samples: torch.Tensor) -> list[Any]:
    return [bench.call(sample) for sample in samples]


def test_outputs_of_a_merged_forward_own_their_memory() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING)
    outputs = bench.run(*made_calls(bench, rows(1.0), rows(2.0, 3.0), rows(4.0)))
    for output in outputs:
        assert output.untyped_storage().nbytes() == output.numel() * output.element_size()
    outputs[0].fill_(-1.0)  # pipelines write into what they got
    assert torch.equal(outputs[1], rows(4.0, 6.0))


def test_every_call_gets_its_own_rows_back() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING)
    calls = [
        bench.call(rows(*values), torch.tensor(time), context=rows(*values))
        for values, time in (((1.0,), 10), ((2.0, 3.0), 20), ((4.0, 5.0, 6.0), 30))
    ]
    for call, output in zip(calls, bench.run(*calls), strict=True):
        sample = call.arguments["sample"]
        assert torch.equal(output, 2 * sample + 3 * sample + call.arguments["timestep"].unsqueeze(1))
    network: Any = bench.component.module
    assert network.control.batches == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]


def test_a_call_with_more_rows_than_the_limit_is_split_and_put_together_again() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING, max_rows=4)
    sample = rows(*map(float, range(10)))
    [output] = bench.run(bench.call(sample))
    network: Any = bench.component.module
    assert [len(batch) for batch in network.control.batches] == [4, 4, 2]
    assert torch.equal(output, sample * 2)


def test_a_guidance_pair_stays_together() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING, max_rows=3)
    calls = [bench.call(rows(float(number), float(number) + 0.5)) for number in range(3)]
    bench.run(*calls)
    network: Any = bench.component.module
    assert network.control.batches == [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]


def test_in_exact_mode_every_forward_has_the_stated_size() -> None:
    bench = Bench(CountingNetwork(), layouts=COUNTING, exact_rows=4)
    network: Any = bench.component.module
    scope = ImageScope(exact=True)
    bench.run(bench.call(rows(9.0), scope=scope))  # with the self-test
    network.control.batches.clear()
    sizes = (1, 2, 2, 5, 3)
    calls = [bench.call(rows(*map(float, range(size))), scope=scope) for size in sizes]
    for call, output in zip(calls, bench.run(*calls), strict=True):
        assert torch.equal(output, call.arguments["sample"] * 2)
    assert {len(batch) for batch in network.control.batches} == {4}
    assert {segment.batch_rows for call in calls for segment in call.segments} == {4}


def test_free_slots_are_filled_with_a_row_that_is_there() -> None:
    """Zeros or leftovers could overflow or be slow; a row of the batch is as harmless as the batch."""
    forward = Forward(pieces=(Piece(call=0, start=1, rows=1, slot=1),), batch_rows=4)
    arguments = {"sample": rows(1.0, 2.0, 3.0), "flag": "a"}
    built = merged([arguments], COUNTING["forward"], forward)
    assert torch.equal(built["sample"], rows(2.0, 2.0, 2.0, 2.0))
    assert built["flag"] == "a"


def test_outputs_keep_their_classes_through_splitting_and_joining() -> None:
    from typing import NamedTuple

    class Pair(NamedTuple):
        left: torch.Tensor
        right: list[torch.Tensor]

    tree = {"pair": Pair(rows(1.0, 2.0), [rows(3.0, 4.0)]), "number": 3, "nothing": None}
    parts = [take_rows(tree, 0, 1, 2), take_rows(tree, 1, 2, 2)]
    assert isinstance(parts[0]["pair"], Pair)
    assert torch.equal(parts[1]["pair"].right[0], rows(4.0))
    whole = joined_rows(parts)
    assert [path for path, _ in leaves(whole)] == ["pair.0", "pair.1.0", "number", "nothing"]
    for (_, one), (_, other) in zip(leaves(whole), leaves(tree), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_changed_tree_leaves_the_original_alone() -> None:
    tree = {"rows": [rows(1.0)], "flag": 1}
    changed = mapped(tree, lambda path, leaf: leaf + 1 if path == "rows.0" else leaf)
    assert torch.equal(tree["rows"][0], rows(1.0))  # pyright: ignore[reportIndexIssue, reportArgumentType]
    assert torch.equal(changed["rows"][0], rows(2.0))
