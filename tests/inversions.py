"""Textual inversions made of what a text encoder reads for known words, in the layout of every studio."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from gesso.primer import weights_folder

Vectors = Mapping[str, Tensor]
"""Text encoder → [n, C]."""


def vectors_of(words: str, readers: Sequence[tuple[Any, Any]]) -> list[Tensor]:
    """The vectors of the tokens of `words`, for each (tokenizer, text encoder): [n, C]."""
    found: list[Tensor] = []
    for tokenizer, encoder in readers:
        ids = tokenizer(words, add_special_tokens=False)["input_ids"]
        found.append(encoder.get_input_embeddings().weight[torch.tensor(ids)].detach().float())
    return found


@cache
def primer_reader() -> tuple[Any, Any]:
    """(tokenizer, text encoder) of the primer."""
    folder = weights_folder()
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    return CLIPTokenizer.from_pretrained(folder / "tokenizer"), encoder


def primer_vectors(words: str) -> Tensor:
    return vectors_of(words, [primer_reader()])[0]


def a1111(path: Path, vectors: Tensor) -> Path:
    """AUTOMATIC1111's own, as it trains them."""
    held = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors.clone()}, "name": "something", "step": 500}
    return pickled(path.with_suffix(".pt"), held)


def a1111_safetensors(path: Path, vectors: Tensor) -> Path:
    return safetensors(path, {"emb_params": vectors})


def diffusers_pickle(path: Path, vectors: Tensor, *, token: str = "<thing>") -> Path:
    return pickled(path.with_suffix(".bin"), {token: vectors[0].clone() if len(vectors) == 1 else vectors.clone()})


def diffusers_safetensors(path: Path, vectors: Tensor, *, token: str = "<thing>") -> Path:
    return safetensors(path, {token: vectors})


def safetensors(path: Path, tensors: Vectors) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_suffix(".safetensors")
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    return path


def pickled(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


ONE_ENCODER = (a1111, a1111_safetensors, diffusers_pickle, diffusers_safetensors)
"""How files for one text encoder are written."""
