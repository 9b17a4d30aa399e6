"""diffusers behind LitServe's dynamic batching, as its documentation shows it, on loopback.

A batch is run as one call of the pipeline where its requests agree in task, steps, guidance, sampler and size, which is
all that a pipeline can do; a mixed batch is run in as many calls as it has kinds.
"""

import base64
import time
from collections.abc import Sequence
from typing import Any

import litserve
import torch

from benchmarks.arms.base import pixels_of
from benchmarks.arms.counting import DenoiserCount
from benchmarks.resolving import description_of, resolved_on
from gesso.core.requests import ImageRequest, ResolvedImageRequest
from gesso.engine.bench.plain import PlainModel


class DiffusersApi(litserve.LitAPI):
    """Pictures by batches.

    Args:
        threads: CPU threads of the process that computes.
        device: as Gesso names it.
    """

    def __init__(self, model: str, *, threads: int, device: str, max_batch_size: int, batch_timeout: float) -> None:
        super().__init__(max_batch_size=max_batch_size, batch_timeout=batch_timeout)
        self.model_path, self.threads, self.on = model, threads, device

    def setup(self, device: str) -> None:
        torch.set_num_threads(self.threads)
        resolved = resolved_on(ImageRequest(model=self.model_path), self.on)
        self.plain = PlainModel(description_of(self.model_path), resolved)
        self.count = DenoiserCount(self.plain.modules)

    def decode_request(
        self, request: ImageRequest, **kwargs: Any
    ) -> ResolvedImageRequest:  # the annotation is what is parsed
        return resolved_on(request, self.on)

    def batch(self, inputs: Sequence[ResolvedImageRequest]) -> list[ResolvedImageRequest]:
        return list(inputs)

    def predict(self, x: list[ResolvedImageRequest], **kwargs: Any) -> list[dict[str, Any]]:
        start = time.perf_counter()
        answers: list[dict[str, Any]] = [{}] * len(x)
        for group in groups(x):
            images = self.plain.make([x[index] for index in group])
            rows, forwards = self.count.take()
            for index, image in zip(group, images, strict=True):
                answers[index] = {"image": image, "rows": rows // len(group), "forwards": forwards / len(group)}
        seconds = time.perf_counter() - start
        return [answer | {"seconds": seconds} for answer in answers]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        pixels = pixels_of(output["image"])
        return {
            "shape": list(pixels.shape),
            "pixels": base64.b64encode(pixels.tobytes()).decode(),
            **{name: output[name] for name in ("rows", "forwards", "seconds")},
        }


def groups(requests: Sequence[ResolvedImageRequest]) -> list[list[int]]:
    """Indices of requests that one call of a pipeline can answer together."""
    found: dict[tuple[object, ...], list[int]] = {}
    for index, request in enumerate(requests):
        kind = (
            request.steps,
            request.guidance,
            request.guidance_rescale,
            request.sampler,
            request.schedule,
            request.width,
            request.height,
            request.pipeline,
            request.strength,
            request.inpaint is None,
        )
        found.setdefault(kind, []).append(index)
    return list(found.values())
