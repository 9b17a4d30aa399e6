"""No silent adapter: a change is the same in every published layout, and a key without a place is told."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import adapter_layouts as layouts
import zoo
from adapter_layouts import KnownChange, Tensors, known_changes
from gesso.components.adapters import BoundChange, adapted_forward, gain_of
from gesso.core.errors import InputError, ModelError
from gesso.models.adapters.file import read_adapter_file
from gesso.models.adapters.fit import FittedAdapter, fit
from gesso.models.adapters.layers import network_layers
from gesso.models.adapters.names import Names

WHOLE = (
    *(layouts.kohya, layouts.dotted_kohya, layouts.diffusers, layouts.diffusers_with_alpha, layouts.peft),
    *(layouts.loha, layouts.lokr, layouts.lokr_whole, layouts.full),
    *(layouts.dora, layouts.dora_of_columns, layouts.dora_of_peft),
)
"""Layouts in which every layer can be written."""
ORIGINAL: dict[str, Callable[[str, Tensor, Tensor], Tensors]] = {
    "kohya, original names": layouts.kohya_original,
    "comfy, original names": layouts.comfy_original,
    "x-flux": layouts.x_flux_original,
}


@cache
def parts(kind: str) -> dict[str, nn.Module]:
    components = zoo.built(kind).components
    return {name: part for name, part in components.items() if isinstance(part, nn.Module) and name != "vae"}


@cache
def names(kind: str) -> Names:
    return Names({name: network_layers(module) for name, module in parts(kind).items()})


@cache
def changes(kind: str) -> list[KnownChange]:
    return known_changes(parts(kind), {name: layouts.attention_paths(part) for name, part in parts(kind).items()})


def fitted(tensors: Tensors, metadata: dict[str, str], kind: str, folder: Path) -> FittedAdapter:
    path = layouts.write(tensors, metadata, folder / "adapter.safetensors")
    return fit(read_adapter_file(path), names(kind))


def check_same(found: FittedAdapter, kind: str) -> int:
    """Each layer makes what it makes with W + ΔW as its weights; how many there are."""
    known = {(change.network, change.path): change for change in changes(kind)}
    checked = 0
    for network, layers in found.changes.items():
        for path, change in layers.items():
            known_one: Any = known[network, path]
            layer: Any = parts(kind)[network].get_submodule(path)
            bound = BoundChange(change=change, gain=gain_of(layer, change))
            x = torch.randn(
                (2, layer.weight.shape[1], *([4, 4] if isinstance(layer, nn.Conv2d) else [])),
                generator=torch.Generator().manual_seed(checked),
            )
            made = adapted_forward(layer, [(bound, 1.0)])(x)
            assert_same(made, with_weight(layer, known_one.weight + known_one.delta, x))
            half = adapted_forward(layer, [(bound, 0.5)])(x)
            assert_same(half, with_weight(layer, known_one.weight + known_one.delta / 2, x))
            checked += 1
    return checked


def assert_same(made: Tensor, expected: Tensor) -> None:
    """But for the order in which numbers of about 1 are summed in float32."""
    torch.testing.assert_close(made, expected, rtol=1e-6, atol=5e-6)


def with_weight(layer: nn.Module, weight: Tensor, x: Tensor) -> Tensor:
    return torch.func.functional_call(layer, {"weight": weight.reshape(layer.weight.shape)}, (x,))  # pyright: ignore


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        *((layout, kind) for layout in WHOLE for kind in ("sd1", "flux-dev")),
        *((layout, kind) for layout in (layouts.kohya, layouts.diffusers) for kind in ("sdxl", "sd3")),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_same_change_in_every_layout_is_the_same_change(layout: Any, kind: str, tmp_path: Path) -> None:
    written = layouts.of_denoiser(changes(kind)) if layout is layouts.peft else changes(kind)
    tensors, metadata = layout(written, kind)
    found = fitted(tensors, metadata, kind, tmp_path)
    assert found.account.ignored == {}
    assert found.account.keys == len(tensors)
    assert check_same(found, kind) == len(written)


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_attention_processors_of_old_diffusers_are_the_same_change(kind: str, tmp_path: Path) -> None:
    tensors, _ = layouts.diffusers_old(changes(kind), kind)
    found = fitted(tensors, {}, kind, tmp_path)
    assert found.account.ignored == {}
    assert check_same(found, kind) == len(tensors) // 2
    assert {"unet", "text_encoder"} <= found.changes.keys()


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        (kind, layout)
        for kind in ("sd1", "sdxl", "sd3", "flux-dev")
        for layout in ORIGINAL
        if layout != "x-flux" or kind == "flux-dev"
    ],
)
def test_a_change_under_the_names_of_the_makers_is_the_same_change(kind: str, layout: str, tmp_path: Path) -> None:
    tensors, _ = layouts.original_names(ORIGINAL[layout])(changes(kind), kind, parts(kind))
    found = fitted(tensors, {}, kind, tmp_path)
    assert found.account.ignored == {}
    assert found.account.converted
    checked = check_same(found, kind)
    assert checked == (8 if layout == "x-flux" else len(layouts.of_denoiser(changes(kind))))


@pytest.mark.parametrize(
    ("kind", "key", "paths"),
    [
        # From published files: what LCM-LoRA of SDXL, kohya's adapters of Flux.1 and SD 3.5 call their layers.
        (
            "sd1",
            "lora_unet_output_blocks_1_1_transformer_blocks_0_attn2_to_k",
            ["up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k"],
        ),
        ("sdxl", "lora_unet_label_emb_0_2", ["add_embedding.linear_2"]),
        ("sdxl", "lora_unet_middle_block_1_proj_in", ["mid_block.attentions.0.proj_in"]),
        ("sdxl", "lora_unet_input_blocks_1_0_in_layers_2", ["down_blocks.0.resnets.0.conv1"]),
        (
            "flux-dev",
            "lora_unet_double_blocks_0_txt_attn_qkv",
            [f"transformer_blocks.0.attn.add_{name}_proj" for name in "qkv"],
        ),
        (
            "flux-dev",
            "lora_unet_single_blocks_1_linear1",
            [f"single_transformer_blocks.1.{name}" for name in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")],
        ),
        ("flux-dev", "double_blocks.0.processor.proj_lora2", ["transformer_blocks.0.attn.to_add_out"]),
        ("flux-dev", "lora_te3_encoder_block_1_layer_0_SelfAttention_q", ["encoder.block.1.layer.0.SelfAttention.q"]),
        ("sd3", "lora_unet_joint_blocks_0_x_block_mlp_fc1", ["transformer_blocks.0.ff.net.0.proj"]),
        ("sd1", "lora_te_text_model_encoder_layers_1_mlp_fc2", ["encoder.layers.1.mlp.fc2"]),
        (
            "sdxl",
            "lora_te2_text_model_encoder_layers_0_self_attn_q_proj",
            ["text_model.encoder.layers.0.self_attn.q_proj"],
        ),
    ],
)
def test_published_names_are_these_modules(kind: str, key: str, paths: list[str]) -> None:
    place = names(kind).find(key)
    assert place is not None
    assert list(place.paths) == paths


@pytest.mark.parametrize("layout", WHOLE, ids=lambda layout: layout.__name__)
def test_a_misspelt_key_is_told_in_every_layout(layout: Any, tmp_path: Path) -> None:
    written = layouts.of_denoiser(changes("sd1")) if layout is layouts.peft else changes("sd1")
    tensors, metadata = layout(written, "sd1")
    for misspelt, spoilt in layouts.renamed(tensors):
        account = fitted(spoilt, metadata, "sd1", tmp_path).account
        assert misspelt in account.ignored
        assert account.keys == len(tensors)


@pytest.mark.parametrize("layout", ORIGINAL)
def test_a_misspelt_key_is_told_under_the_names_of_the_makers(layout: str, tmp_path: Path) -> None:
    tensors, _ = layouts.original_names(ORIGINAL[layout])(changes("flux-dev"), "flux-dev", parts("flux-dev"))
    for misspelt, spoilt in layouts.renamed(tensors):
        assert misspelt in fitted(spoilt, {}, "flux-dev", tmp_path).account.ignored


def test_a_key_of_the_old_diffusers_that_is_misspelt_is_told(tmp_path: Path) -> None:
    tensors, _ = layouts.diffusers_old(changes("sd1"), "sd1")
    for misspelt, spoilt in layouts.renamed(tensors):
        assert misspelt in fitted(spoilt, {}, "sd1", tmp_path).account.ignored


QUERY = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


def query_shape() -> tuple[int, ...]:
    path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    return names("sd1").networks["unet"].layers[path].weight


def ignored_because(tensors: Tensors, tmp_path: Path) -> str:
    account = fitted(tensors, {}, "sd1", tmp_path).account
    assert account.ignored.keys() == tensors.keys()
    (why,) = set(account.ignored.values())
    return why


def test_factors_of_another_width_are_told_with_both_sizes(tmp_path: Path) -> None:
    outputs, inputs = query_shape()
    tensors = {f"{QUERY}.lora_down.weight": torch.ones(2, 768), f"{QUERY}.lora_up.weight": torch.ones(outputs, 2)}
    assert ignored_because(tensors, tmp_path) == f"its `down` is [2, 768], the layer needs [2, {inputs}]"


def test_half_a_layer_is_told(tmp_path: Path) -> None:
    tensors = {f"{QUERY}.lora_down.weight": torch.ones(2, query_shape()[1])}
    assert "other factors" in ignored_because(tensors, tmp_path)


def test_a_network_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    name = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 8), f"{name}.lora_up.weight": torch.ones(8, 2)}
    assert ignored_because(tensors, tmp_path) == "the model has no `text_encoder_2`"


def test_factors_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    tensors = {f"{QUERY}.hada_w{number}_{half}": torch.ones(3, 5) for number in (1, 2) for half in "ab"}
    assert "do not fit together" in ignored_because(tensors, tmp_path)


def test_two_layers_of_a_file_for_one_of_the_model_are_told(tmp_path: Path) -> None:
    outputs, inputs = query_shape()
    factors = {"lora_A.weight": torch.ones(2, inputs), "lora_B.weight": torch.ones(outputs, 2)}
    dotted = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {
        **{f"{dotted}.{name}": tensor for name, tensor in factors.items()},
        f"{QUERY}.lora_down.weight": factors["lora_A.weight"],
        f"{QUERY}.lora_up.weight": factors["lora_B.weight"],
    }
    account = fitted(tensors, {}, "sd1", tmp_path).account
    assert len(account.ignored) == 2
    assert all("another layer of the file" in why for why in account.ignored.values())


def test_biases_and_norms_are_changed_too(tmp_path: Path) -> None:
    unet: Any = parts("sd1")["unet"]
    norm, linear = "mid_block.resnets.0.norm1", "time_embedding.linear_1"
    features, outputs = len(unet.get_submodule(norm).weight), len(unet.get_submodule(linear).bias)
    flat = {path: f"lora_unet_{path.replace('.', '_')}" for path in (norm, linear)}
    tensors = {
        f"{flat[norm]}.w_norm": torch.full((features,), 0.5),
        f"{flat[norm]}.b_norm": torch.full((features,), -0.25),
        f"{flat[linear]}.diff_b": torch.full((outputs,), 2.0),
    }
    found = fitted(tensors, {}, "sd1", tmp_path)
    assert found.account.ignored == {}
    for path, shape in ((norm, (2, features, 3, 3)), (linear, (2, unet.get_submodule(linear).in_features))):
        layer: Any = unet.get_submodule(path)
        change = found.changes["unet"][path]
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        before = {name: value.clone() for name, value in layer.named_parameters()}
        changed = dict(before)
        if path == norm:
            changed = {"weight": before["weight"] + 0.25, "bias": before["bias"] - 0.125}
        else:
            changed["bias"] = before["bias"] + 1.0
        made = adapted_forward(layer, [(BoundChange(change=change), 0.5)])(x)
        torch.testing.assert_close(made, torch.func.functional_call(layer, changed, (x,)))
        assert all(torch.equal(value, before[name]) for name, value in layer.named_parameters())


def test_dora_lengthens_what_it_is_told_to(tmp_path: Path) -> None:
    """Liu et al. 2024, equation 5, with lengths that are not those of the sum."""
    change = layouts.of_denoiser(changes("sd1"))[0]
    tensors, _ = layouts.dora([change], "sd1")
    scale_key = next(key for key in tensors if key.endswith("dora_scale"))
    tensors[scale_key] = tensors[scale_key] * 1.5
    found = fitted(tensors, {}, "sd1", tmp_path)
    layer: Any = parts("sd1")["unet"].get_submodule(change.path)
    made = found.changes["unet"][change.path]
    x = torch.randn(
        (2, layer.weight.shape[1], *([4, 4] if isinstance(layer, nn.Conv2d) else [])),
        generator=torch.Generator().manual_seed(2),
    )
    bound = BoundChange(change=made, gain=gain_of(layer, made))
    expected = with_weight(layer, 1.5 * (change.weight + change.delta), x)
    torch.testing.assert_close(adapted_forward(layer, [(bound, 1.0)])(x), expected)


def test_the_bias_of_a_lora_has_its_scale(tmp_path: Path) -> None:
    outputs, inputs = query_shape()
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {
        f"{name}.lora_A.weight": torch.zeros(4, inputs),
        f"{name}.lora_B.weight": torch.zeros(outputs, 4),
        f"{name}.lora_B.bias": torch.ones(outputs),
        f"{name}.alpha": torch.tensor(2.0),
    }
    found = fitted(tensors, {}, "sd1", tmp_path)
    bias = found.changes["unet"][name.removeprefix("unet.")].bias
    assert bias is not None
    torch.testing.assert_close(bias, torch.full((outputs,), 0.5))


@pytest.mark.parametrize(
    ("ending", "name"),
    [("oft_blocks", "OFT"), ("on_input", "IA3"), ("a1.weight", "GLoRA"), ("boft_R", "BOFT"), ("vera_lambda_d", "VeRA")],
)
def test_what_is_not_applied_is_named(ending: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"of the kind {name}"):
        fitted({f"{QUERY}.{ending}": torch.ones(2, 2)}, {}, "sd1", tmp_path)


def test_a_pickle_is_read_without_its_code(tmp_path: Path) -> None:
    tensors, _ = layouts.kohya(changes("sd1"), "sd1")
    path = tmp_path / "adapter.pt"
    torch.save({"state_dict": tensors}, path)
    found = fit(read_adapter_file(path), names("sd1"))
    assert check_same(found, "sd1") == len(changes("sd1"))


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"adapter\.safetensors"):
        read_adapter_file(path)


def test_what_was_read_does_not_follow_the_file(tmp_path: Path) -> None:
    """A file may be overwritten while its adapter is in use."""
    tensors, _ = layouts.full(changes("sd1")[:1], "sd1")
    found = fitted(tensors, {}, "sd1", tmp_path)
    change = changes("sd1")[0]
    moved = found.changes[change.network][change.path].to(torch.device("cpu"), torch.float32)
    (tmp_path / "adapter.safetensors").write_bytes(b"\0" * (tmp_path / "adapter.safetensors").stat().st_size)
    assert moved.dense is not None
    torch.testing.assert_close(moved.dense, change.delta)
