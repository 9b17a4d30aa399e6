"""Where the networks of a model shall live, decided before a weight is read."""

from gesso.core.errors import DoesNotFitError
from gesso.core.requests import Precision, ResolvedImageRequest
from gesso.devices.base import Device
from gesso.memory.plan import Footprint, MemoryPlan, activation_estimate, plan
from gesso.models.families import Role
from gesso.models.folder import ComponentDescription, ModelDescription

_BYTES = {Precision.FLOAT32: 4, Precision.BFLOAT16: 2, Precision.FLOAT16: 2}


def plan_for(
    description: ModelDescription, resolved: ResolvedImageRequest, device: Device
) -> tuple[MemoryPlan, int | None]:
    """(where each network lives, bytes of device memory for those that come and go; `None` if none does).

    Planned for one picture at a time; a merged forward that does not fit is run apart.

    Raises:
        DoesNotFitError: not even one network at a time has room.
    """
    budget = device.memory()
    planned = plan((_footprint(network, description, resolved) for network in description.networks), budget)
    if not planned.offloads:
        return planned, None
    if not device.accelerator:  # moving weights from the host's memory to the host's memory frees nothing
        needed = sum(_weight_bytes(network, resolved) for network in description.networks) + planned.workspace_bytes
        raise DoesNotFitError(needed_bytes=needed, free_bytes=budget.free_bytes, device=budget.device)
    return planned, budget.free_bytes - planned.workspace_bytes


def _footprint(
    network: ComponentDescription, description: ModelDescription, resolved: ResolvedImageRequest
) -> Footprint:
    role = network.role or Role.OTHER
    activation_bytes = activation_estimate(
        role,
        width_px=resolved.width,
        height_px=resolved.height,
        rows=1 if role is Role.VAE else 2,  # a picture with guidance is two rows, until it is decoded
        channels=network.channels,
        bytes_per_value=_BYTES[_precision(network, resolved)],
        vae_factor=description.vae_factor,
        patch=network.patch,
    )
    return Footprint(
        name=network.name, weight_bytes=_weight_bytes(network, resolved), activation_bytes=activation_bytes
    )


def _weight_bytes(network: ComponentDescription, resolved: ResolvedImageRequest) -> int:
    return network.bytes_at(_BYTES[_precision(network, resolved)])


def _precision(network: ComponentDescription, resolved: ResolvedImageRequest) -> Precision:
    return resolved.vae_precision if network.name == "vae" else resolved.precision
