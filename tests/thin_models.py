"""Models of the released architectures, layer for layer, that are thin: every tensor is there, and all are small."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.random_models import shapes_of, write_random_folder
from gesso.models.single_files.known_models import KnownPart, known_models
from gesso.models.single_files.maps.networks import written_map
from gesso.models.views import Form
from gesso.models.weights import read_header

_CLIP = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 1, "projection_dim": 64, "vocab_size": 64}
_T5 = {"d_model": 64, "d_ff": 64, "num_heads": 1, "vocab_size": 64}
_VAE = {"block_out_channels": [32, 32, 64, 64]}
_LARGE = {"num_layers": 38, "qk_norm": "rms_norm"}
_MEDIUM = {"pos_embed_max_size": 384, "dual_attention_layers": list(range(13)), "qk_norm": "rms_norm"}


def _sd3(**changes: Any) -> Mapping[str, Mapping[str, Any]]:
    width = {"num_attention_heads": 1, "caption_projection_dim": 64, "joint_attention_dim": 64}
    transformer = {**width, "pooled_projection_dim": 128, "pos_embed_max_size": 24, **changes}
    encoders = {"text_encoder": _CLIP, "text_encoder_2": _CLIP, "text_encoder_3": _T5}
    return {"transformer": transformer, "vae": _VAE, **encoders}


def _flux(**changes: Any) -> Mapping[str, Mapping[str, Any]]:
    transformer = {"num_attention_heads": 1, "joint_attention_dim": 64, "pooled_projection_dim": 64, **changes}
    return {"transformer": transformer, "vae": _VAE, "text_encoder": _CLIP, "text_encoder_2": _T5}


THIN: Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {
    "sd1": (
        "sd1",
        {
            "unet": {"block_out_channels": [32, 32, 64, 64], "cross_attention_dim": 64},
            "vae": _VAE,
            "text_encoder": _CLIP,
        },
    ),
    "sd2": (
        "sd2",
        {
            "unet": {"block_out_channels": [64, 64, 64, 128], "attention_head_dim": [1, 1, 1, 2]},
            "vae": _VAE,
            "text_encoder": _CLIP,
        },
    ),
    "sdxl": (
        "sdxl",
        {
            "unet": {
                "block_out_channels": [64, 64, 128],
                "attention_head_dim": [1, 1, 2],
                "cross_attention_dim": 128,
                "projection_class_embeddings_input_dim": 64 + 6 * 256,
            },
            "vae": _VAE,
            "text_encoder": _CLIP,
            "text_encoder_2": _CLIP,
        },
    ),
    "sdxl-refiner": (
        "sdxl-refiner",
        {
            "unet": {
                "block_out_channels": [64, 64, 64, 128],
                "attention_head_dim": [1, 1, 1, 2],
                "cross_attention_dim": 64,
                "projection_class_embeddings_input_dim": 64 + 5 * 256,
            },
            "vae": _VAE,
            "text_encoder_2": _CLIP,
        },
    ),
    "sd3-medium": ("sd3", _sd3()),
    "sd3.5-medium": ("sd3", _sd3(**{**_MEDIUM, "pos_embed_max_size": 48})),
    "sd3.5-large": ("sd3", _sd3(**_LARGE)),
    "flux1-dev": ("flux1", _flux(guidance_embeds=True)),
    "flux1-schnell": ("flux1", _flux(guidance_embeds=False)),
}
"""Family, and what is thin, by the name of the release. SD 2's text is as wide as released: that tells it from SD 1."""

FULL: Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {
    "sd1": ("sd1", {}),
    "sd2": ("sd2", {}),
    "sdxl": ("sdxl", {}),
    "sdxl-refiner": ("sdxl-refiner", {}),
    "sd3-medium": ("sd3", {}),
    "sd3.5-medium": ("sd3", {"transformer": _MEDIUM}),
    "sd3.5-large": (
        "sd3",
        {"transformer": {**_LARGE, "num_attention_heads": 38, "caption_projection_dim": 2432}},
    ),
    "flux1-dev": ("flux1", {"transformer": {"guidance_embeds": True}}),
    "flux1-schnell": ("flux1", {"transformer": {"guidance_embeds": False}}),
}
"""The same as released."""


def thin_folder(release: str, folder: Path, *, seed: int = 0) -> Path:
    """Write the folder of a thin model of that release, its weights in float32."""
    family, changes = THIN[release]
    path = write_random_folder(family, folder, changes=changes, dtype="F32", seed=seed)
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        if (path / name).is_dir() and not (path / name / "tokenizer.json").exists():
            (path / name / "tokenizer.json").write_text("{}")  # of T5; nobody reads it here
    return path


def weights_in(path: Path) -> dict[str, bytes]:
    """Every tensor of a safetensors file: its format, shape and bytes."""
    header = read_header(path)
    data = path.read_bytes()[header.header_bytes :]
    return {
        name: json.dumps([tensor.dtype, tensor.shape]).encode() + data[tensor.begin : tensor.end]
        for name, tensor in header.tensors.items()
    }


@cache
def released_networks(release: str) -> Mapping[str, tuple[KnownPart, Mapping[str, tuple[int, ...]]]]:
    """The networks of a release as published, and the shapes of their tensors by the names in diffusers."""
    family, changes = FULL[release]
    known = known_models()[family]
    found: dict[str, tuple[KnownPart, Mapping[str, tuple[int, ...]]]] = {}
    for name, part in known.parts.items():
        if name in known.prefixes:
            own = replace(part, config={**part.config, **changes.get(name, {})})
            found[name] = own, _module_shapes(own.library, own.class_name, json.dumps(own.config))
    return found


@cache
def _module_shapes(library: str, class_name: str, config: str) -> Mapping[str, tuple[int, ...]]:
    """Releases share networks, and to build one takes seconds."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "config.json").write_text(json.dumps({"_class_name": class_name, **json.loads(config)}))
        return shapes_of(KnownPart(library=library, class_name=class_name, config={}), class_name, folder)


def original_shapes(release: str) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in the single file of a release, as the rules of its layout make them of the modules'."""
    prefixes = known_models()[FULL[release][0]].prefixes
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (part, ours) in released_networks(release).items():
        for entry in written_map(part.class_name, part.config, prefixes[name][0]).entries:
            first, *_ = parts = [ours[inner] for inner in entry.diffusers]
            shape = (sum(part[0] for part in parts), *first[1:])
            if entry.form is Form.CONVOLUTION:
                shape = (*shape, 1, 1)
            shapes[prefixes[name][0] + entry.original] = shape[::-1] if entry.form is Form.TRANSPOSED else shape
    return shapes
