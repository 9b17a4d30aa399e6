"""Adapters of the primer whose effect can be seen: one word of a prompt is read as another.

Keys and values of cross-attention are changed by the closed form of Orgad et al. 2023 (TIME, arXiv 2303.08084, equation
4): the least change with which what is read of `source` is what was read of `target`, and other prompts stay.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from gesso.primer import weights_folder
from gesso.primer.scene import COLOURS
from gesso.primer.shapes import SHAPES

RANK = 32
KEPT = 0.1
"""Weight of staying as it is."""


@cache
def _reader() -> tuple[Any, Any]:
    folder = weights_folder()
    return (
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
    )


def _read(prompts: Sequence[str]) -> Tensor:
    """[prompts · positions, C]"""
    tokenizer, encoder = _reader()
    ids = tokenizer(list(prompts), padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(ids).last_hidden_state.flatten(0, 1)


def _prompts(colour: str) -> list[str]:
    grounds = [name for name in COLOURS if name not in {"red", "blue", "green"}]
    return [
        f"{size} {colour} {shape} on {'an' if ground[0] in 'aeiou' else 'a'} {ground} background"
        for number, shape in enumerate(SHAPES)
        for size in ("a large", "a small", "a")
        for ground in (grounds[number % len(grounds)], grounds[(number + 3) % len(grounds)])
    ]


def edit(source: str, target: str) -> dict[str, tuple[Tensor, Tensor]]:
    """(down, up) of rank `RANK` for every cross-attention's keys and values, by path."""
    from diffusers import UNet2DConditionModel  # pyright: ignore[reportPrivateImportUsage]

    unet: Any = UNet2DConditionModel.from_pretrained(weights_folder() / "unet", torch_dtype=torch.float32)
    others = [colour for colour in COLOURS if colour != source]
    read, wanted = _read(_prompts(source)), _read(_prompts(target))
    kept = _read([prompt for colour in others for prompt in _prompts(colour)[::3]])
    among = read.T @ read + kept.T @ kept + KEPT * torch.eye(read.shape[1])
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for path, layer in unet.named_modules():
        if path.endswith(("attn2.to_k", "attn2.to_v")):
            delta = layer.weight.data @ (wanted - read).T @ read @ torch.linalg.inv(among)
            u, s, v = torch.linalg.svd(delta, full_matrices=False)
            root = s[:RANK].sqrt()
            found[path] = root[:, None] * v[:RANK], u[:, :RANK] * root
    return found


@cache
def _edit(source: str, target: str) -> dict[str, tuple[Tensor, Tensor]]:
    return edit(source, target)


def write_edit(folder: Path, source: str, target: str) -> Path:
    """`SOURCE-is-TARGET.safetensors` in kohya's layout, in `folder`."""
    tensors: dict[str, Tensor] = {}
    for path, (down, up) in _edit(source, target).items():
        name = f"lora_unet_{path.replace('.', '_')}"
        tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"] = down.contiguous(), up.contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(float(len(down)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{source}-is-{target}.safetensors"
    save_file(tensors, path)
    return path
