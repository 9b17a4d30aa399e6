"""Recipes for tests that need no run."""

from hashlib import sha256
from typing import Any

from gesso.core.recipe import Fingerprint, Metering, Recipe, Run, Segment, TraceEntry
from gesso.core.requests import ImageRequest, OutputFormat, Precision, ResolvedImageRequest

DIGEST = "0123456789abcdef" * 4


def recipe(
    *,
    weights: str = f"sha256:{DIGEST}",
    seed: int = 42,
    index: int = 0,
    created: str = "2026-11-20T12:00:00+00:00",
    asked: dict[str, Any] | None = None,
    trace: tuple[TraceEntry, ...] = (),
    **resolved: Any,
) -> Recipe:
    """A recipe with those values; `resolved` are fields of the resolved request."""
    decided: dict[str, Any] = {
        "prompt": "a cat",
        "negative_prompt": "",
        "model": "toy",
        "family": "sd1",
        "pipeline": "StableDiffusionPipeline",
        "width": 512,
        "height": 768,
        "steps": 20,
        "sampler": "DPM++ 2M",
        "schedule": "karras",
        "guidance": 7,
        "guidance_rescale": 0.0,
        "seed": seed,
        "count": 1,
        "clip_skip": 1,
        "device": "cpu",
        "precision": Precision.FLOAT32,
        "vae_precision": Precision.FLOAT32,
        "exact": False,
        "arguments": {},
        "output_format": OutputFormat.PNG,
        "priority": 0,
        "owner": "local",
        **resolved,
    }
    fingerprint = Fingerprint(
        versions={"gesso": "0.1.0", "torch": "2.13.0"},
        device="cpu avx512",
        backend="eager",
        threads=1,
        precision="float32",
        vae_precision="float32",
        matmul_precision="highest",
        attention="sdpa",
        vae_tiling=False,
        weights=weights,
    )
    run = Run(
        index=index,
        seed=seed,
        created=created,
        fingerprint=fingerprint,
        trace=trace,
        trace_checksum="",
        pixels_sha256="",
        metering=Metering(device_seconds=1.0, rows=40, padded_rows=0, forwards=20),
    )
    request = ImageRequest(**{"prompt": decided["prompt"], "seed": seed} | (asked or {}))
    return Recipe(asked=request, resolved=ResolvedImageRequest(**decided), run=run)


def long_trace(calls: int) -> tuple[TraceEntry, ...]:
    """The trace of a picture of so many component calls; its digests do not compress."""
    return tuple(
        TraceEntry(
            component="unet",
            method="forward",
            call=call,
            step=call,
            segments=(Segment(slot=0, rows=2, batch_rows=2),),
            digest=sha256(str(call).encode()).hexdigest()[:16],
        )
        for call in range(calls)
    )
