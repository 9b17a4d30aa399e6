"""One known change of each layer of a thin model, written as an adapter in every published layout.

The change of a matrix is w1 ⊗ (c · d) with w1 = a · bᵀ [2, 2] and c · d of rank 2. So it is at once of low rank, a
Kronecker product and whatever else an algorithm can express, and every layout can hold the very same numbers. Of a
convolution it is up · core · down, the kernel in the core.

Names are written here as each trainer writes them, not by the code that reads them.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gesso.models.single_files.maps.networks import original_layers
from gesso.models.views import Form

RANK = 2
ALPHA = 3.0
Tensors = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class KnownChange:
    """ΔW of one layer, and what it is made of. The scale ALPHA / RANK is not in the factors."""

    network: str
    path: str
    weight: Tensor
    """W, before."""
    factors: Mapping[str, Tensor]
    """`up`, `down`; of a convolution `mid` too; of a matrix `w1_a`, `w1_b`, `w2_a`, `w2_b` of the Kronecker product."""

    @property
    def delta(self) -> Tensor:
        scale = ALPHA / RANK
        if "mid" in self.factors:
            up, mid, down = (self.factors[name] for name in ("up", "mid", "down"))
            return scale * torch.einsum("or,rsij,sn->onij", up, mid, down)
        return scale * (self.factors["up"] @ self.factors["down"]).reshape(self.weight.shape)

    @property
    def is_matrix(self) -> bool:
        return "mid" not in self.factors


def known_changes(parts: Mapping[str, nn.Module], paths: Mapping[str, list[str]]) -> list[KnownChange]:
    """A change of about a tenth of the weights for each layer of `paths`, by network."""
    generator = torch.Generator().manual_seed(5)
    found: list[KnownChange] = []
    for network, named in paths.items():
        for path in named:
            weight: Any = parts[network].get_submodule(path).weight
            found.append(
                KnownChange(
                    network=network, path=path, weight=weight.float(), factors=_factors(tuple(weight.shape), generator)
                )
            )
    return found


def _factors(shape: tuple[int, ...], generator: torch.Generator) -> Tensors:
    def noise(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    outputs, inputs, *kernel = shape
    if len(kernel) == 2 and kernel != [1, 1]:
        return {
            "up": noise(outputs, RANK) * 0.1,
            "mid": noise(RANK, RANK, *kernel) * 0.3,
            "down": noise(RANK, inputs) / inputs**0.5,
        }
    w1_a, w1_b = noise(2, 1), noise(1, 2)
    w2_a, w2_b = noise(outputs // 2, RANK) * 0.1, noise(RANK, inputs // 2) / inputs**0.5
    return {
        "up": torch.kron(w1_a, w2_a),
        "down": torch.kron(w1_b, w2_b),
        **{"w1_a": w1_a, "w1_b": w1_b, "w2_a": w2_a, "w2_b": w2_b},
    }


def attention_paths(module: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d)) -> list[str]:
    """Linear layers and convolutions of a network whose sizes can be halved."""
    return [
        path
        for path, part in module.named_modules()
        if isinstance(part, kinds) and not any(size % 2 for size in part.weight.shape[:2])  # pyright: ignore
    ]


# How each trainer calls the networks and their layers.

_KOHYA = {
    "unet": "lora_unet_",
    "transformer": "lora_unet_",
    "text_encoder": "lora_te1_",
    "text_encoder_2": "lora_te2_",
    "text_encoder_3": "lora_te3_",
}
_WHOLE_CLIP = re.compile(r"(?:embeddings|encoder\.layers|final_layer_norm)\.")


def _published(network: str, path: str) -> str:
    """Text encoders have `text_model.` before their layers in every adapter, whatever transformers calls them."""
    return f"text_model.{path}" if network.startswith("text_encoder") and _WHOLE_CLIP.match(path) else path


def kohya_name(change: KnownChange, kind: str) -> str:
    prefix = _KOHYA[change.network]
    if kind in {"sd1", "sd2"} and change.network == "text_encoder":
        prefix = "lora_te_"
    if kind.startswith("flux") and change.network == "text_encoder_2":
        prefix = "lora_te3_"  # T5, wherever it stands in the pipeline
    return prefix + _published(change.network, change.path).replace(".", "_")


def dotted_name(change: KnownChange) -> str:
    return f"{change.network}.{_published(change.network, change.path)}"


# Layouts. Each gives tensors and metadata.

Written = tuple[Tensors, dict[str, str]]


def kohya(changes: list[KnownChange], kind: str) -> Written:
    """kohya-ss/sd-scripts and LyCORIS' LoCon: alpha is a tensor."""
    return {key: value for change in changes for key, value in _lora(kohya_name(change, kind), change).items()}, {}


