"""Which tensors of a file are which network, whatever their names begin with and whoever named them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gesso.models.headers.base import TensorShape
from gesso.models.single_files.maps.base import KeyMap
from gesso.models.single_files.maps.networks import SPELLINGS
from gesso.models.single_files.widths import fitted
from gesso.models.views import FileView, Form, Piece

Tensors = Mapping[str, TensorShape]


@dataclass(frozen=True, kw_only=True)
class FoundNetwork:
    """A network in a file."""

    prefix: str
    config: Mapping[str, Any] = field(repr=False)
    view: FileView
    """Of what is there."""
    missing: tuple[str, ...]
    """Names that the file should have and has not."""
    keys: frozenset[str] = field(repr=False)
    """Tensors of the file that it is made of."""


def find_network(
    path: Path,
    tensors: Tensors,
    class_name: str,
    config: Mapping[str, Any],
    prefixes: Iterable[str],
    *,
    fit: bool,
) -> FoundNetwork | None:
    """The network of a class in a file; where several readings are possible, that which lacks least.

    Args:
        config: as published, or exactly that of this network.
        fit: let widths and depths follow the file.
    """
    readings: list[FoundNetwork] = []
    for prefix in prefixes:
        inner = {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        for number, published in enumerate(SPELLINGS[class_name](config)):
            if published.entries[0].original not in inner:
                continue
            own = fitted(class_name, config, _shapes(published, inner), inner) if fit else config
            keys = SPELLINGS[class_name](own)[number] if fit else published
            readings.append(_read(path, prefix, own, keys, inner))
    return min(readings, key=lambda reading: len(reading.missing), default=None)


def _shapes(keys: KeyMap, inner: Tensors) -> Any:
    def shape(name: str) -> tuple[int, ...] | None:
        entry = keys.by_diffusers.get(name)
        tensor = inner.get(entry.original) if entry is not None else None
        if entry is None or tensor is None:
            return None
        return Piece(key=entry.original, form=entry.form, stored=tensor).shape

    return shape


def _read(path: Path, prefix: str, config: Mapping[str, Any], keys: KeyMap, inner: Tensors) -> FoundNetwork:
    pieces: dict[str, Piece] = {}
    missing: list[str] = []
    for entry in keys.entries:
        tensor = inner.get(entry.original)
        if tensor is None:
            missing.append(prefix + entry.original)
            continue
        # Some files keep the matrices of the VAE's attention as such.
        form = Form.SAME if entry.form is Form.CONVOLUTION and len(tensor.shape) == 2 else entry.form
        begin = 0
        for index, name in enumerate(entry.diffusers):
            rows = (begin, begin + entry.rows[index]) if entry.rows else None
            begin = rows[1] if rows else 0
            pieces[name] = Piece(key=prefix + entry.original, form=form, rows=rows, stored=tensor)
    return FoundNetwork(
        prefix=prefix,
        config=config,
        view=FileView(path=path, pieces=pieces),
        missing=tuple(missing),
        keys=frozenset(piece.key for piece in pieces.values()),
    )


_SURPLUS = re.compile(
    r"""
      (?:.*\.)?position_ids                       # a range, which older versions of transformers wrote
    | (?:.*\.)?logit_scale                        # of the comparison with pictures
    | model_ema\..*                               # a slow copy of the denoiser, for its training
    | (?:betas|logvar|lvlb_weights|scale_factor|(?:sqrt_|log_|posterior_|alphas_cumprod).*)   # the training's schedule
    | denoiser\..*sigmas
    | model\.model_sampling\..*                   # sigmas, in checkpoints that ComfyUI saved
    | (?:first_stage_model\.|vae\.)?loss\..*      # the critic that the VAE was trained with
    | (?:.*\.)?encoder\.embed_tokens\.weight      # T5's table of words once more
    | (?:.*\.)?decoder\.embed_tokens\.weight
    | cond_stage_model\.model\.(?:transformer\.resblocks\.23\..*|text_projection)   # SD 2 reads the layer before
    | (?:.*\.)?text_projection(?:\.weight)?       # of a CLIP whose pictures' side is not asked
    | (?:.*\.)?(?:attn_mask|edm_mean|edm_std|v_pred|ztsnr|edm_vpred\..*|spiece_model)
    """,
    re.VERBOSE,
)


def needless(key: str) -> bool:
    """Whether a tensor of a published checkpoint is known to be of no use for making pictures."""
    return _SURPLUS.fullmatch(key) is not None
