"""Hosting networks: by object identity, and counted, because models share networks."""

import threading
from dataclasses import dataclass
from typing import Any

import torch

from gesso.components import face
from gesso.components.component import Component
from gesso.components.residency import Weights
from gesso.components.worker import DeviceWorker
from gesso.core.errors import ClosedError


@dataclass(eq=False)
class _Hosted:
    component: Component
    users: int


class Hosting:
    """All hosted networks of a studio. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._hosted: dict[int, _Hosted] = {}

    def host(
        self,
        module: torch.nn.Module,
        *,
        name: str,
        worker: DeviceWorker,
        dtype: torch.dtype,
        offloaded: bool = False,
        **options: Any,
    ) -> Component:
        """Make `module` a hosted component; a module that is hosted already is counted once more and shared.

        Args:
            offloaded: its weights stay on the CPU and move in for calls.
            options: further arguments of `Component`.
        """
        with self._lock:
            found = self._hosted.get(id(module))
            if found is not None:
                found.users += 1
                return found.component
            _make_ready(module)
            weights = Weights(module, name=name, offloaded=offloaded)
            component = Component(module, name=name, worker=worker, weights=weights, dtype=dtype, **options)
            face.put_on(component)
            self._hosted[id(module)] = _Hosted(component, users=1)
            return component

    def host_part(self, whole: Component, path: str) -> Component:
        """Host a network inside a hosted one, for example `final_layer_norm`; it lives where the whole lives.

        Raises:
            AttributeError: there is nothing at `path`.
        """
        module = whole.module.get_submodule(path)
        with self._lock:
            found = self._hosted.get(id(module))
            if found is not None:
                return found.component
            component = Component(
                module,
                name=f"{whole.name}.{path}",
                worker=whole.worker,
                weights=whole.weights,
                dtype=whole.dtype,
                device=whole.device,
                latents_device=whole.latents_device,
                backend=whole.backend,
                max_rows=whole.max_rows,
            )
            face.put_on(component)
            self._hosted[id(module)] = _Hosted(component, users=0)
            return component

    def release(self, component: Component) -> None:
        """One user less; the last one takes the face off and frees the place of the weights.

        Returns when the worker holds nothing of it any more, so that who made room finds it.
        """
        with self._lock:
            found = self._hosted.get(id(component.module))
            if found is None:
                return
            found.users -= 1
            if found.users > 0:
                return
            parts = [
                other
                for other in self._hosted.values()
                if other.component.weights is component.weights and other is not found
            ]
            leaving = [hosted.component for hosted in (*parts, found)]
            for other in leaving:
                del self._hosted[id(other.module)]

        def let_go() -> None:
            component.worker.residency.forget(component.weights)
            for other in leaving:
                face.take_off(other)

        try:  # between two batches: a forward whose caller gave up may still be running in it
            component.worker.run(let_go).result()
        except ClosedError:  # a worker that is gone runs nothing and holds no place
            let_go()

    def __len__(self) -> int:
        with self._lock:
            return len(self._hosted)


def _make_ready(module: torch.nn.Module) -> None:
    """To compute and not to learn. Networks inside that are hosted already are so, and frozen."""
    for part in module.modules():
        if not face.is_frozen(part):
            part.training = False
    for parameter in module.parameters():
        parameter.requires_grad_(False)
