"""Networks that take a list with one item for each row: rows of one shape run together, and keep to themselves."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from bench import Bench
from gesso.components.layouts import FORWARD, CallLayout
from gesso.components.scope import ImageScope
from gesso.components.tree import joined_rows, leaves, mapped, take_rows


class Reader(nn.Module):
    """Reads captions of several lengths: each padded to a multiple of 4, then to the longest of the batch."""

    def __init__(self, *, shared: bool = False) -> None:
        super().__init__()
        self.shared = shared
        self.batches: list[tuple[int, ...]] = []

    def forward(
        self, captions: list[torch.Tensor], times: Any = None, sizes: list[list[tuple[int, int]]] | None = None
    ) -> tuple[list[torch.Tensor]]:
        assert sizes is None or (isinstance(sizes, list) and len(sizes) == len(captions))
        self.batches.append(tuple(len(caption) for caption in captions))
        lengths = [-(-len(caption) // 4) * 4 for caption in captions]
        padded = pad_sequence(
            [
                torch.cat([caption, caption.new_zeros(length - len(caption), caption.shape[1])])
                for caption, length in zip(captions, lengths, strict=True)
            ],
            batch_first=True,
        )  # [rows, longest, C]
        mixed = padded.cumsum(1) * times.reshape(-1, 1, 1)
        if self.shared:
            mixed = mixed - mixed.mean(0)
        return ([row[: len(caption)] * padded.shape[1] for row, caption in zip(mixed, captions, strict=True)],)


LISTED = {
    FORWARD: CallLayout(
        rows=("captions",), timesteps=("times",), listed={"captions": 4, "sizes": 1}, listed_outputs=("0",)
    )
}


def bench(**options: Any) -> Bench:
    shared = options.pop("shared", False)
    return Bench(Reader(shared=shared), layouts=LISTED, **options)


def captions(*lengths: int, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {"captions": [torch.randn(length, 3, generator=generator) for length in lengths], "times": 2.0}


def with_sizes(*sizes: int, seed: int = 0) -> dict[str, Any]:
    given = captions(*[3] * len(sizes), seed=seed)
    return {**given, "sizes": [[size] for size in sizes]}


def reader(component: Bench) -> Reader:
    network = component.component.module
    assert isinstance(network, Reader)
    return network


def assert_same(found: Any, expected: Any) -> None:
    assert isinstance(found[0], list)
    assert len(found[0]) == len(expected[0])
    for one, other in zip(found[0], expected[0], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        ((3,), (4,), True),  # both are padded to 4
        ((3,), (4, 2), True),
        ((3,), (5,), False),
        ((3, 6), (2, 8), True),  # 4 then 8, both
        ((3, 6), (6, 3), False),
        ((3, 6), (6,), False),  # alone, the longer row is not masked
        ((3, 6), (3, 6, 6), False),
    ],
)
def test_calls_agree_whose_rows_are_padded_alike(one: tuple[int, ...], other: tuple[int, ...], agree: bool) -> None:
    component = bench()
    assert component.agree(component.call(**captions(*one)), component.call(**captions(*other))) == agree
    assert component.said == []


@pytest.mark.parametrize("lengths", [((3,), (4, 2), (1,)), ((3, 6), (2, 8), (4, 5))])
def test_each_call_gets_what_it_would_have_got_alone(lengths: tuple[tuple[int, ...], ...]) -> None:
    given = [captions(*own, seed=index) for index, own in enumerate(lengths)]
    alone = [bench().run(bench().call(**one)) for one in given]
    component = bench()
    calls = [component.call(**one) for one in given]
    found = component.run(*calls)
    assert reader(component).batches == [tuple(length for own in lengths for length in own)]
    for output, [expected] in zip(found, alone, strict=True):
        assert_same(output, expected)
    storages = {row.untyped_storage().data_ptr() for [rows] in found for row in rows}
    assert len(storages) == sum(len(own) for own in lengths)  # nobody's row keeps those of others in memory


def test_a_call_of_more_rows_than_the_limit_is_split_and_put_together_again() -> None:
    component = bench(max_rows=2)
    given = captions(3, 4, 2, 1, 4)
    [found] = component.run(component.call(**given))
    assert reader(component).batches == [(3, 4), (2, 1), (4,)]
    assert [len(row) for row in found[0]] == [3, 4, 2, 1, 4]
    [whole] = bench().run(bench().call(**given))
    assert_same(found, whole)


@pytest.mark.parametrize("lengths", [(3,), (4, 2), (3, 6)])
def test_exact_bytes_are_the_same_alone_and_in_company(lengths: tuple[int, ...]) -> None:
    given = captions(*lengths, seed=9)
    others = [captions(*lengths, seed=seed) for seed in range(3)]
    component = bench(exact_rows=4)

    def call(arguments: dict[str, Any]) -> Any:
        return component.call(**arguments, scope=ImageScope(exact=True))

    [alone] = component.run(call(given))
    for place in range(4):
        company = [*others[:place], given, *others[place:]]
        assert_same(component.run(*(call(one) for one in company))[place], alone)
    assert {len(batch) for batch in reader(component).batches} == {4}
    assert component.said == []


@pytest.mark.parametrize("lengths", [(4,), (3, 6)])
def test_rows_that_influence_each_other_are_found_out_in_exact_mode(lengths: tuple[int, ...]) -> None:
    component = bench(shared=True, exact_rows=4)
    calls = [component.call(**captions(*lengths, seed=seed), scope=ImageScope(exact=True)) for seed in (1, 2)]
    found = component.run(*calls)
    assert "not shared in exact mode" in component.said[0]
    for seed, output in zip((1, 2), found, strict=True):
        given = {**captions(*lengths, seed=seed), "times": torch.full((1,), 2.0)}
        assert_same(output, Reader(shared=True)(**given))


def test_plain_items_must_be_equal_and_come_once_for_each_row() -> None:
    component = bench()
    first, second, larger = (with_sizes(size, seed=seed) for seed, size in enumerate([4, 4, 5]))
    two = with_sizes(4, 4)
    assert component.agree(component.call(**first), component.call(**second))
    assert component.agree(component.call(**first), component.call(**two))
    assert not component.agree(component.call(**first), component.call(**larger))
    component.run(component.call(**first), component.call(**two))  # the network counts them


@pytest.mark.parametrize(
    "fields",
    [
        {"captions": []},
        {"captions": [[torch.zeros(3, 3)], [torch.zeros(3, 3)]]},  # several pictures a row
        {"captions": [torch.zeros(3, 3), torch.tensor(1.0)]},
        {"sizes": [[1]]},  # one for two rows
        {"sizes": [[object()], [object()]]},
    ],
)
def test_a_list_that_is_not_one_item_a_row_runs_alone_and_says_so(fields: dict[str, Any]) -> None:
    component = bench()
    call = component.call(**captions(3, 4) | fields)
    assert call.layout is None
    assert call.key is None
    assert component.said == ["A call of `net` has arguments that are not understood and runs alone"]


def test_items_are_cast_to_the_precision_of_the_network() -> None:
    layout = CallLayout(rows=("captions",), timesteps=("times",), cast=("captions",), listed={"captions": 4})
    component = Bench(Reader(), layouts={FORWARD: layout}, dtype=torch.bfloat16)
    arguments = component.call(**captions(3, 4)).arguments
    assert {item.dtype for item in arguments["captions"]} == {torch.bfloat16}


def test_a_container_that_counts_as_a_leaf_is_changed_whole() -> None:
    tree = {"a": [1, 2], "b": {"a": [3]}}
    assert dict(leaves(tree, whole=("a",))) == {"a": [1, 2], "b.a.0": 3}
    assert mapped(tree, lambda path, leaf: (path, leaf), whole=("a", "b.a")) == {
        "a": ("a", [1, 2]),
        "b": {"a": ("b.a", [3])},
    }


def test_a_listed_output_is_taken_and_joined_by_its_items() -> None:
    rows = [torch.full((index + 1,), float(index)) for index in range(3)]
    parts = [take_rows((rows,), start, stop, 3, listed=("0",)) for start, stop in ((0, 2), (2, 3))]
    [found] = joined_rows(parts, listed=("0",))
    assert [row.tolist() for row in found] == [row.tolist() for row in rows]
