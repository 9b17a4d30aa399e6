"""UNets by their signatures: Stable Diffusion 1, 2 and XL and what was made of them.

Layout of the original keys: CompVis/latent-diffusion (`input_blocks`, `middle_block`, `output_blocks`), of the others
diffusers' `UNet2DConditionModel`. The width of the text that cross-attention reads tells the families apart: CLIP ViT-L
is 768 wide (SD 1), OpenCLIP ViT-H 1024 (SD 2), both encoders of SDXL together 2048, bigG alone 1280 (refiner).
"""

from dataclasses import replace

from gesso.models.recognition.kinds import Kind, Layout
from gesso.models.recognition.marks import Signature, has

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "unet.", "")
TASKS = {5: "depth to image", 7: "upscaling by 4", 8: "instruct-pix2pix (edits)", 9: "inpainting"}

FIRST_TEXT = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
SECOND_TEXT = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
FIRST_TEXT_DIFFUSERS = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
SECOND_TEXT_DIFFUSERS = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
LABELS = "label_emb.0.0.weight"
LABELS_DIFFUSERS = "add_embedding.linear_1.weight"

_ORIGINAL = Signature(
    kind=Kind.DENOISER,
    layout=Layout.ORIGINAL,
    marks=(has("input_blocks.0.0.weight"), has("time_embed.0.weight")),
    prefixes=PREFIXES,
    input_key="input_blocks.0.0.weight",
    tasks=TASKS,
)
_DIFFUSERS = Signature(
    kind=Kind.DENOISER,
    layout=Layout.DIFFUSERS,
    marks=(has("conv_in.weight"), has("time_embedding.linear_1.weight")),
    prefixes=PREFIXES,
    input_key="conv_in.weight",
    tasks=TASKS,
)

UNETS = (
    replace(
        _ORIGINAL,
        families=("svd",),
        marks=(has("input_blocks.1.1.time_stack.0.attn1.to_q.weight"),),
        note="it makes videos",
        tasks={},
    ),
    replace(_ORIGINAL, families=("sd1",), marks=(has(FIRST_TEXT, {1: 768}),)),
    replace(_ORIGINAL, families=("sd2",), marks=(has(FIRST_TEXT, {1: 1024}),)),
    replace(_ORIGINAL, families=("kolors",), marks=(has(SECOND_TEXT, {1: 2048}), has(LABELS, {1: 5632}))),
    replace(_ORIGINAL, families=("sdxl",), marks=(has(SECOND_TEXT, {1: 2048}), has(LABELS))),
    replace(_ORIGINAL, families=("sdxl-refiner",), marks=(has(SECOND_TEXT, {1: 1280}), has(LABELS))),
    replace(  # its first level has no attention
        _ORIGINAL,
        families=("sd2",),
        variant="x4 upscaler",
        marks=(has("input_blocks.0.0.weight", {1: 7}), has(SECOND_TEXT, {1: 1024})),
    ),
    replace(_DIFFUSERS, families=("sd1",), marks=(has(FIRST_TEXT_DIFFUSERS, {1: 768}),)),
    replace(_DIFFUSERS, families=("sd2",), marks=(has(FIRST_TEXT_DIFFUSERS, {1: 1024}),)),
    replace(
        _DIFFUSERS,
        families=("kolors",),
        marks=(has(SECOND_TEXT_DIFFUSERS, {1: 2048}), has("encoder_hid_proj.weight", {1: 4096})),
    ),
    replace(_DIFFUSERS, families=("sdxl",), marks=(has(SECOND_TEXT_DIFFUSERS, {1: 2048}), has(LABELS_DIFFUSERS))),
    replace(
        _DIFFUSERS, families=("sdxl-refiner",), marks=(has(SECOND_TEXT_DIFFUSERS, {1: 1280}), has(LABELS_DIFFUSERS))
    ),
    replace(
        _DIFFUSERS,
        families=("sd2",),
        variant="x4 upscaler",
        marks=(has("conv_in.weight", {1: 7}), has(SECOND_TEXT_DIFFUSERS, {1: 1024})),
    ),
    _ORIGINAL,  # a UNet of no family that is known
    _DIFFUSERS,
)
