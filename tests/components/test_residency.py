"""Where weights are: all on the device, or coming for their calls and leaving for those of others."""

from collections.abc import Iterator
from typing import Any

import torch

from bench import Bench, rows
from callers import HoldableWorker
from gesso.components.hosting import Hosting
from gesso.components.residency import Residency, Weights
from toys import COUNTING, CountingNetwork

GPU = torch.device("cuda:0")
CPU = torch.device("cpu")


class Bytes:
    """The memory of a tensor on a device that need not be here; counts copies."""

    copies = 0

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def to(self, device: torch.device) -> "Bytes":
        Bytes.copies += 1
        return Bytes(device)


class FarTensor:
    """As much of a parameter as residency asks for."""

    def __init__(self, size_bytes: int) -> None:
        self.data = Bytes(CPU)
        self._size_bytes = size_bytes

    @property
    def device(self) -> torch.device:
        return self.data.device

    def numel(self) -> int:
        return self._size_bytes

    def element_size(self) -> int:
        return 1


class FarNetwork(torch.nn.Module):
    """A network of some bytes: one parameter and one buffer."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self.far = [FarTensor(size_bytes - 10), FarTensor(10)]

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        return iter(self.far[:1])

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        return iter(self.far[1:])


def weights(name: str, size_bytes: int = 100, *, offloaded: bool = True) -> tuple[Weights, FarNetwork]:
    network = FarNetwork(size_bytes)
    return Weights(network, name=name, offloaded=offloaded), network


def where(network: FarNetwork) -> set[str]:
    return {str(tensor.device) for tensor in network.far}


def test_offloaded_weights_are_on_the_device_during_their_call() -> None:
    residency, (unet, network) = Residency(GPU, room_bytes=100), weights("unet")
    assert where(network) == {"cpu"}
    with residency.lease(unet):
        assert where(network) == {"cuda:0"}
    assert residency.moves == 1


def test_weights_stay_for_the_next_call_while_there_is_room() -> None:
    residency, (unet, network) = Residency(GPU, room_bytes=100), weights("unet")
    for _ in range(20):
        with residency.lease(unet):
            pass
    assert where(network) == {"cuda:0"}
    assert residency.moves == 1


def test_those_that_were_used_longest_ago_make_room() -> None:
    residency = Residency(GPU, room_bytes=250)
    held = {name: weights(name) for name in ("text", "unet", "vae")}
    for name in ("text", "unet", "text", "vae"):
        with residency.lease(held[name][0]):
            pass
    assert {name: where(network) for name, (_, network) in held.items()} == {
        "text": {"cuda:0"},
        "unet": {"cpu"},
        "vae": {"cuda:0"},
    }
    with residency.lease(held["unet"][0]):
        assert where(held["text"][1]) == {"cpu"}
    assert residency.moves == 4


def test_going_back_copies_nothing_because_the_copy_on_the_cpu_was_kept() -> None:
    residency = Residency(GPU, room_bytes=100)
    (one, network), (other, _) = weights("one"), weights("other")
    home = [tensor.data for tensor in network.far]
    residency.settle(one)
    before = Bytes.copies
    residency.settle(other)
    assert [tensor.data for tensor in network.far] == home  # the very same memory
    assert Bytes.copies - before == 2, "only what came in was copied"


def test_only_as_many_leave_as_must() -> None:
    residency = Residency(GPU, room_bytes=300)
    small = [weights(f"small {index}", 60) for index in range(5)]
    for held, _ in small:
        residency.settle(held)
    large, network = weights("large", 150)
    residency.settle(large)
    assert [where(held) == {"cuda:0"} for _, held in small] == [False, False, False, True, True]
    assert where(network) == {"cuda:0"}


def test_weights_larger_than_the_room_come_in_alone() -> None:
    residency = Residency(GPU, room_bytes=100)
    (one, first), (huge, second) = weights("one"), weights("huge", 500)
    residency.settle(one)
    residency.settle(huge)
    assert (where(first), where(second)) == ({"cpu"}, {"cuda:0"})


def test_resident_weights_never_leave_for_others_and_keep_no_copy() -> None:
    residency = Residency(GPU, room_bytes=100)
    (resident, network), (one, _), (other, _) = weights("resident", offloaded=False), weights("one"), weights("other")
    for held in (resident, one, other, resident):
        residency.settle(held)
    assert where(network) == {"cuda:0"}
    assert resident._at_home == {}
    assert residency.moves == 3


def test_without_a_limit_nobody_leaves() -> None:
    residency = Residency(GPU)
    networks = [weights(str(index)) for index in range(5)]
    for held, _ in networks:
        residency.settle(held)
    assert all(where(network) == {"cuda:0"} for _, network in networks)


def test_a_network_that_is_let_go_frees_its_place() -> None:
    residency = Residency(GPU, room_bytes=200)
    (one, network), (other, _), (third, _) = weights("one"), weights("other"), weights("third")
    residency.settle(one)
    residency.settle(other)
    residency.forget(one)
    assert where(network) == {"cpu"}
    residency.settle(third)
    assert residency.moves == 3
    assert where(other.module) == {"cuda:0"}  # pyright: ignore[reportArgumentType]
    residency.forget(one)  # nothing to forget any more


def test_the_size_is_that_of_parameters_and_buffers() -> None:
    assert weights("unet", 100)[0].size_bytes() == 100
    assert Weights(torch.nn.BatchNorm1d(4), name="norm").size_bytes() == 4 * 4 * 4 + 8


class Logged(Weights):
    """Says when it moves; on the CPU there is nowhere to move to."""

    def __init__(self, module: CountingNetwork, log: list[str], **options: Any) -> None:
        super().__init__(module, **options)
        self.log = log

    def size_bytes(self) -> int:
        return 100

    def move_in(self, device: torch.device) -> None:
        assert isinstance(self.module, CountingNetwork)
        self.log.append(f"{self.name} in, {self.module.control.forward_calls} forwards")

    def move_out(self) -> None:
        self.log.append(f"{self.name} out")


def test_a_batch_moves_its_weights_in_before_its_forward_and_once_for_all_its_calls() -> None:
    log: list[str] = []
    text = Bench(CountingNetwork(), layouts=COUNTING, name="text")
    unet = Bench(CountingNetwork(), layouts=COUNTING, name="unet", worker=text.worker)
    for bench in (text, unet):
        bench.component.weights = Logged(bench.component.module, log, name=bench.component.name, offloaded=True)  # pyright: ignore[reportArgumentType]
    text.worker.residency.room_bytes = 100
    text.run(text.call(rows(1.0)), text.call(rows(2.0)))
    unet.run(unet.call(rows(1.0)))
    unet.run(unet.call(rows(1.0)))
    text.run(text.call(rows(3.0)))
    assert log == [
        "text in, 0 forwards",
        "text out",
        "unet in, 0 forwards",
        "unet out",
        "text in, 1 forwards",
    ]


def test_a_part_moves_with_its_whole(hosting: Hosting, worker: HoldableWorker) -> None:
    from toys import OuterNetwork

    outer = OuterNetwork(CountingNetwork())
    whole = hosting.host(outer, name="outer", worker=worker, dtype=torch.float32, offloaded=True)
    part = hosting.host_part(whole, "inner")
    outer.inner(rows(1.0))
    outer(rows(1.0))
    assert part.weights is whole.weights
    assert worker.residency.moves == 1


def test_weights_move_only_on_the_thread_of_the_worker(hosting: Hosting, worker: HoldableWorker) -> None:
    threads: list[bool] = []

    class Watched(Weights):
        def move_in(self, device: torch.device) -> None:
            threads.append(worker.is_current())

        def move_out(self) -> None:
            threads.append(worker.is_current())

    network = CountingNetwork()
    component = hosting.host(network, name="net", worker=worker, dtype=torch.float32, offloaded=True)
    component.weights = Watched(network, name="net", offloaded=True)
    network(rows(1.0))
    hosting.release(component)
    worker.run(lambda: None).result()
    assert threads == [True, True]
