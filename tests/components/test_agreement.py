"""Which calls may run as one forward. What is not understood runs alone: fail closed, and say so once."""

from collections.abc import Callable
from enum import Enum
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import nn

from bench import Bench, rows
from callers import HoldableWorker, results, together
from toys import COUNTING, SAMPLE, CachingNetwork, CenteredNetwork, CountingNetwork, KeyValueCache

Host = Callable[..., Any]


@pytest.fixture
def bench() -> Bench:
    return Bench(CountingNetwork(), layouts=COUNTING)


class Branch(Enum):
    """A flag of a kind that pipelines use."""

    COND = "cond"
    UNCOND = "uncond"

    def __repr__(self) -> str:
        return "a branch"


class Processor:
    """An object as a flag: its `repr` may be equal or not, its value nobody knows."""

    def __repr__(self) -> str:
        return "Processor()"


# --- times

TIMES = {
    "int64 number of the tensor kind": torch.tensor(37),
    "int64 row": torch.tensor([37]),
    "int32": torch.tensor(37, dtype=torch.int32),
    "float32": torch.tensor(37.0),
    "float64": torch.tensor(37.0, dtype=torch.float64),
    "float32 rows": torch.tensor([37.0, 37.0]),
    "int64 rows": torch.tensor([37, 37]),
    "int": 37,
    "float": 37.0,
}


@pytest.mark.parametrize("form", TIMES)
def test_a_time_is_one_float32_row_for_each_row_in_whatever_form_it_comes(form: str, bench: Bench) -> None:
    call = bench.call(rows(1.0, 2.0), TIMES[form])
    other = bench.call(rows(1.0, 2.0), torch.tensor(99.0))
    assert torch.equal(call.arguments["timestep"], torch.tensor([37.0, 37.0]))
    assert call.arguments["timestep"].dtype == torch.float32
    assert bench.agree(call, other)  # different times of different steps run together: that is the point
    torch.testing.assert_close(bench.run(call, other)[0], rows(2.0, 4.0) + 37)


def test_a_time_in_half_precision_stays_so_as_the_plain_network_would_read_it(bench: Bench) -> None:
    call = bench.call(rows(1.0), torch.tensor([37.0], dtype=torch.bfloat16))
    assert call.arguments["timestep"].dtype == torch.bfloat16
    assert not bench.agree(call, bench.call(rows(1.0), torch.tensor([37.0])))


def test_times_that_are_not_one_for_each_row_are_not_understood(bench: Bench) -> None:
    call = bench.call(rows(1.0, 2.0, 3.0), torch.tensor([1.0, 2.0]))
    assert call.key is None


# --- rows, flags, containers


def test_residuals_agree_as_list_and_as_tuple(bench: Bench) -> None:
    listed = bench.call(rows(1.0), residuals=[rows(1.0), rows(2.0)])
    tupled = bench.call(rows(1.0), residuals=(rows(1.0), rows(2.0)))
    assert bench.agree(listed, tupled)
    assert bench.run(listed, tupled)[0].equal(bench.run(listed)[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"residuals": ()}, {}),
        ({"residuals": [rows(1.0)]}, {"residuals": [rows(1.0)] * 2}),
        ({"context": rows(1.0)}, {}),
        ({"flag": {}}, {}),
        ({"flag": {}}, {"flag": ()}),
        ({"flag": {"scale": 1.0}}, {"flag": {"scale": 2.0}}),
        ({"flag": {"scale": 1.0}}, {"flag": {"other": 1.0}}),
        ({"flag": {"0": 1}}, {"flag": (1,)}),
    ],
)
def test_calls_of_another_structure_do_not_agree(one: dict[str, Any], other: dict[str, Any], bench: Bench) -> None:
    assert bench.agree(bench.call(rows(1.0), **one), bench.call(rows(1.0), **one))
    assert not bench.agree(bench.call(rows(1.0), **one), bench.call(rows(1.0), **other))


@pytest.mark.parametrize("flag", [1, 1.0, True, "1", Branch.COND, torch.float16, torch.device("cpu"), (1, "a"), None])
def test_flags_agree_by_value(flag: Any, bench: Bench) -> None:
    assert bench.agree(bench.call(rows(1.0), flag=flag), bench.call(rows(1.0), flag=flag))
    assert not bench.agree(bench.call(rows(1.0), flag=flag), bench.call(rows(1.0), flag="another"))


