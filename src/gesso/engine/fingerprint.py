"""Everything besides the request that can change the bytes of a picture on this machine."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch

from gesso.components.worker import DeviceWorker
from gesso.core.recipe import Fingerprint
from gesso.core.requests import ResolvedImageRequest
from gesso.engine.adapters import described

_PACKAGES = ("gesso", "diffusers", "transformers")


@cache
def versions() -> dict[str, str]:
    """Versions of the packages that compute."""
    found = {"torch": str(torch.__version__)}  # with the build, `+cpu` or `+cu130`, which the metadata leaves out
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def fingerprint_of(
    resolved: ResolvedImageRequest,
    worker: DeviceWorker,
    *,
    weights: str,
    vae_tiling: bool,
    backend: str,
    refiner: str = "",
) -> Fingerprint:
    """The fingerprint of a run of `resolved` on `worker`.

    Args:
        weights, refiner: identities of the weights of its models.
    """
    return Fingerprint(
        versions=versions(),
        device=worker.device.capability,
        backend=backend,
        threads=worker.threads,
        precision=resolved.precision,
        vae_precision=resolved.vae_precision,
        matmul_precision=torch.get_float32_matmul_precision(),
        attention="sdpa",
        vae_tiling=vae_tiling,
        weights=weights,
        adapters=tuple(described(adapter) for adapter in resolved.adapters),
        embeddings=tuple(f"sha256:{embedding.sha256}={embedding.word}" for embedding in resolved.embeddings),
        vaes=tuple(
            f"{half} sha256:{vae.sha256} {vae.precision}"
            for half, vae in (("decoder", resolved.vae_decoder), ("encoder", resolved.vae_encoder))
            if vae is not None
        ),
        refiner=refiner,
    )
