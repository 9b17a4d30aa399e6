"""Adapters of requests: read once for all that use them at the time, and let go with the last.

A request holds its adapters from before its conditioning until its last picture. Reading and fitting are done on the
request's own thread; the device's worker only computes the lengths of DoRA, for which it needs the weights.
"""

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import torch
from torch import nn

from gesso.components.adapters import (
    Adapted,
    AdaptedLayers,
    AdapterWeights,
    BoundChange,
    adapted_forward,
    gain_of,
)
from gesso.components.state import CallState
from gesso.core.adapter_text import adapter_text
from gesso.core.errors import ClosedError
from gesso.core.recipe import AdapterReport
from gesso.core.requests import ResolvedAdapter, ResolvedImageRequest
from gesso.engine.adapter_checks import check_fit, is_text_encoder, warnings_of
from gesso.engine.adapter_files import AdapterFacts, AdapterFiles
from gesso.engine.hosted_model import HostedModel, hosted_component
from gesso.models.adapters.changes import LayerChange
from gesso.models.adapters.file import read_adapter_file
from gesso.models.adapters.fit import Account, fit
from gesso.models.adapters.layers import network_layers
from gesso.models.adapters.names import Names

logger = logging.getLogger(__name__)

SHOWN_KEYS = 20
"""Ignored keys that a report names."""

States = dict[str, tuple[CallState, ...]]
"""By component."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldAdapter:
    """An adapter in memory, on the device of a model."""

    account: Account
    layers: Mapping[str, Mapping[str, BoundChange]]
    """By network and path."""
    size_bytes: int


@dataclass(eq=False)
class _Place:
    loading: threading.Lock = field(default_factory=threading.Lock)
    held: HeldAdapter | None = None
    users: int = 0


class AdapterShelf:
    """All adapters in memory: one copy for each model that they are on. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: dict[tuple[int, str], _Place] = {}

    @contextmanager
    def use(self, model: HostedModel, sha256: str, load: Callable[[], HeldAdapter]) -> Iterator[HeldAdapter]:
        """The adapter of that digest on `model`, made by `load` if nobody has it; it stays during the block."""
        key = id(model), sha256
        with self._lock:
            place = self._places.setdefault(key, _Place())
            place.users += 1
        try:
            with place.loading:
                if place.held is None:
                    place.held = load()
                    _take_room(model, place.held.size_bytes)
            yield place.held
        finally:
            with self._lock:
                place.users -= 1
                if place.users == 0:
                    del self._places[key]
                    if place.held is not None:
                        _take_room(model, -place.held.size_bytes)

    def __len__(self) -> int:
        with self._lock:
            return len(self._places)


def _take_room(model: HostedModel, size_bytes: int) -> None:
    """Weights that come and go have so much less room on the device."""
    residency = model.worker.residency
    with suppress(ClosedError):  # a worker that is gone moves nothing any more
        model.worker.run(lambda: residency.allot(None, resident_bytes=size_bytes))


class AppliedAdapters:
    """The adapters of one request on its model.

    Args:
        held: each adapter in memory, in the order of the request's.
        reports: likewise.
    """

    def __init__(
        self,
        model: HostedModel,
        resolved: ResolvedImageRequest,
        held: Sequence[HeldAdapter],
        reports: Sequence[AdapterReport],
    ) -> None:
        self.reports = tuple(reports)
        self._model = model
        self._adapters = tuple(zip(resolved.adapters, held, strict=True))
        self._lock = threading.Lock()
        self._states: dict[tuple[bool, ...], States] = {}
        self._layers: list[AdaptedLayers] = []

    def states(self, share: float) -> States:
        """The state of each component after that share of the steps, 0 to 1."""
        active = tuple(is_active(adapter, share) for adapter, _ in self._adapters)
        with self._lock:
            if active not in self._states:
                self._states[active] = self._state_of(active)
            return self._states[active]

    def _state_of(self, active: tuple[bool, ...]) -> States:
        states: States = {}
        for name, module in self._model.modules.items():
            text = is_text_encoder(name)
            applied = [
                (held.layers[name], AdapterWeights(sha256=adapter.sha256, weight=weight, blocks=_blocks(adapter)))
                for (adapter, held), at_work in zip(self._adapters, active, strict=True)
                # Texts are read once, before the first step: what is not there then is never there.
                if (adapter.start == 0 if text else at_work)
                and (weight := adapter.text_encoder_weight if text else adapter.weight)
                and name in held.layers
            ]
            if applied:
                states |= self._states_of(name, module, applied)
        return states

    def _states_of(
        self, name: str, module: nn.Module, applied: Sequence[tuple[Mapping[str, BoundChange], AdapterWeights]]
    ) -> States:
        changes: dict[str, list[tuple[BoundChange, float]]] = {}
        for layers, weights in applied:
            for path, bound in layers.items():
                if weight := weights.of(path):
                    changes.setdefault(path, []).append((bound, weight))
        forwards = {path: _adapted(module, path, found) for path, found in changes.items()}
        key = tuple(weights for _, weights in applied)
        states = {name: self._state(key, list(forwards.values()))} if forwards else {}
        # With clip skip the last norm is called by itself, as a component of its own.
        norms = {path: pair for path, pair in forwards.items() if path.endswith("final_layer_norm")}
        return states | {f"{name}.{path}": self._state(key, [pair]) for path, pair in norms.items()}

    def _state(
        self, key: tuple[AdapterWeights, ...], forwards: Sequence[tuple[nn.Module, Callable[..., object]]]
    ) -> tuple[CallState, ...]:
        layers = AdaptedLayers(forwards)
        self._layers.append(layers)
        return (Adapted(key, weakref.ref(layers)),)