def test_flags_that_are_equal_in_python_and_of_another_type_do_not_agree(bench: Bench) -> None:
    calls = [bench.call(rows(1.0), flag=flag) for flag in (1, 1.0, True, "1")]
    assert len({call.key for call in calls}) == 4


def test_flags_that_print_alike_do_not_agree(bench: Bench) -> None:
    assert not bench.agree(bench.call(rows(1.0), flag=Branch.COND), bench.call(rows(1.0), flag=Branch.UNCOND))


def test_an_object_is_no_flag_however_it_prints(bench: Bench) -> None:
    shared = Processor()
    one, other = bench.call(rows(1.0), flag=shared), bench.call(rows(1.0), flag=shared)
    assert one.key is None
    assert other.key is None
    assert len(bench.said) == 1
    bench.run(one)
    network: Any = bench.component.module
    assert network.given[-1]["flag"] is shared


def test_the_order_of_keyword_arguments_does_not_matter(bench: Bench) -> None:
    one = bench.call(rows(1.0), first=1, second=2)
    assert bench.agree(one, bench.call(rows(1.0), second=2, first=1))


def test_an_argument_given_as_its_default_is_not_given(bench: Bench) -> None:
    plain = bench.call(rows(1.0))
    assert bench.agree(plain, bench.call(rows(1.0), None, None, flag=None))
    assert bench.agree(plain, bench.call(sample=rows(1.0)))


def test_other_shapes_and_precisions_run_apart(bench: Bench) -> None:
    call = bench.call(rows(1.0), context=rows(1.0))
    assert bench.agree(call, bench.call(rows(1.0, 2.0), context=rows(1.0, 2.0)))
    assert not bench.agree(call, bench.call(rows(1.0, width=4), context=rows(1.0)))
    assert not bench.agree(call, bench.call(rows(1.0), context=rows(1.0, width=5)))
    assert not bench.agree(call, bench.call(rows(1.0).half(), context=rows(1.0)))
    assert not bench.agree(call, bench.call(rows(1.0), context=rows(1.0).double()))


def test_calls_of_other_methods_components_and_modes_run_apart() -> None:
    from gesso.components.scope import ImageScope

    bench = Bench(CountingNetwork(), layouts=COUNTING)
    other = Bench(CountingNetwork(), layouts=COUNTING, worker=bench.worker)
    call = bench.call(rows(1.0))
    assert not bench.agree(call, other.call(rows(1.0)))
    assert not bench.agree(call, bench.call(rows(1.0), scope=ImageScope(exact=True)))


def test_unbatched_tensors_agree_if_their_bytes_do(bench: Bench) -> None:
    call = bench.call(rows(1.0), shared=rows(1.0, 2.0))
    assert bench.agree(call, bench.call(rows(1.0, 3.0), shared=rows(1.0, 2.0).clone()))
    assert not bench.agree(call, bench.call(rows(1.0), shared=rows(1.0, 2.5)))
    assert not bench.agree(call, bench.call(rows(1.0), shared=rows(1.0, 2.0).double()))
    assert not bench.agree(call, bench.call(rows(1.0), shared=rows(1.0, 2.0).reshape(3, 2)))


def test_unbatched_tensors_are_not_repeated_by_merging(bench: Bench) -> None:
    shared = rows(1.0, 2.0)
    bench.run(*(bench.call(rows(value), shared=shared.clone()) for value in (1.0, 2.0)))
    given: Any = bench.component.module.given
    assert torch.equal(given[0]["shared"], shared)


def test_a_generator_that_is_not_used_does_not_keep_calls_apart(bench: Bench) -> None:
    one = bench.call(rows(1.0), generator=torch.Generator())
    assert bench.agree(one, bench.call(rows(1.0), generator=torch.Generator()))
    assert "generator" not in one.arguments


# --- what is not understood


