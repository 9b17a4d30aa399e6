"""What ran where and what came out is recorded, replayed, and kept on disk for a job that is killed."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from safetensors.torch import save
from transformers.modeling_outputs import BaseModelOutputWithPooling

from bench import rows
from callers import Caller, HoldableWorker, results, together
from gesso.components import trace
from gesso.components.journal import Journal
from gesso.components.scope import ImageScope
from gesso.components.trace import TraceRecorder, checksum, digest, first_difference, placements, trace_checksum
from gesso.components.tree import leaves
from gesso.core.recipe import Segment, TraceEntry
from toys import COUNTING, CountingNetwork, KeyValueCache

Host = Callable[..., Any]


@pytest.fixture
def network(host: Host) -> Any:
    return host(CountingNetwork(), layouts=COUNTING)


def entry(call: int = 0, **fields: Any) -> TraceEntry:
    given: dict[str, Any] = {"component": "net", "method": "forward", "step": None, "segments": (), "digest": "00"}
    return TraceEntry(call=call, **(given | fields))


# --- digests


def test_a_digest_sees_every_bit_the_shape_and_the_precision() -> None:
    tensor = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    flipped = tensor.clone()
    flipped.view(torch.int32)[2, 3] ^= 1
    different = [tensor, flipped, tensor.reshape(4, 3), tensor.double(), tensor.view(torch.int32), tensor.T, -tensor]
    found = {digest(one).hex() for one in different}
    assert len(found) == len(different)
    assert digest([tensor, {"more": flipped}]).hex() != digest([flipped, {"more": tensor}]).hex()
    assert digest(tensor.T.contiguous().T).hex() == digest(tensor).hex()  # bits, not strides
    assert len(digest(tensor).hex()) == 16
    digest((torch.zeros(0), torch.tensor(True), torch.zeros(2, dtype=torch.bfloat16))).hex()


def test_a_digest_sees_the_parameters_of_a_distribution() -> None:
    one, other = (DiagonalGaussianDistribution(torch.full((1, 8, 2, 2), value)) for value in (0.0, 1.0))
    assert digest(AutoencoderKLOutput(latent_dist=one)).hex() != digest(AutoencoderKLOutput(latent_dist=other)).hex()


def test_the_checksum_of_an_accelerator_sees_every_bit_and_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.arange(64, dtype=torch.int16)
    swapped, flipped = tensor.clone(), tensor.clone()
    swapped[[3, 40]] = swapped[[40, 3]]
    flipped[63] ^= 1
    whole = [checksum(one).item() for one in (tensor, swapped, flipped, torch.cat([tensor, tensor.new_zeros(1)]))]
    assert len(set(whole)) == 4
    monkeypatch.setattr(trace, "_CHECKSUM_CHUNK", 7)  # computed in chunks it is the same
    assert checksum(tensor).item() == whole[0]


# --- traces


def test_a_trace_tells_of_each_call_where_its_rows_ran_and_what_came_out(network: Any, worker: HoldableWorker) -> None:
    scopes = [ImageScope(step=3), ImageScope(step=5)]
    functions = [lambda: network(rows(1.0, 1.5)), lambda: network(rows(2.0))]
    outputs = results(together(worker, functions, scopes))
    first, second = (scope.trace.entries() for scope in scopes)
    assert first == (entry(step=3, segments=(Segment(slot=0, rows=2, batch_rows=3),), digest=digest(outputs[0]).hex()),)
    assert second == (
        entry(step=5, segments=(Segment(slot=2, rows=1, batch_rows=3),), digest=digest(outputs[1]).hex()),
    )


def test_calls_are_numbered_within_component_and_method(host: Host) -> None:
    one, other = (host(CountingNetwork(), name=name, layouts=COUNTING) for name in ("unet", "vae"))
    scope = ImageScope()
    Caller(lambda: [network(rows(1.0)) for network in (one, other, one, one)], scope).result()
    assert [(found.component, found.call) for found in scope.trace.entries()] == [
        ("unet", 0),
        ("vae", 0),
        ("unet", 1),
        ("unet", 2),
    ]


def test_shared_conditioning_comes_first_in_the_trace_of_every_picture() -> None:
    shared = TraceRecorder()
    shared.number("text_encoder", "forward")
    shared.add(entry(component="text_encoder"))
    one, other = TraceRecorder(before=shared), TraceRecorder(before=shared)
    assert one.number("text_encoder", "forward") == 1
    one.add(entry(component="unet"))
    assert [found.component for found in one.entries()] == ["text_encoder", "unet"]
    assert [found.component for found in other.entries()] == ["text_encoder"]
    assert other.number("text_encoder", "forward") == 1


def test_a_replayed_call_runs_alone_in_its_recorded_slots_and_shape(network: Any, worker: HoldableWorker) -> None:
    scopes = [ImageScope() for _ in range(3)]
    functions = [lambda value=value: network(rows(value)) for value in (1.0, 2.0, 3.0)]
    results(together(worker, functions, scopes))
    recorded = scopes[1].trace.entries()
    assert recorded[0].segments == (Segment(slot=1, rows=1, batch_rows=3),)
    network.control.batches.clear()
    again, stranger = ImageScope(placements=placements(recorded)), ImageScope()
    results(together(worker, [functions[1], functions[2]], [again, stranger]))
    assert network.control.batches == [[2.0, 2.0, 2.0], [3.0]]
    assert again.trace.entries() == recorded
    assert first_difference(recorded, again.trace.entries()) is None


def test_the_first_call_that_differs_is_named() -> None:
    was = (entry(0), entry(1, step=4), entry(2, step=5, component="vae", method="decode"))
    assert first_difference(was, was) is None
    changed = (was[0], was[1].model_copy(update={"digest": "ff"}), was[2].model_copy(update={"digest": "ff"}))
    assert first_difference(was, changed) == "`net` (step 4, call 1) gave other bytes: 00 then, ff now"
    assert first_difference(was, was[:2]) == "`vae.decode` (step 5, call 2) was not made again"
    assert first_difference(was[:2], was) == "`vae.decode` (step 5, call 2) was not made before"
    assert "in another order" in str(first_difference(was, (was[1], was[0], was[2])))
    assert first_difference((), ()) is None


@pytest.mark.parametrize("field", ["slot", "rows", "batch_rows"])
def test_a_changed_shape_changes_the_checksum_of_the_trace(field: str) -> None:
    before = (entry(segments=(Segment(slot=1, rows=2, batch_rows=4),)), entry(1))
    segment = before[0].segments[0].model_copy(update={field: 3})
    after = (before[0].model_copy(update={"segments": (segment,)}), before[1])
    assert trace_checksum(after) != trace_checksum(before)
    assert trace_checksum(before[::-1]) != trace_checksum(before)
    assert trace_checksum(before) == trace_checksum(tuple(before))


# --- the journal

INPUT = {"sample": rows(1.0)}


def keep(journal: Journal, output: Any, *, number: int = 0, arguments: dict[str, Any] | None = None) -> None:
    journal.keep("net", number, arguments or INPUT, (), False, entry(number), output)


def find(journal: Journal, *, number: int = 0, arguments: dict[str, Any] | None = None, exact: bool = False) -> Any:
    return journal.find("net", number, arguments or INPUT, (), exact)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


OUTPUTS: dict[str, Any] = {
    "a tensor": rows(1.0, 2.0),
    "bits of half precision": torch.randn(2, 3).to(torch.bfloat16),
    "a number without dimensions": torch.tensor(3),
    "nothing but structure": {"a": [1, 2.5, "x", None, True], "b": ()},
    "a tuple": (rows(1.0), [rows(2.0)], None),
    "an output of diffusers": UNet2DConditionOutput(sample=rows(1.0)),
    "an output of transformers": BaseModelOutputWithPooling(
        last_hidden_state=rows(1.0),  # pyright: ignore[reportArgumentType]
        pooler_output=rows(2.0),  # pyright: ignore[reportArgumentType]
        hidden_states=(rows(3.0), rows(4.0)),  # pyright: ignore[reportArgumentType]
    ),
    "a distribution": AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(torch.randn(1, 8, 2, 2))),
    "a strided tensor": torch.randn(4, 6)[:, ::2].T,
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_an_output_comes_back_as_it_was(kind: str, tmp_path: Path) -> None:
    output = OUTPUTS[kind]
    keep(Journal(tmp_path), output)
    found = find(Journal(tmp_path))
    assert found.entry == entry()
    assert type(found.output) is type(output)
    assert [path for path, _ in leaves(found.output)] == [path for path, _ in leaves(output)]
    for (_, one), (_, other) in zip(leaves(found.output), leaves(output), strict=True):
        if isinstance(other, torch.Tensor):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        else:
            assert (type(one), one) == (type(other), other)


CHANGED: dict[str, dict[str, Any]] = {
    "other bytes": {"arguments": {"sample": rows(1.5)}},
    "another argument": {"arguments": {"context": rows(1.0)}},
    "another flag": {"arguments": INPUT | {"flag": 1}},
    "another number": {"number": 1},
    "another mode": {"exact": True},
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_call_that_is_not_what_it_was_is_not_found_and_the_rest_is_dropped(change: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(4):
        keep(journal, rows(float(number)), number=number)
    again = Journal(tmp_path)
    if change != "another number":
        assert find(again).output.equal(rows(0.0))
        asked: dict[str, Any] = {"number": 1} | CHANGED[change]
        assert find(again, **asked) is None
        assert files(tmp_path) == ["000000.safetensors"]
        return
    assert find(again, **CHANGED[change]) is None
    assert files(tmp_path) == []


def test_an_argument_that_nobody_understands_is_never_found_again(tmp_path: Path) -> None:
    """Its contents are in no digest, so an equal call may be quite another one."""
    arguments = INPUT | {"cache": KeyValueCache()}
    keep(Journal(tmp_path), rows(1.0), arguments=arguments)
    assert find(Journal(tmp_path), arguments=arguments) is None


@pytest.mark.parametrize("damage", ["half", "empty", "noise", "no header"])
def test_a_file_of_a_crashed_machine_is_as_if_it_were_not_there(damage: str, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(3):
        keep(journal, rows(float(number)), number=number)
    path = tmp_path / "000001.safetensors"
    whole = path.read_bytes()
    damaged = {
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "noise": b"\xff" * 64,
        "no header": save({"t0": rows(1.0)}),
    }
    path.write_bytes(damaged[damage])
    again = Journal(tmp_path)
    assert find(again) is not None
    assert find(again, number=1) is None
    assert files(tmp_path) == ["000000.safetensors"]
    keep(again, rows(9.0), number=1)
    assert find(Journal(tmp_path)) is not None


class Strange(dict[str, Any]):
    """A mapping of no library that the journal knows."""


@pytest.mark.parametrize(
    "output", [KeyValueCache(), {"sample": rows(1.0), "cache": KeyValueCache()}, Strange(), {1: 2}]
)
def test_what_could_only_be_pickled_ends_the_journal_there(output: Any, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    keep(journal, rows(0.0))
    keep(journal, output, number=1)
    keep(journal, rows(2.0), number=2)
    assert files(tmp_path) == ["000000.safetensors"]


def forge(path: Path, name: str, fields: dict[str, Any] | None = None) -> None:
    """Change the class that a journal file names, as somebody with access to the folder could."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    structure = json.loads(header["__metadata__"]["structure"])
    structure["class"] = name
    if fields is not None:
        structure["fields"] = {key: {"value": value} for key, value in fields.items()}
    header["__metadata__"]["structure"] = json.dumps(structure)
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + length :])


