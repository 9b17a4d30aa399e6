"""Thin random pipelines of each family: the real classes and wiring, thousands of weights instead of billions.

A test that needs "a Stable Diffusion 3 folder" asks here. Weights are random but fixed by `seed`, scaled so that
signals neither die nor explode: pictures are finite, and differ by prompt, by seed and by weights. Latents are 8x8, so
pictures are 64 px. What decides behaviour is as in the released checkpoints: scheduler and its options, VAE scale and
shift, pad and end ids, `force_zeros_for_empty_prompt`, activation of the text encoders.

    pipe = zoo.build("sdxl")            # a fresh pipeline, yours to change
    pipe = zoo.built("sdxl")            # shared in this process: do not change it
    path = zoo.saved("sdxl")            # its folder, shared in this process: read only
    path = zoo.save("sdxl", tmp_path)   # a folder of your own
"""

# diffusers exports its names lazily, and annotates options by the length and type of their defaults.
# pyright: reportPrivateImportUsage=false, reportArgumentType=false

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

PICTURE_PX = 64
"""Width and height of the pictures; pass them to `DiffusionPipeline.__call__`."""

_WORDS = (
    "a the red green blue yellow white black circle square star triangle left right of on above below and with "
    "background picture painting photo cat dog house tree river small large bright dark , . word last first"
)
WORDS = tuple(_WORDS.split())
"""Words that are one token; any other text is spelt letter by letter."""

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


# --- tokenizers


