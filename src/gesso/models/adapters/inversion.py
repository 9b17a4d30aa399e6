"""Reading the vectors of a textual inversion (Gal et al. 2022, arXiv 2208.01618).

Layouts: AUTOMATIC1111's `string_to_param` (pickle) and `emb_params`, diffusers' `learned_embeds` with the token for a
key, and `clip_l`, `clip_g`, `t5xxl` of models with several text encoders.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gesso.core.errors import ModelError
from gesso.models.headers.read import read_weights_header
from gesso.models.recognition.embeddings import inversion_keys
from gesso.models.single_files.tensors import mapped_file


def read_inversion(path: Path) -> Mapping[str, Tensor]:
    """Text encoder, "" where the file is for one → its vectors [n, C] in float32; n is the same for all.

    Of a pickle only tensors are let in (`weights_only`).

    Raises:
        ModelError: it is no textual inversion, is damaged, or is not to be trusted; it holds several, or vectors that
            cannot be read.
    """
    header = read_weights_header(path)
    found = inversion_keys(header.tensors)
    if found is None:
        raise ModelError(f"`{path}` holds no embedding", hint="`gesso models show FILE` tells what a file is")
    if found.others:
        named = ", ".join(f"`{key}`" for key in (*found.keys.values(), *found.others))
        raise ModelError(
            f"`{path}` holds more than the vectors of one embedding: {named}", hint="use files with one embedding each"
        )
    stored = mapped_file(path, header)
    vectors = {encoder: torch.atleast_2d(stored[key].float()) for encoder, key in found.keys.items()}
    counts = {encoder: len(rows) for encoder, rows in vectors.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        said = ", ".join(f"{count} for `{encoder}`" for encoder, count in counts.items())
        raise ModelError(f"`{path}` is damaged: it holds unequal numbers of vectors, {said}", hint="download it again")
    if not all(bool(torch.isfinite(rows).all()) for rows in vectors.values()):
        raise ModelError(f"`{path}` holds values that are no numbers", hint="download it, or train it, again")
    return vectors
