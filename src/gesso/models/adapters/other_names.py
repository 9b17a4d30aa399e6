"""Original names of layers of networks that single files are not read of: Flux.2 and Z-Image. Facts, as a table.

Original: black-forest-labs/flux2, `src/flux2/model.py`; Tongyi-MAI/Z-Image, `src/zimage/transformer.py`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OtherName:
    """One layer of each block `{n}`, or of the network."""

    original: str
    diffusers: tuple[str, ...]
    swapped: bool = False
    """The halves of its outputs are the other way round in diffusers."""


def _named(original: str, *diffusers: str, swapped: bool = False) -> OtherName:
    return OtherName(original=original, diffusers=diffusers, swapped=swapped)


_DOUBLE = "double_blocks.{n}"
_BLOCK = "transformer_blocks.{n}"
_FLUX2 = (
    _named(f"{_DOUBLE}.img_attn.qkv", *(f"{_BLOCK}.attn.to_{part}" for part in "qkv")),
    _named(f"{_DOUBLE}.txt_attn.qkv", *(f"{_BLOCK}.attn.add_{part}_proj" for part in "qkv")),
    _named(f"{_DOUBLE}.img_attn.proj", f"{_BLOCK}.attn.to_out.0"),
    _named(f"{_DOUBLE}.txt_attn.proj", f"{_BLOCK}.attn.to_add_out"),
    _named(f"{_DOUBLE}.img_mlp.0", f"{_BLOCK}.ff.linear_in"),
    _named(f"{_DOUBLE}.img_mlp.2", f"{_BLOCK}.ff.linear_out"),
    _named(f"{_DOUBLE}.txt_mlp.0", f"{_BLOCK}.ff_context.linear_in"),
    _named(f"{_DOUBLE}.txt_mlp.2", f"{_BLOCK}.ff_context.linear_out"),
    _named("single_blocks.{n}.linear1", "single_transformer_blocks.{n}.attn.to_qkv_mlp_proj"),
    _named("single_blocks.{n}.linear2", "single_transformer_blocks.{n}.attn.to_out"),
    _named("img_in", "x_embedder"),
    _named("txt_in", "context_embedder"),
    *(
        _named(f"{name}.{half}_layer", f"time_guidance_embed.{embedder}.linear_{number}")
        for name, embedder in (("time_in", "timestep_embedder"), ("guidance_in", "guidance_embedder"))
        for number, half in ((1, "in"), (2, "out"))
    ),
    *(
        _named(f"{name}.lin", f"{name}.linear")
        for name in ("single_stream_modulation", "double_stream_modulation_img", "double_stream_modulation_txt")
    ),
    _named("final_layer.adaLN_modulation.1", "norm_out.linear", swapped=True),
    _named("final_layer.linear", "proj_out"),
)
_Z_IMAGE = tuple(
    name
    for block in ("layers.{n}", "noise_refiner.{n}", "context_refiner.{n}")
    for name in (
        _named(f"{block}.attention.qkv", *(f"{block}.attention.to_{part}" for part in "qkv")),
        _named(f"{block}.attention.out", f"{block}.attention.to_out.0"),
    )
)
_OTHER: Mapping[str, tuple[OtherName, ...]] = {
    "Flux2Transformer2DModel": _FLUX2,
    "ZImageTransformer2DModel": _Z_IMAGE,
}


def other_names(class_name: str, paths: Collection[str]) -> Iterator[OtherName]:
    """The original names of a network's layers, each block with its number.

    Args:
        paths: of its modules in diffusers; what is not among them is left out.
    """
    for name in _OTHER.get(class_name, ()):
        block = 0
        while all(path.format(n=block) in paths for path in name.diffusers):
            yield OtherName(
                original=name.original.format(n=block),
                diffusers=tuple(path.format(n=block) for path in name.diffusers),
                swapped=name.swapped,
            )
            block += 1
            if "{n}" not in name.original:
                break