@pytest.mark.parametrize(
    "name",
    [
        "builtins:dict",
        "os:system",
        "torch.nn:Identity",
        "transformers.dynamic_module_utils:get_class_from_dynamic_module",
        "diffusers.utils:load_image",
        "diffusers.nowhere:Nothing",
        "diffusers.utils:Nothing",
    ],
)
def test_a_forged_file_neither_runs_anything_nor_stops_the_picture(name: str, tmp_path: Path) -> None:
    keep(Journal(tmp_path), UNet2DConditionOutput(sample=rows(1.0)))
    forge(tmp_path / "000000.safetensors", name)
    assert find(Journal(tmp_path)) is None


def test_a_forged_file_calls_no_function_of_the_libraries_that_it_may_name(tmp_path: Path) -> None:
    keep(Journal(tmp_path), UNet2DConditionOutput(sample=rows(1.0)))
    forge(tmp_path / "000000.safetensors", "diffusers.utils.import_utils:is_torch_available", {})
    assert find(Journal(tmp_path)) is None


def test_a_journal_that_is_not_needed_any_more_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    keep(journal, rows(1.0))
    journal.discard()
    assert not folder.exists()
    journal.discard()
    Journal(tmp_path / "never").discard()


def loop(network: Any, steps: int) -> torch.Tensor:
    latents = rows(0.1, 0.2)
    for step in range(steps):
        latents = latents + 0.01 * network(latents, step)
    return latents


