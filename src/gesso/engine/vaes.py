"""VAEs in memory that stand in for those of models, each a component of its own beside the model that all share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from gesso.components.component import Component, Listener
from gesso.components.hosting import Hosting
from gesso.components.layouts import DECODE, ENCODE
from gesso.components.scope import StandIn
from gesso.components.tree import mapped
from gesso.components.worker import DeviceWorker
from gesso.core.requests import Precision, ResolvedImageRequest, ResolvedVae
from gesso.engine.hosted_model import DTYPES, HostedModel
from gesso.engine.placing import plan_for
from gesso.engine.vae_files import VaeFacts
from gesso.memory.plan import Residence
from gesso.models.folder import ModelDescription
from gesso.models.network import class_of, load_network
from gesso.models.single_files.tiny import DECODER, ENCODER
from gesso.models.vaes import LatentSpace, VaeDescription, latent_space, vae_of

METHODS: Mapping[str, str] = {DECODER: DECODE, ENCODER: ENCODE}
"""Half of a VAE → the method of the network that it is behind."""
_LATENTS = ("z", "x", "h")
"""What autoencoders call the argument that they decode."""


class HostedVae:
    """A VAE on a device.

    Args:
        resident_bytes: room that others lose to it as long as it is there.
    """

    def __init__(
        self, description: VaeDescription, component: Component, hosting: Hosting, *, resident_bytes: int
    ) -> None:
        self.description = description
        self.component = component
        self._hosting = hosting
        self._resident_bytes = resident_bytes

    @property
    def takes_tiles(self) -> bool:
        """Tiny ones need so little memory that they are never made to."""
        return hasattr(self.component.module, "use_tiling") and not self.description.is_tiny

    def close(self) -> None:
        """Nobody uses it any more."""
        self._hosting.release(self.component)
        self.component.worker.residency.allot(None, resident_bytes=-self._resident_bytes)


def host_vae(
    facts: VaeFacts,
    precision: Precision,
    model: ModelDescription,
    resolved: ResolvedImageRequest,
    *,
    hosting: Hosting,
    worker: DeviceWorker,
    listener: Listener,
) -> HostedVae:
    """Read a VAE and host it beside the model.

    Raises:
        ModelError: its weights cannot be read.
        DoesNotFitError: it has no room on the device.
    """
    described = facts.description.component
    alone = replace(model, components={described.name: described})
    plan, room_bytes = plan_for(alone, resolved.model_copy(update={"vae_precision": precision}), worker.device)
    resident_bytes = 0 if plan.offloads else plan.needed_bytes - plan.workspace_bytes
    own_memory = torch.device(worker.device.name).type == "cpu"
    module, _ = load_network(described, class_of(described), dtype=DTYPES[precision], own_memory=own_memory)
    component = hosting.host(
        module,
        name=f"vae ({facts.description.place.title})",
        worker=worker,
        dtype=DTYPES[precision],
        offloaded=plan.residence.get(described.name) is Residence.OFFLOADED,
        listener=listener,
    )
    worker.residency.allot(room_bytes, resident_bytes=resident_bytes)
    hosted = HostedVae(facts.description, component, hosting, resident_bytes=resident_bytes)
    try:
        if not component.weights.offloaded:
            worker.run(partial(worker.residency.settle, component.weights)).result()
    except BaseException:
        hosted.close()
        raise
    return hosted


@dataclass(frozen=True, kw_only=True)
class ChosenVaes:
    """The VAEs of one request that stand in for its model's own."""

    stand_ins: Mapping[tuple[str, str], StandIn]
    """For `ImageScope.stand_ins`."""
    names: tuple[str, ...] = ()
    """Of their components."""
    taking_tiles: tuple[str, ...] = ()
    """Names of the components that large pictures go through in tiles."""


@contextmanager
def chosen_vaes(
    model: HostedModel,
    resolved: ResolvedImageRequest,
    use: Callable[[ResolvedVae, ExitStack], HostedVae],
) -> Iterator[ChosenVaes]:
    """The VAEs of a request, in memory for the length of the block.

    Args:
        use: has a VAE hosted until the stack is closed.
    """
    chosen = {DECODER: resolved.vae_decoder, ENCODER: resolved.vae_encoder}
    own = vae_of(model.description)
    with ExitStack() as stack:
        stand_ins: dict[tuple[str, str], StandIn] = {}
        names: list[str] = []
        tiles: list[str] = []
        for half, vae in chosen.items():
            if vae is not None and own is not None:
                hosted = use(vae, stack)
                spaces = latent_space(own), hosted.description.space
                stand_ins[own.name, METHODS[half]] = stand_in(hosted.component, METHODS[half], *spaces)
                names.append(hosted.component.name)
                tiles += [hosted.component.name] if hosted.takes_tiles else []
        yield ChosenVaes(stand_ins=stand_ins, names=tuple(names), taking_tiles=tuple(tiles))


def stand_in(component: Component, method: str, own: LatentSpace, its: LatentSpace) -> StandIn:
    """Answers `method` of the model's own VAE with `component`.

    The pipeline makes z = x / scale + shift of the latents x that its denoiser sees, and the reverse, by the factors of
    its own VAE; one that has others, as tiny ones have, gets and gives what its own factors would have made.

    Args:
        own, its: factors of the model's own VAE and of the one that stands in for it.
    """
    if own.close_to(its):
        own = its  # the same but for how it is written

    def answer(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        named = dict(kwargs)
        given, *others = args or (named.pop(next(name for name in _LATENTS if name in named)),)
        if own == its:
            return component.call(method, (given, *others), named)
        if method == DECODE:
            return component.call(method, (_converted(given, own, its), *others), named)
        output = component.call(method, (given, *others), named)
        return mapped(output, lambda _, leaf: _converted(leaf, its, own))

    return answer


def _converted(latents: Any, given: LatentSpace, wanted: LatentSpace) -> Any:
    if not isinstance(latents, torch.Tensor):
        return latents
    return (latents - given.shift) * (given.scale / wanted.scale) + wanted.shift
