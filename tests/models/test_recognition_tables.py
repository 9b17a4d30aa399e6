"""The tables of signatures: no row hides another, and each family's layers are known."""

from itertools import chain

import pytest

from gesso.models.headers.base import FileFormat, TensorShape, WeightsHeader
from gesso.models.recognition.adapter_families import FITS, family_of
from gesso.models.recognition.adapter_keys import SUFFIXES, read_adapter_keys
from gesso.models.recognition.autoencoders import TINY_VAES, VAES
from gesso.models.recognition.controls import BESIDE, T2I_ADAPTERS, UPSCALERS
from gesso.models.recognition.encoders import IMAGE_ENCODERS, TEXT_ENCODERS
from gesso.models.recognition.marks import Mark, Signature
from gesso.models.recognition.recognise import recognise
from gesso.models.recognition.transformers import TRANSFORMERS
from gesso.models.recognition.unets import UNETS
from specimens.adapters import kohya

SIGNATURES = list(
    chain(BESIDE, TRANSFORMERS, UNETS, VAES, TINY_VAES, TEXT_ENCODERS, IMAGE_ENCODERS, T2I_ADAPTERS, UPSCALERS)
)


def header_of(shapes: dict[str, tuple[int, ...]]) -> WeightsHeader:
    tensors = {name: TensorShape(dtype="F16", shape=shape) for name, shape in shapes.items()}
    return WeightsHeader(format=FileFormat.SAFETENSORS, tensors=tensors)


def shape_of(mark: Mark) -> tuple[int, ...]:
    return tuple(mark.sizes.get(dimension, 8) for dimension in range(max(mark.sizes, default=1) + 1))


def title(signature: Signature) -> str:
    words = (signature.kind, *signature.families, signature.variant, signature.network, signature.layout)
    return " ".join(word for word in words if word)


@pytest.mark.parametrize("signature", SIGNATURES, ids=title)
@pytest.mark.parametrize("place", [0, -1], ids=["first prefix", "last prefix"])
def test_a_file_of_the_marks_alone_is_what_they_are_marks_of(signature: Signature, place: int) -> None:
    prefix = signature.prefixes[place]
    said = recognise(header_of({prefix + mark.key: shape_of(mark) for mark in signature.marks}))
    assert said.kind.value == signature.kind
    assert said.families == signature.families
    assert (said.variant.value if said.variant else None) == signature.variant
    assert (said.network.value if said.network else None) == signature.network
    assert said.layout is not None
    assert said.layout.value == signature.layout