@pytest.mark.parametrize("exact", [False, True])
def test_a_job_that_was_killed_goes_on_where_it_was_with_the_same_bytes_and_trace(
    exact: bool, host: Host, tmp_path: Path
) -> None:
    network = host(CountingNetwork(), layouts=COUNTING)
    whole = ImageScope(exact=exact)
    expected = Caller(lambda: loop(network, 9), whole).result()
    Caller(lambda: loop(network, 6), ImageScope(exact=exact, journal=Journal(tmp_path))).result()  # killed at step 6
    network.control.batches.clear()
    scope = ImageScope(exact=exact, journal=Journal(tmp_path))
    found = Caller(lambda: loop(network, 9), scope).result()
    assert torch.equal(found, expected)
    assert network.control.forward_calls == 3
    assert scope.journal is not None
    assert scope.journal.found_calls == 6
    assert scope.trace.entries() == whole.trace.entries()


def test_a_journal_of_another_run_does_no_harm(network: Any, tmp_path: Path) -> None:
    Caller(lambda: loop(network, 4), ImageScope(journal=Journal(tmp_path))).result()
    other = Caller(lambda: network(rows(5.0)), ImageScope(journal=Journal(tmp_path))).result()
    assert torch.equal(other, rows(10.0))
    assert files(tmp_path) == ["000000.safetensors"]