@pytest.mark.parametrize(
    "argument",
    [
        {"unknown": rows(1.0)},
        {"flag": {"mask": rows(1.0)}},
        {"context": rows(1.0, 2.0)},
        {"flag": KeyValueCache()},
        {"flag": MappingProxyType({"scale": 1.0})},
        {"generator": None, "flag": [object()]},
    ],
    ids=["tensor nobody named", "tensor in a flag", "other row count", "cache", "strange container", "object in list"],
)
def test_an_argument_that_is_not_understood_runs_alone_and_says_so_once(argument: Any, bench: Bench) -> None:
    calls = [bench.call(rows(1.0), **argument) for _ in range(2)]
    assert [call.key for call in calls] == [None, None]
    assert not bench.agree(*calls)
    assert bench.said == ["A call of `net` has arguments that are not understood and runs alone"]
    assert bench.call(rows(1.0)).key is not None, "calls that are understood still merge"


def test_a_class_without_data_runs_alone_and_says_so_once(host: Host, worker: HoldableWorker) -> None:
    said: list[str] = []
    network = host(CountingNetwork(), layouts={}, listener=said.append)
    found = results(together(worker, [lambda value=value: network(rows(value)) for value in (1.0, 2.0, 3.0)]))
    assert [output[0, 0].item() for output in found] == [2.0, 4.0, 6.0]
    assert network.control.batches == [[1.0], [2.0], [3.0]]
    assert said == ["`CountingNetwork` has no row data: its calls run alone"]


def test_a_subclass_of_a_known_class_gets_none_of_its_data() -> None:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from gesso.components.layouts import layouts_of

    class OtherUNet(UNet2DConditionModel):
        """May do anything with its rows."""

    assert layouts_of(UNet2DConditionModel)
    assert not layouts_of(OtherUNet)


def test_a_network_whose_rows_influence_each_other_keeps_its_result_because_its_class_has_no_data(
    host: Host, worker: HoldableWorker
) -> None:
    network = host(CenteredNetwork())
    found = results(together(worker, [lambda value=value: network(rows(value, value + 2)) for value in (1.0, 50.0)]))
    for output in found:
        assert torch.equal(output, rows(-1.0, 1.0))


def test_an_output_that_cannot_be_split_is_run_apart_and_said_once(host: Host, worker: HoldableWorker) -> None:
    said: list[str] = []
    network = host(CachingNetwork(), layouts=SAMPLE, listener=said.append)
    for _ in range(2):
        found = results(together(worker, [lambda value=value: network(rows(value)) for value in (1.0, 2.0)]))
        assert [output["sample"][0, 0].item() for output in found] == [2.0, 4.0]
        assert found[0]["cache"] is not found[1]["cache"]
    assert network.control.batches == [[1.0, 2.0], [1.0], [2.0], [1.0], [2.0]]  # merged once, never again
    assert said == ["Calls of `net` are not merged with others: of its output, `cache` is a KeyValueCache"]


def test_an_output_that_cannot_be_split_runs_alone_in_exact_mode_too() -> None:
    from gesso.components.scope import ImageScope

    bench = Bench(CachingNetwork(), layouts=SAMPLE)
    calls = [bench.call(rows(value), scope=ImageScope(exact=True)) for value in (1.0, 2.0)]
    assert [output["sample"][0, 0].item() for output in bench.run(*calls)] == [2.0, 4.0]
    assert bench.said == ["Calls of `net` are not merged with others: of its output, `cache` is a KeyValueCache"]


def test_an_output_without_a_dimension_of_rows_is_not_split() -> None:
    class Summing(nn.Module):
        def forward(self, sample: torch.Tensor) -> Any:
            return sample, sample.sum()

    bench = Bench(Summing(), layouts=SAMPLE)
    first, second = bench.run(bench.call(rows(1.0)), bench.call(rows(2.0)))
    assert first[1].item() == 3.0
    assert second[1].item() == 6.0
    assert "`1` is a Tensor" in bench.said[0]


def test_a_method_that_names_cannot_express_is_refused() -> None:
    class Anything(nn.Module):
        def forward(self, *samples: torch.Tensor) -> Any:
            return samples

    with pytest.raises(TypeError, match=r"`net\.forward` takes positional arguments only"):
        Bench(Anything()).call(rows(1.0))


def test_arguments_that_do_not_fit_raise_as_python_does(host: Host) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    with pytest.raises(TypeError, match="missing a required argument: 'sample'"):
        network(flag=1)
    with pytest.raises(TypeError, match="multiple values"):
        network(rows(1.0), sample=rows(1.0))