def _adapted(
    module: nn.Module, path: str, changes: Sequence[tuple[BoundChange, float]]
) -> tuple[nn.Module, Callable[..., object]]:
    layer = module.get_submodule(path)
    return layer, adapted_forward(layer, changes)


def is_active(adapter: ResolvedAdapter, share: float) -> bool:
    """Whether an adapter is applied after that share of the steps; one that stops at 1 is to the end."""
    return adapter.start <= share and (share < adapter.stop or adapter.stop == 1)


def _blocks(adapter: ResolvedAdapter) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(adapter.blocks.items()))


def described(adapter: ResolvedAdapter) -> str:
    """What of an adapter decides bytes, for the fingerprint of a run."""
    return adapter_text(adapter, name=f"sha256:{adapter.sha256}")


@contextmanager
def applied(
    model: HostedModel,
    resolved: ResolvedImageRequest,
    shelf: AdapterShelf,
    files: AdapterFiles,
    warn: Callable[[str], None],
) -> Iterator[AppliedAdapters]:
    """The adapters of a request, in memory for the length of the block.

    Args:
        warn: told of keys without a place, and of what has no effect.

    Raises:
        InputError: a file is not the one that was decided on; nothing of an adapter fits the model, or not all of it
            and the request is strict; no layer is in a block that was named.
        ModelError: a file cannot be read.
    """
    with ExitStack() as stack:
        held: list[HeldAdapter] = []
        reports: list[AdapterReport] = []
        for adapter in resolved.adapters:
            found = files.facts(adapter)

            def load(found: AdapterFacts = found) -> HeldAdapter:
                return _load(model, found)

            one = stack.enter_context(shelf.use(model, adapter.sha256, load))
            check_fit(one.account, one.layers, found, adapter, model.facts, strict=resolved.strict)
            for line in warnings_of(one.account, one.layers, found, adapter, resolved):
                warn(line)
            held.append(one)
            reports.append(_report(one, found))
            logger.info("Adapter `%s`: %s", found.title, reports[-1].told())
        yield AppliedAdapters(model, resolved, held, reports)


def _load(model: HostedModel, found: AdapterFacts) -> HeldAdapter:
    names = Names({name: network_layers(module) for name, module in model.modules.items() if name != "vae"})
    fitted = fit(read_adapter_file(found.path), names)
    layers = {network: _bound(model, network, changes) for network, changes in fitted.changes.items()}
    tensors = [tensor for bound in layers.values() for one in bound.values() for tensor in one.change.tensors()]
    return HeldAdapter(
        account=fitted.account,
        layers=layers,
        size_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
    )


def _bound(model: HostedModel, network: str, changes: Mapping[str, LayerChange]) -> dict[str, BoundChange]:
    """Copies on the device of a network, each in the precision of its layer."""
    component = hosted_component(model.modules[network])
    moved: dict[str, LayerChange] = {}
    for path, change in changes.items():
        weight = component.module.get_submodule(path)._parameters["weight"]
        dtype = weight.dtype if weight is not None and weight.is_floating_point() else component.dtype
        moved[path] = change.to(component.device, dtype)

    def with_gains() -> dict[str, BoundChange]:
        with torch.no_grad(), model.worker.residency.lease(component.weights):
            return {
                path: BoundChange(change=change, gain=gain_of(component.module.get_submodule(path), change))
                for path, change in moved.items()
            }

    if any(change.magnitude is not None for change in moved.values()):
        return model.worker.run(with_gains).result()
    return {path: BoundChange(change=change) for path, change in moved.items()}


def _report(held: HeldAdapter, found: AdapterFacts) -> AdapterReport:
    account = held.account
    return AdapterReport(
        name=found.title,
        sha256=found.sha256,
        algorithm=" and ".join(account.algorithms),
        layers={network: len(layers) for network, layers in held.layers.items()},
        matched_keys=len(account.matched),
        converted_keys=len(account.converted),
        ignored_keys=len(account.ignored),
        ignored=dict(list(account.ignored.items())[:SHOWN_KEYS]),
        sampled=found.sampled.told() if found.sampled is not None else None,
    )