LAYERS = [
    ("lora_unet_double_stream_modulation_img_lin", 6144, 36864, "flux2"),
    ("lora_unet_double_stream_modulation_img_lin", 3072, 18432, "flux2-klein"),
    ("lora_unet_single_blocks_0_linear1", 6144, 55296, "flux2"),
    ("lora_unet_single_blocks_0_linear1", 4096, 36864, "flux2-klein"),
    ("lora_unet_single_blocks_0_linear1", 3072, 27648, "flux2-klein"),
    ("lora_unet_single_blocks_0_linear1", 3072, 21504, "flux1"),
    ("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 6144, 55296, "flux2"),
    ("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 3072, 27648, "flux2-klein"),
    ("diffusion_model.double_blocks.0.img_attn.qkv", 6144, 18432, "flux2"),
    ("diffusion_model.double_blocks.0.img_attn.qkv", 4096, 12288, "flux2-klein"),
    ("diffusion_model.double_blocks.0.img_attn.qkv", 3072, 9216, "flux1"),
    ("lora_unet_double_blocks_0_img_mod_lin", 3072, 18432, "flux1"),
    ("double_blocks.0.processor.qkv", 3072, 9216, "flux1"),
    ("lora_unet_distilled_guidance_layer_layers_0_in_layer", 5120, 5120, "chroma"),
    ("diffusion_model.txt_in.individual_token_refiner.blocks.0.self_attn_qkv", 3072, 9216, "hunyuan-video"),
    ("transformer.double_stream_blocks.0.block.attn1.to_q", 2560, 2560, "hidream"),
    ("transformer.joint_transformer_blocks.0.attn.to_q", 3072, 3072, "auraflow"),
    ("transformer.single_transformer_blocks.0.norm.linear", 3072, 9216, "flux1"),
    ("transformer.single_transformer_blocks.0.attn.to_q", 3072, 3072, "flux1"),
    ("transformer.transformer_blocks.0.img_mod.1", 3072, 18432, "qwen-image"),
    ("transformer.transformer_blocks.40.attn.to_q", 3072, 3072, "qwen-image"),
    ("transformer.transformer_blocks.0.attn.to_q", 3072, 3072, "flux1"),
    ("lora_unet_joint_blocks_0_context_block_attn_qkv", 1536, 4608, "sd3"),
    ("lora_unet_joint_blocks_0_context_block_attn_qkv", 2432, 7296, "sd3"),
    ("lora_unet_joint_blocks_0_context_block_attn_qkv", 8, 24, "sd3"),
    ("transformer.transformer_blocks.0.attn2.to_q", 1536, 1536, "sd3"),
    ("transformer.transformer_blocks.0.attn.to_q", 2432, 2432, "sd3"),
    ("transformer.layers.0.attention.to_q", 3840, 3840, "z-image"),
    ("diffusion_model.layers.0.attention.qkv", 2304, 6912, "lumina2"),
    ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 768, 1280, "sd1"),
    ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 1024, 1280, "sd2"),
    ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 2048, 1280, "sdxl"),
    ("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 1280, 1280, "sdxl-refiner"),
    ("lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q", 1280, 1280, "sdxl"),
    ("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", 640, 640, "sdxl"),
    ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", 320, 320, "sd1 sd2"),
    ("diffusion_model.blocks.0.cross_attn.k", 5120, 5120, "wan"),
    ("transformer.blocks.0.attn1.to_q", 1408, 1408, "hunyuan-dit"),
    ("transformer.blocks.0.attn1.to_q", 5120, 5120, "wan"),
    ("transformer.transformer_blocks.0.attn1.to_q", 2240, 2240, "sana"),
    ("transformer.transformer_blocks.0.attn1.to_q", 2048, 2048, "ltx-video"),
    ("transformer.transformer_blocks.0.attn1.to_q", 1152, 1152, "pixart"),
    ("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280, 5120, "sdxl"),
    ("text_encoder_2.text_model.encoder.layers.0.mlp.fc1", 1280, 5120, "sdxl"),
    ("lora_te_text_model_encoder_layers_0_mlp_fc1", 768, 3072, "sd1"),
    ("lora_te_text_model_encoder_layers_0_mlp_fc1", 1024, 4096, "sd2"),
    ("text_encoder.text_model.encoder.layers.0.mlp.fc1", 768, 3072, "sd1"),
]
"""Layer, features that it reads and makes, families."""


@pytest.mark.parametrize(("module", "reads", "makes", "families"), LAYERS)
def test_an_adapter_of_one_layer_fits_the_family_that_has_it(
    module: str, reads: int, makes: int, families: str
) -> None:
    keys = read_adapter_keys(header_of(dict(kohya(module, reads, makes))).tensors)
    assert keys is not None
    found = family_of(keys.layers.values())
    assert found is not None
    assert found[0].families == tuple(families.split())


def test_every_row_of_the_table_of_layers_is_met_by_one() -> None:
    met: set[int] = set()
    for module, reads, makes, _ in LAYERS:
        keys = read_adapter_keys(header_of(dict(kohya(module, reads, makes))).tensors)
        found = family_of(keys.layers.values()) if keys else None
        met |= {id(found[0])} if found else set()
    assert [fit.layer.pattern for fit in FITS if id(fit) not in met] == []


@pytest.mark.parametrize(
    ("ending", "algorithm", "layout"),
    [
        (".lora_mid.weight", "LoRA", "kohya"),
        (".lora_A.weight", "LoRA", "peft"),
        (".lora_B.default_0.weight", "LoRA", "peft"),
        (".processor.to_q_lora.up.weight", "LoRA", "diffusers, before PEFT"),
        (".to_q.lora.down.weight", "LoRA", "diffusers, before PEFT"),
        (".processor.proj_lora2.down.weight", "LoRA", "x-flux"),
        (".hada_t1", "LoHa", "kohya"),
        (".lokr_w1_a", "LoKr", "kohya"),
        (".lokr_w1_b", "LoKr", "kohya"),
        (".lokr_w2", "LoKr", "kohya"),
        (".lokr_t2", "LoKr", "kohya"),
        (".oft_diag", "OFT", "kohya"),
        (".oft_R.weight", "OFT", "peft"),
        (".boft_R.default", "BOFT", "peft"),
        (".boft_s", "BOFT", "peft"),
        (".glora_E", "GLoRA", "peft"),
        (".ia3_l", "IA3", "peft"),
        (".ia3_l.default", "IA3", "peft"),
        (".diff_b", "full difference", "kohya"),
        (".lora_magnitude_vector.default.weight", "DoRA", "peft"),
    ],
)
def test_every_ending_of_a_key_tells_algorithm_and_layout(ending: str, algorithm: str, layout: str) -> None:
    said = recognise(header_of({f"blocks.0.layer{ending}": (4, 4)}))
    assert said.kind.value == "lora"
    assert said.algorithm is not None
    assert said.layout is not None
    assert (said.algorithm.value, said.layout.value) == (algorithm, layout)


def test_no_two_endings_are_the_same() -> None:
    assert len({suffix.pattern for suffix in SUFFIXES}) == len(SUFFIXES)


@pytest.mark.parametrize(
    "key", ["layer.weight", "lora.weight", "some_lora_thing.weight", "diff.weight", "a.alpha", "layer.a1.weight"]
)
def test_keys_that_only_resemble_an_adapter_are_none(key: str) -> None:
    assert recognise(header_of({key: (4, 4)})).kind.value == "unknown"
