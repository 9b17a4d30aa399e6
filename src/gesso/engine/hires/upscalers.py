"""What enlarges the picture of a first pass: its latents, or its pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from gesso.core.errors import UnknownNameError

LATENT, LANCZOS = "latent", "lanczos"


@dataclass(frozen=True, kw_only=True)
class Upscaler:
    """How it interpolates, and what AUTOMATIC1111 calls it.

    Attributes:
        latent_mode: of `torch.nn.functional.interpolate`; `None` for one of pixels.
        pixels: Pillow's filter.
    """

    alias: str
    latent_mode: str | None = None
    antialias: bool = False
    pixels: Image.Resampling = Image.Resampling.LANCZOS


UPSCALERS: Mapping[str, Upscaler] = MappingProxyType(
    {
        LATENT: Upscaler(alias="Latent", latent_mode="bilinear"),
        "latent-antialiased": Upscaler(alias="Latent (antialiased)", latent_mode="bilinear", antialias=True),
        "latent-bicubic": Upscaler(alias="Latent (bicubic)", latent_mode="bicubic"),
        "latent-bicubic-antialiased": Upscaler(
            alias="Latent (bicubic antialiased)", latent_mode="bicubic", antialias=True
        ),
        "latent-nearest": Upscaler(alias="Latent (nearest)", latent_mode="nearest"),
        "latent-nearest-exact": Upscaler(alias="Latent (nearest-exact)", latent_mode="nearest-exact"),
        LANCZOS: Upscaler(alias="Lanczos"),
        "nearest": Upscaler(alias="Nearest", pixels=Image.Resampling.NEAREST),
    }
)


def upscaler_named(name: str, *, of_pixels: bool = False) -> str:
    """The canonical name of an upscaler.

    Args:
        of_pixels: name none of latents where there is none of that name.

    Raises:
        UnknownNameError: there is none.
    """
    names = {known.casefold(): known for known in UPSCALERS}
    names |= {upscaler.alias.casefold(): known for known, upscaler in UPSCALERS.items()}
    found = names.get(name.casefold())
    if found is None:
        known = [name for name, upscaler in UPSCALERS.items() if not (of_pixels and upscaler.latent_mode)]
        raise UnknownNameError("upscaler", name, known)
    return found


def larger_picture(image: Image.Image, size_px: tuple[int, int], upscaler: Upscaler) -> Image.Image:
    """`image` over the whole of `size_px` (width, height), what juts out cut off on both sides."""
    width, height = _covering(image.size, size_px)
    enlarged = image.resize((width, height), upscaler.pixels)
    left, top = (width - size_px[0]) // 2, (height - size_px[1]) // 2
    return enlarged.crop((left, top, left + size_px[0], top + size_px[1]))


def larger_latents(latents: Tensor, size: tuple[int, int], upscaler: Upscaler) -> Tensor:
    """The same of latents [1, C, h, w], whose `size` (w, h) is in cells."""
    assert upscaler.latent_mode is not None
    width, height = _covering((latents.shape[-1], latents.shape[-2]), size)
    enlarged = functional.interpolate(
        latents.float(), size=(height, width), mode=upscaler.latent_mode, antialias=upscaler.antialias
    )
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    return (
        enlarged[..., top : top + size[1], left : left + size[0]]
        .to(latents.dtype)
        .contiguous(memory_format=torch.contiguous_format)
    )


def _covering(given: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """The least size of the proportions of `given` that covers `wanted`."""
    scale = max(wanted[0] / given[0], wanted[1] / given[1])
    return max(round(given[0] * scale), wanted[0]), max(round(given[1] * scale), wanted[1])