def _clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Every byte, alone and at a word's end, then the merges that join each of `WORDS`; begin and end come last.

    The order is that of CLIP: the end of text has the highest id, which old configs rely on, and id 0 is `!`.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [chr(code) for code in (*printable, *range(0x100, 0x100 + len(rest)))]  # GPT-2's byte alphabet
    pieces = [*letters, *(letter + "</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        symbols = _merged([*word[:-1], word[-1] + "</w>"], merges)
        while len(symbols) > 1:
            merges.append((symbols[0], symbols[1]))
            pieces.append(symbols[0] + symbols[1])
            symbols = _merged(symbols, merges)
    return {piece: index for index, piece in enumerate([*dict.fromkeys(pieces), BEGIN, END])}, merges


def _merged(symbols: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding: join neighbours, those of the earliest merge first (Sennrich et al. 2016, algorithm 1)."""
    while pairs := [pair for pair in merges if pair in pairwise(symbols)]:
        index = 0
        while index < len(symbols) - 1:
            if (symbols[index], symbols[index + 1]) == pairs[0]:
                symbols[index : index + 2] = ["".join(pairs[0])]
            index += 1
    return symbols


def clip_tokenizer(*, pad_token: str = END) -> CLIPTokenizer:
    """A CLIP tokenizer of about 700 tokens. OpenAI's pads with the end of text, OpenCLIP's with `!`, which has id 0."""
    vocabulary, merges = _clip_vocabulary()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77, pad_token=pad_token)


def t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer of about 150 pieces."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [("▁" + word, -2.0) for word in WORDS]
    pieces += [(chr(code), -8.0) for code in range(0x21, 0x7F)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


# --- networks


def stir(module: nn.Module, seed: int) -> nn.Module:
    """Overwrite every weight with noise of unit gain, also those that a fresh network sets to zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim >= 2 and "embedding" in name and "linear" not in name:
            values = noise * 0.7  # a table: rows are read, not summed
        elif parameter.ndim >= 2:
            values = noise / (parameter.numel() / parameter.shape[0]) ** 0.5
        elif name.endswith("bias"):
            values = noise * 0.05
        else:
            values = 1 + noise * 0.1  # the scale of a norm
        parameter.data.copy_(values)
    return module.eval().requires_grad_(False)


def _clip_config(width: int, layers: int, **options: Any) -> CLIPTextConfig:
    vocabulary_size = len(_clip_vocabulary()[0])
    # The released configs say begin 0 and end 2, which no tokenizer means: transformers then pools at the highest id.
    ends = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    return CLIPTextConfig(
        vocab_size=vocabulary_size,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=77,
        **{"hidden_act": "quick_gelu", "projection_dim": width, **ends, **options},
    )


def _t5(width: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(t5_tokenizer()),
            d_model=width,
            d_kv=width // 2,
            d_ff=2 * width,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def _vae(*, channels: int, scale: float, shift: float | None = None, quant_conv: bool = True) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        latent_channels=channels,
        sample_size=PICTURE_PX,
        scaling_factor=scale,
        shift_factor=shift,
        use_quant_conv=quant_conv,
        use_post_quant_conv=quant_conv,
    )


def _unet(*, cross_attention: int, **options: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=cross_attention,
        **options,
    )


# --- pipelines: components of each kind


def _sd1() -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "text_encoder": CLIPTextModel(_clip_config(32, 3)),
        "unet": _unet(cross_attention=32),
        "vae": _vae(channels=4, scale=0.18215),
        "scheduler": PNDMScheduler(**DIFFUSION, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def _sd2() -> dict[str, Any]:
    # Real SD 2 has a width of 1024 throughout; here the UNet says so and projects the thin embeddings up to it.
    widened = {"encoder_hid_dim": 32, "encoder_hid_dim_type": "text_proj", "use_linear_projection": True}
    return _sd1() | {
        "tokenizer": clip_tokenizer(pad_token="!"),
        "text_encoder": CLIPTextModel(_clip_config(32, 3, hidden_act="gelu")),
        "unet": _unet(cross_attention=1024, **widened),
        "scheduler": DDIMScheduler(
            **DIFFUSION,
            prediction_type="v_prediction",
            steps_offset=1,
            set_alpha_to_one=False,
            clip_sample=False,
        ),
    }


def _sdxl() -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(pad_token="!"),
        "text_encoder": CLIPTextModel(_clip_config(16, 3)),
        "text_encoder_2": CLIPTextModelWithProjection(_clip_config(24, 4, hidden_act="gelu")),
        "unet": _unet(
            cross_attention=16 + 24,
            use_linear_projection=True,
            transformer_layers_per_block=(1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24 + 6 * 8,
        ),
        "vae": _vae(channels=4, scale=0.13025),
        "scheduler": EulerDiscreteScheduler(**DIFFUSION, steps_offset=1, timestep_spacing="leading"),
        "force_zeros_for_empty_prompt": True,
        "add_watermarker": False,
    }


def _sd3() -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(pad_token="!"),
        "tokenizer_3": t5_tokenizer(),
        "text_encoder": CLIPTextModelWithProjection(_clip_config(16, 3)),
        "text_encoder_2": CLIPTextModelWithProjection(_clip_config(24, 4, hidden_act="gelu")),
        "text_encoder_3": _t5(48),  # wider than both CLIPs together, as in the release
        "transformer": SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=48,
            caption_projection_dim=32,
            pooled_projection_dim=16 + 24,
            pos_embed_max_size=24,
        ),
        "vae": _vae(channels=16, scale=1.5305, shift=0.0609, quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def _flux(*, guidance_embeds: bool, scheduler: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": t5_tokenizer(),
        "text_encoder": CLIPTextModel(_clip_config(16, 2)),
        "text_encoder_2": _t5(32),
        "transformer": FluxTransformer2DModel(
            patch_size=1,
            in_channels=64,
            num_layers=1,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 6, 6),
            guidance_embeds=guidance_embeds,
        ),
        "vae": _vae(channels=16, scale=0.3611, shift=0.1159, quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(**scheduler),
    }


def _flux_dev() -> dict[str, Any]:
    return _flux(guidance_embeds=True, scheduler={"shift": 3.0, "use_dynamic_shifting": True})


def _flux_schnell() -> dict[str, Any]:
    return _flux(guidance_embeds=False, scheduler={"shift": 1.0})


def _pixart() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": _t5(32),
        "transformer": PixArtTransformer2DModel(
            sample_size=32,  # the smallest that the pipeline takes: it paints 256 px and resizes to what was asked
            in_channels=4,
            out_channels=8,
            num_layers=2,
            patch_size=2,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=32,
            caption_channels=32,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            use_additional_conditions=False,
        ),
        "vae": _vae(channels=4, scale=0.13025),
        "scheduler": DPMSolverMultistepScheduler(beta_schedule="linear", beta_end=0.02),
    }


def _lcm() -> dict[str, Any]:
    return _sd1() | {
        "unet": _unet(cross_attention=32, time_cond_proj_dim=16),  # guidance is an input of the network
        "scheduler": LCMScheduler(**DIFFUSION, clip_sample=False, set_alpha_to_one=True),
    }


RECIPES: Mapping[str, tuple[type[DiffusionPipeline], Callable[[], dict[str, Any]]]] = {
    "sd1": (StableDiffusionPipeline, _sd1),
    "sd2": (StableDiffusionPipeline, _sd2),
    "sdxl": (StableDiffusionXLPipeline, _sdxl),
    "sd3": (StableDiffusion3Pipeline, _sd3),
    "flux-dev": (FluxPipeline, _flux_dev),
    "flux-schnell": (FluxPipeline, _flux_schnell),
    "pixart": (PixArtSigmaPipeline, _pixart),
    "lcm": (LatentConsistencyModelPipeline, _lcm),
}
KINDS = tuple(RECIPES)
OTHERS = ("pixart", "lcm")
"""Kinds whose family is not data of Gesso; they stand for every other text-to-image class of diffusers."""
FIRST_CLASS = tuple(kind for kind in KINDS if kind not in OTHERS)


# --- what tests call


def build(kind: str, seed: int = 0, **replaced: Any) -> DiffusionPipeline:
    """A fresh pipeline of `kind` with the weights of `seed`; `replaced` overrides components or init options.

    The global random state is left as it was.
    """
    pipeline_class, recipe = RECIPES[kind]
    with torch.random.fork_rng(devices=[]):  # fresh networks draw from the global state before `stir` overwrites them
        parts = recipe() | replaced
    for index, (name, part) in enumerate(parts.items()):
        if isinstance(part, nn.Module) and name not in replaced:
            stir(part, seed * 1000 + index)
    pipe = pipeline_class(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def safety_checker(*, flags: bool = True, seed: int = 0) -> dict[str, Any]:
    """Components for `build("sd1", **safety_checker())`: a checker that calls every picture unsafe, or none."""
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 16, "projection_dim": 16}
    with torch.random.fork_rng(devices=[]):
        checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    stir(checker, seed)
    checker.concept_embeds_weights.data.fill_(-2.0 if flags else 2.0)  # thresholds of a cosine
    checker.special_care_embeds_weights.data.fill_(2.0)
    size = {"shortest_edge": 32}
    extractor = CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32})
    return {"safety_checker": checker, "feature_extractor": extractor, "requires_safety_checker": True}


def save(kind: str, folder: Path | str, seed: int = 0, **replaced: Any) -> Path:
    """Write the pipeline of `kind` as a diffusers folder at `folder` and return its path."""
    path = Path(folder)
    build(kind, seed, **replaced).save_pretrained(path)
    return path


@cache
def session_folder() -> Path:
    """A temporary folder for this process, removed when it ends."""
    path = Path(tempfile.mkdtemp(prefix="gesso-zoo-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def built(kind: str, seed: int = 0) -> DiffusionPipeline:
    """The pipeline of `kind`, made once for this process. Shared: do not change it."""
    return build(kind, seed)


@cache
def saved(kind: str, seed: int = 0) -> Path:
    """The folder of `kind`, written once for this process. Shared: do not change it."""
    return save(kind, session_folder() / f"{kind}-{seed}", seed)
