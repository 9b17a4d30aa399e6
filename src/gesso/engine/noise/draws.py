"""The draws of one picture, answered from the source that was asked for.

Pipelines and schedulers draw with `torch.randn(…, generator=…)` (diffusers' `randn_tensor` does). While a picture's own
thread is inside `PictureNoise`, every such call that carries the picture's generator is answered here, whichever
pipeline makes it and whatever it does with the noise then; all other calls, and all other threads, go on as they were.
The generator itself only marks the picture: it is never drawn from.
"""

import sys
from collections.abc import Callable, Mapping
from types import FrameType, MappingProxyType
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gesso.core.errors import InputError
from gesso.core.requests import NoiseSource, ResolvedImageRequest
from gesso.engine.noise.source import stream_of, stream_of_steps
from gesso.engine.noise.variation import slerp

Fill = Callable[[Tensor], Tensor]
"""Writes standard normal numbers into a tensor and returns it."""

_DEEPEST_DRAW = 8
"""Frames between a draw and the distribution of a VAE that asks for it: two of this module, two of diffusers."""
_HINT = "use noise source `cpu`, without a variation and without an eta seed offset"


def is_plain(resolved: ResolvedImageRequest) -> bool:
    """Whether the picture's generator itself draws what was asked for."""
    return resolved.noise_source is NoiseSource.CPU and not resolved.variation_strength and not resolved.eta_seed_offset


class PictureNoise(TorchFunctionMode):
    """A block in which the draws that carry `generator` are those that `resolved` asks for.

    The first draw is the noise that the picture begins with: that of the seed, mixed with that of the variation seed.
    (What a VAE draws to tell where in its distribution the latents of a given picture lie is none of it: it comes from
    the same source and seed, from the first draw on, and moves the latents by less than a hundredth.)
    All later ones are the noise of the steps, further draws of the seed, or, with an eta seed offset, the draws of
    seed + offset from their first on. (That is how AUTOMATIC1111 counts, whose "ENSD" is the offset. The sum may pass
    32 bits, as ComfyUI's seeds do.)

    Attributes:
        draws: how many there were.
    """

    def __init__(self, resolved: ResolvedImageRequest, generator: torch.Generator) -> None:
        super().__init__()
        source, seed, offset = resolved.noise_source, resolved.seed, resolved.eta_seed_offset
        self.draws = 0
        self._resolved = resolved
        self._generator = generator
        self._untouched = generator.get_state()
        self._first = stream_of(source, seed)
        apart = stream_of_steps(source, seed + offset)
        self._later = apart or (stream_of(source, seed + offset) if offset else self._first)
        self._encoding = stream_of(source, seed)
        self._other = stream_of(source, resolved.variation_seed) if resolved.variation_strength else None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is not self._generator and not any(arg is self._generator for arg in args):
            return func(*args, **kwargs)
        answer = _ANSWERS.get(func)
        if answer is None:
            name = getattr(func, "__name__", str(func))
            raise InputError(
                f"`{self._resolved.pipeline}` draws `{name}` from the seed, for which only the CPU's own numbers exist",
                hint=_HINT,
            )
        return answer(self._fill, *args, **{name: value for name, value in kwargs.items() if name != "generator"})

    def close(self) -> list[str]:
        """After the pipeline ended: what had no effect, in lines for people.

        Raises:
            InputError: noise was drawn where it could not be answered, or none was.
        """
        if not torch.equal(self._generator.get_state(), self._untouched):
            raise InputError(f"`{self._resolved.pipeline}` draws noise outside of its own thread", hint=_HINT)
        if not self.draws:
            raise InputError(f"`{self._resolved.pipeline}` draws no noise from the seed", hint=_HINT)
        if self._resolved.eta_seed_offset and self.draws == 1:
            sampler = self._resolved.sampler
            return [f"The eta seed offset has no effect: sampler `{sampler}` draws no noise from the seed at its steps"]
        return []

    def _fill(self, target: Tensor) -> Tensor:
        if _is_encoding():
            return self._encoding.fill(target)
        self.draws += 1
        if self.draws > 1:
            return self._later.fill(target)
        self._first.fill(target)
        if self._other is not None:
            other = self._other.fill(torch.empty_like(target))
            target.copy_(slerp(self._resolved.variation_strength, target, other))
        return target


def _is_encoding() -> bool:
    """Whether the draw that is being answered is that of a VAE's distribution."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_DEEPEST_DRAW):
        if frame is None:
            return False
        if frame.f_code is DiagonalGaussianDistribution.sample.__code__:
            return True
        frame = frame.f_back
    return False


def _randn(fill: Fill, *size: Any, **options: Any) -> Tensor:
    return fill(torch.empty(*size, **options))


def _randn_like(fill: Fill, like: Tensor, **options: Any) -> Tensor:
    return fill(torch.empty_like(like, **options))


def _normal(
    fill: Fill,
    mean: Tensor | float,
    std: Tensor | float = 1.0,
    size: Any = None,
    *,
    out: Tensor | None = None,
    **options: Any,
) -> Tensor:
    unit = torch.empty_like(torch.as_tensor(mean + std)) if size is None else torch.empty(size, **options)
    drawn = fill(unit) * std + mean
    return drawn if out is None else out.copy_(drawn)


def _normal_in_place(fill: Fill, target: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return fill(target).mul_(std).add_(mean)


_ANSWERS: Mapping[Any, Callable[..., Tensor]] = MappingProxyType(
    {
        torch.randn: _randn,
        torch.randn_like: _randn_like,
        torch.normal: _normal,
        torch.Tensor.normal_: _normal_in_place,
    }
)
"""Draws of normal numbers. Others (uniform, of whole numbers) have no counterpart in the sources here."""