def dotted_kohya(changes: list[KnownChange], kind: str) -> Written:
    """kohya's endings behind the path of a module."""
    return {key: value for change in changes for key, value in _lora(dotted_name(change), change).items()}, {}


def _lora(name: str, change: KnownChange) -> Tensors:
    factors = change.factors
    tensors = {f"{name}.alpha": torch.tensor(ALPHA)}
    if change.is_matrix:
        ones = [1] * (change.weight.ndim - 2)
        up, down = (factors[part].reshape(*factors[part].shape, *ones) for part in ("up", "down"))
        return {**tensors, f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
    return {
        **tensors,
        f"{name}.lora_down.weight": factors["down"][:, :, None, None],
        f"{name}.lora_mid.weight": factors["mid"],
        f"{name}.lora_up.weight": factors["up"][:, :, None, None],
    }


def _two_factors(change: KnownChange) -> tuple[Tensor, Tensor]:
    """(down, up) without a scale beside them; the kernel of a convolution in `down`."""
    scale = ALPHA / RANK
    if change.is_matrix:
        ones = [1] * (change.weight.ndim - 2)
        down, up = change.factors["down"], change.factors["up"] * scale
        return down.reshape(*down.shape, *ones), up.reshape(*up.shape, *ones)
    down = torch.einsum("rsij,sn->rnij", change.factors["mid"], change.factors["down"])
    return down, (change.factors["up"] * scale)[:, :, None, None]


def diffusers(changes: list[KnownChange], kind: str) -> Written:
    """`save_lora_weights` of diffusers: no alpha anywhere."""
    tensors: Tensors = {}
    for change in changes:
        down, up = _two_factors(change)
        tensors[f"{dotted_name(change)}.lora_A.weight"] = down
        tensors[f"{dotted_name(change)}.lora_B.weight"] = up
    return tensors, {}


def diffusers_with_alpha(changes: list[KnownChange], kind: str) -> Written:
    """The same with PEFT's configuration in the header: alpha of the network, and of single layers."""
    tensors: Tensors = {}
    described: dict[str, Any] = {}
    for index, change in enumerate(changes):
        down, up = _two_factors(change)
        alpha = 0.5 * RANK if index % 2 else 4.0 * RANK
        if index % 2:
            patterns = described.setdefault(f"{change.network}.alpha_pattern", {})
            patterns[f"^{re.escape(_published(change.network, change.path))}"] = alpha
        else:
            described[f"{change.network}.lora_alpha"] = alpha
        tensors[f"{dotted_name(change)}.lora_A.weight"] = down
        tensors[f"{dotted_name(change)}.lora_B.weight"] = up * RANK / alpha
    return tensors, {"lora_adapter_metadata": json.dumps(described)}


def peft(changes: list[KnownChange], kind: str) -> Written:
    """`save_pretrained` of PEFT: of one network, the denoiser."""
    tensors: Tensors = {}
    for change in of_denoiser(changes):
        down, up = _two_factors(change)
        tensors[f"base_model.model.{change.path}.lora_A.default.weight"] = down
        tensors[f"base_model.model.{change.path}.lora_B.default.weight"] = up
    return tensors, {}


_PROCESSED = re.compile(r"(.*attn[12]?)\.(to_q|to_k|to_v|to_out)(?:\.0)?$")


def diffusers_old(changes: list[KnownChange], kind: str) -> Written:
    """diffusers before PEFT: attention processors of the denoiser, patched layers of the text encoder."""
    tensors: Tensors = {}
    for change in changes:
        down, up = _two_factors(change)
        name = dotted_name(change)
        if (found := _PROCESSED.match(name)) is not None:
            name = f"{found[1]}.processor.{found[2]}_lora"
        elif "self_attn" in name:
            name = f"{name}.lora_linear_layer"
        else:
            continue
        tensors[f"{name}.down.weight"], tensors[f"{name}.up.weight"] = down, up
    return tensors, {}


def loha(changes: list[KnownChange], kind: str) -> Written:
    """LyCORIS: the second product is all ones. Of a convolution, with cores."""
    tensors: Tensors = {}
    for change in changes:
        name, factors = kohya_name(change, kind), change.factors
        outputs, inputs = change.weight.shape[:2]
        ones_out, ones_in = torch.ones(outputs, RANK) / RANK, torch.ones(RANK, inputs)
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
        tensors[f"{name}.hada_w1_b"], tensors[f"{name}.hada_w2_b"] = factors["down"], ones_in
        if change.is_matrix:
            tensors[f"{name}.hada_w1_a"], tensors[f"{name}.hada_w2_a"] = factors["up"], ones_out
        else:
            tensors[f"{name}.hada_w1_a"], tensors[f"{name}.hada_w2_a"] = factors["up"].T, ones_out.T
            core = torch.zeros_like(factors["mid"])
            core[range(RANK), range(RANK)] = 1.0
            # LyCORIS sums over the first index of a core with `w_a`'s, over the second with `w_b`'s.
            tensors[f"{name}.hada_t1"], tensors[f"{name}.hada_t2"] = factors["mid"], core
    return tensors, {}


def lokr(changes: list[KnownChange], kind: str) -> Written:
    """LyCORIS: the second factor taken apart, so that alpha counts."""
    tensors: Tensors = {}
    for change in changes:
        name, factors = kohya_name(change, kind), change.factors
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
        if change.is_matrix:
            tensors[f"{name}.lokr_w1"] = factors["w1_a"] @ factors["w1_b"]
            tensors[f"{name}.lokr_w2_a"], tensors[f"{name}.lokr_w2_b"] = factors["w2_a"], factors["w2_b"]
        else:
            tensors[f"{name}.lokr_w1"] = torch.ones(1, 1)
            tensors[f"{name}.lokr_t2"] = factors["mid"]
            tensors[f"{name}.lokr_w2_a"], tensors[f"{name}.lokr_w2_b"] = factors["up"].T, factors["down"]
    return tensors, {}


def lokr_whole(changes: list[KnownChange], kind: str) -> Written:
    """LyCORIS: both factors whole; alpha is there and says nothing."""
    tensors: Tensors = {}
    for change in changes:
        name, factors = kohya_name(change, kind), change.factors
        tensors[f"{name}.alpha"] = torch.tensor(1e6)
        if change.is_matrix:
            tensors[f"{name}.lokr_w1"] = factors["w1_a"] @ factors["w1_b"]
            second = factors["w2_a"] @ factors["w2_b"] * (ALPHA / RANK)
            tensors[f"{name}.lokr_w2"] = second.reshape(*second.shape, *[1] * (change.weight.ndim - 2))
        else:
            tensors[f"{name}.lokr_w1"], tensors[f"{name}.lokr_w2"] = torch.ones(1, 1), change.delta
    return tensors, {}


def full(changes: list[KnownChange], kind: str) -> Written:
    """LyCORIS `full`, and what tools that extract a difference write."""
    return {f"{kohya_name(change, kind)}.diff": change.delta for change in changes}, {}


def dora(changes: list[KnownChange], kind: str) -> Written:
    """LyCORIS: each row of the sum gets the length that it has anyway, so that the sum is the known one."""
    tensors, _ = kohya(changes, kind)
    for change in changes:
        lengths = (change.weight + change.delta).flatten(1).norm(dim=1)
        tensors[f"{kohya_name(change, kind)}.dora_scale"] = lengths.reshape(-1, *[1] * (change.weight.ndim - 1))
    return tensors, {}


def dora_of_columns(changes: list[KnownChange], kind: str) -> Written:
    """LyCORIS without `wd_on_out`: each column, which is whatever reads one input."""
    tensors, _ = kohya(changes, kind)
    for change in changes:
        lengths = (change.weight + change.delta).transpose(0, 1).flatten(1).norm(dim=1)
        tensors[f"{kohya_name(change, kind)}.dora_scale"] = lengths.reshape(1, -1, *[1] * (change.weight.ndim - 2))
    return tensors, {}


def dora_of_peft(changes: list[KnownChange], kind: str) -> Written:
    tensors, _ = diffusers(changes, kind)
    for change in changes:
        lengths = (change.weight + change.delta).flatten(1).norm(dim=1)
        tensors[f"{dotted_name(change)}.lora_magnitude_vector"] = lengths
    return tensors, {}


def original_names(
    written: Callable[[str, Tensor, Tensor], Tensors],
) -> Callable[[list[KnownChange], str, Mapping[str, nn.Module]], Written]:
    """A layout in which the layers of the denoiser have the names of those who made the network.

    Fused layers get the factors of their parts one below the other, of three times the rank.
    """

    def layout(changes: list[KnownChange], kind: str, parts: Mapping[str, nn.Module]) -> Written:
        by_path = {change.path: change for change in of_denoiser(changes)}
        denoiser: Any = parts[of_denoiser(changes)[0].network]
        tensors: Tensors = {}
        for original, layer in original_layers(type(denoiser).__name__, denoiser.config).items():
            if not all(path in by_path for path in layer.diffusers):
                continue
            pairs = [_two_factors(by_path[path]) for path in layer.diffusers]
            down = torch.cat([down for down, _ in pairs])
            up = pairs[0][1] if len(pairs) == 1 else torch.block_diag(*(up for _, up in pairs))
            if layer.form is Form.SWAPPED:
                up = torch.cat([up[len(up) // 2 :], up[: len(up) // 2]])
            tensors |= written(original, down, up)
        return tensors, {}

    return layout


def kohya_original(original: str, down: Tensor, up: Tensor) -> Tensors:
    name = f"lora_unet_{original.replace('.', '_')}"
    rank = torch.tensor(float(len(down)))
    return {f"{name}.alpha": rank, f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}


def comfy_original(original: str, down: Tensor, up: Tensor) -> Tensors:
    name = f"diffusion_model.{original}"
    return {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}


_X_FLUX = re.compile(r"(double_blocks\.\d+)\.(img|txt)_attn\.(qkv|proj)")


def x_flux_original(original: str, down: Tensor, up: Tensor) -> Tensors:
    """XLabs-AI/x-flux: the attention of the double blocks alone."""
    found = _X_FLUX.fullmatch(original)
    if found is None:
        return {}
    name = f"{found[1]}.processor.{found[3]}_lora{1 if found[2] == 'img' else 2}"
    return {f"{name}.down.weight": down, f"{name}.up.weight": up}


def of_denoiser(changes: list[KnownChange]) -> list[KnownChange]:
    return [change for change in changes if change.network in {"unet", "transformer"}]


def write(tensors: Tensors, metadata: Mapping[str, str], path: Path) -> Path:
    """The adapter as a file."""
    save_file(
        {key: value.contiguous().clone() for key, value in tensors.items()}, path, metadata=dict(metadata) or None
    )
    return path


_PREFIX = re.compile(
    r"(?:lora_(?:unet|te\d?)_|(?:diffusion_model|base_model\.model|unet|transformer|text_encoder\w*)\.|)"
)


def renamed(tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Each time with one key misspelt, of the first layer and of the last: (its new name, all tensors)."""
    keys = list(tensors)
    for key in (keys[0], keys[-1]):
        prefix = _PREFIX.match(key)
        assert prefix is not None
        misspelt = f"{key[: prefix.end()]}x{key[prefix.end() :]}"
        yield misspelt, {misspelt if name == key else name: value for name, value in tensors.items()}
