"""LoRAs and their kin: one change of known width in every published layout."""

from dataclasses import replace

from specimens.base import Shapes, Specimen, specimen


def kohya(module: str, reads: int, makes: int, rank: int = 8) -> Shapes:
    return {
        f"{module}.alpha": (),
        f"{module}.lora_down.weight": (rank, reads),
        f"{module}.lora_up.weight": (makes, rank),
    }


def peft(module: str, reads: int, makes: int, rank: int = 8, adapter: str = "") -> Shapes:
    return {f"{module}.lora_A{adapter}.weight": (rank, reads), f"{module}.lora_B{adapter}.weight": (makes, rank)}


def loha(module: str, reads: int, makes: int, rank: int = 8) -> Shapes:
    pairs = {f"{module}.hada_w{n}_a": (makes, rank) for n in (1, 2)}
    return {**pairs, **{f"{module}.hada_w{n}_b": (rank, reads) for n in (1, 2)}, f"{module}.alpha": ()}


def lokr(module: str, reads: int, makes: int, rank: int = 8) -> Shapes:
    return {
        f"{module}.lokr_w1": (8, 8),
        f"{module}.lokr_w2_a": (makes // 8, rank),
        f"{module}.lokr_w2_b": (rank, reads // 8),
        f"{module}.alpha": (),
    }


_ATTENTION = "down_blocks_1_attentions_0_transformer_blocks_0"
_DOTTED = "down_blocks.1.attentions.0.transformer_blocks.0"
_KOHYA_TEXT = f"lora_unet_{_ATTENTION}_attn2_to_k"
_DOUBLE = "lora_unet_double_blocks_0_img_attn_qkv"
_LORA = "lora"
_SS = {"ss_network_dim": "8", "ss_network_alpha": "4"}

ADAPTERS: dict[str, Specimen] = {
    "lora of sd1, kohya": specimen(
        {
            **kohya(_KOHYA_TEXT, 768, 640),
            **kohya("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 768, 768, rank=4),
        },
        _LORA,
        "sd1",
        algorithm="LoRA",
        layout="kohya",
        ranks=[4, 8],
        prediction=None,
    ),
    "lora of sd2, kohya": specimen(kohya(_KOHYA_TEXT, 1024, 640), _LORA, "sd2"),
    "lora of sd2 that says v": replace(
        specimen(kohya(_KOHYA_TEXT, 1024, 640), _LORA, "sd2", prediction="v_prediction"),
        metadata={**_SS, "ss_v_parameterization": "True"},
    ),
    "lora of sdxl, kohya": specimen(
        kohya("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640), _LORA, "sdxl"
    ),
    "lora of sdxl without cross-attention": specimen(
        kohya("lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q", 1280, 1280), _LORA, "sdxl"
    ),
    "lora of sd1 or 2": specimen(
        kohya("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 320, 320),
        _LORA,
        None,
        families=["sd1", "sd2"],
    ),
    "lora of sd1 or 2 that says which": replace(
        specimen(kohya("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 320, 320), _LORA, "sd2"),
        metadata={"ss_base_model_version": "sd_v2"},
    ),
    "lora of a text encoder": specimen(kohya("lora_te_text_model_encoder_layers_0_mlp_fc1", 768, 3072), _LORA, "sd1"),
    "lora of sd1, diffusers": specimen(
        peft(f"unet.{_DOTTED}.attn2.to_k", 768, 640), _LORA, "sd1", layout="diffusers", ranks=[8]
    ),
    "lora of sd1, before peft": specimen(
        {
            f"unet.{_DOTTED}.attn2.processor.to_k_lora.down.weight": (4, 768),
            f"unet.{_DOTTED}.attn2.processor.to_k_lora.up.weight": (640, 4),
        },
        _LORA,
        "sd1",
        layout="diffusers, before PEFT",
        ranks=[4],
    ),
    "lora of sdxl, peft": specimen(
        peft(f"base_model.model.{_DOTTED}.attn2.to_k", 2048, 640, adapter=".default"),
        _LORA,
        "sdxl",
        layout="peft",
    ),
    "locon of sdxl": specimen(
        {
            **kohya(_KOHYA_TEXT, 2048, 640),
            "lora_unet_down_blocks_0_resnets_0_conv1.lora_down.weight": (4, 320, 3, 3),
            "lora_unet_down_blocks_0_resnets_0_conv1.lora_mid.weight": (4, 4, 3, 3),
            "lora_unet_down_blocks_0_resnets_0_conv1.lora_up.weight": (320, 4, 1, 1),
        },
        _LORA,
        "sdxl",
        ranks=[4, 8],
    ),
    "loha of sd1": specimen(loha(_KOHYA_TEXT, 768, 640), _LORA, "sd1", algorithm="LoHa", ranks=[8]),
    "lokr of sdxl": specimen(lokr(_KOHYA_TEXT, 2048, 640), _LORA, "sdxl", algorithm="LoKr", ranks=[8]),
    "dora of sdxl, kohya": specimen(
        {**kohya(_KOHYA_TEXT, 2048, 640), f"{_KOHYA_TEXT}.dora_scale": (1, 2048)}, _LORA, "sdxl", algorithm="DoRA"
    ),
    "dora of sdxl, diffusers": specimen(
        {
            **peft(f"unet.{_DOTTED}.attn2.to_k", 2048, 640),
            f"unet.{_DOTTED}.attn2.to_k.lora_magnitude_vector": (640,),
        },
        _LORA,
        "sdxl",
        algorithm="DoRA",
        layout="diffusers",
    ),
    "full difference of sd1": specimen(
        {f"{_KOHYA_TEXT}.diff": (640, 768)}, _LORA, "sd1", algorithm="full difference", ranks=[]
    ),
    "oft of sdxl": replace(
        specimen(
            {f"{_KOHYA_TEXT}.oft_blocks": (4, 160, 160), f"{_KOHYA_TEXT}.alpha": ()}, _LORA, "sdxl", algorithm="OFT"
        ),
        metadata={"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"},
    ),
    "boft of sdxl": replace(
        specimen(
            {
                f"{_KOHYA_TEXT}.oft_blocks": (3, 4, 8, 8),
                f"{_KOHYA_TEXT}.rescale": (640, 1),
                f"{_KOHYA_TEXT}.alpha": (),
            },
            _LORA,
            "sdxl",
            algorithm="BOFT",
        ),
        metadata={"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"},
    ),
    "glora of sd1": replace(
        specimen(
            {f"{_KOHYA_TEXT}.{factor}.weight": (8, 640) for factor in ("a1", "a2", "b1", "b2")},
            _LORA,
            "sd1",
            algorithm="GLoRA",
        ),
        metadata={"ss_base_model_version": "sd_v1"},
    ),
    "ia3 of sd1": replace(
        specimen({f"{_KOHYA_TEXT}.weight": (640,), f"{_KOHYA_TEXT}.on_input": ()}, _LORA, "sd1", algorithm="IA3"),
        metadata={"ss_base_model_version": "sd_v1"},
    ),
    "lora of sd3, diffusers": specimen(
        peft("transformer.transformer_blocks.0.attn.to_q", 1536, 1536),
        _LORA,
        "sd3",
        variant="medium",
        prediction="flow",
    ),
    "lora of sd3.5 large, kohya": specimen(
        kohya("lora_unet_joint_blocks_0_x_block_attn_qkv", 2432, 7296), _LORA, "sd3", variant="3.5 large"
    ),
    "lora of flux.1, kohya": specimen(
        {**kohya(_DOUBLE, 3072, 9216), **kohya("lora_unet_double_blocks_0_img_mod_lin", 3072, 18432)},
        _LORA,
        "flux1",
        layout="kohya",
        prediction="flow",
    ),
    "lora of flux.1, diffusers": specimen(
        {
            **peft("transformer.single_transformer_blocks.0.attn.to_q", 3072, 3072, rank=16),
            **peft("transformer.single_transformer_blocks.0.norm.linear", 3072, 9216, rank=16),
        },
        _LORA,
        "flux1",
        layout="diffusers",
        ranks=[16],
    ),
    "lora of flux.1, x-flux": specimen(
        {
            "double_blocks.0.processor.qkv_lora1.down.weight": (16, 3072),
            "double_blocks.0.processor.qkv_lora1.up.weight": (9216, 16),
        },
        _LORA,
        "flux1",
        layout="x-flux",
    ),
    "lora of chroma that says so": replace(
        specimen(kohya(_DOUBLE, 3072, 9216), _LORA, "chroma"), metadata={"modelspec.architecture": "chroma/lora"}
    ),
    "lora of flux.2": specimen(
        peft("diffusion_model.single_blocks.0.linear1", 6144, 55296), _LORA, "flux2", layout="peft"
    ),
    "lora of flux.2 klein": specimen(
        peft("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 3072, 27648), _LORA, "flux2-klein"
    ),
    "lora of qwen-image": specimen(
        peft("transformer.transformer_blocks.59.attn.add_q_proj", 3072, 3072), _LORA, "qwen-image"
    ),
    "lora of z-image": specimen(peft("diffusion_model.layers.0.attention.to_q", 3840, 3840), _LORA, "z-image"),
    "lora of wan": specimen(peft("diffusion_model.blocks.0.self_attn.q", 5120, 5120), _LORA, "wan"),
    "lora of something else": specimen(kohya("lora_unet_foo", 7, 7), _LORA, None, algorithm="LoRA", ranks=[8]),
}
