"""Text and image encoders by their signatures.

Keys: transformers (`CLIPTextModel`, `T5EncoderModel`, `Qwen…`, `Gemma…`), mlfoundations/open_clip (`resblocks`), ggml's
names in GGUF (`blk`). Widths: CLIP ViT-L 768, OpenCLIP ViT-H 1024, ViT-bigG 1280, T5 XXL 4096.
"""

import re

from gesso.models.recognition.kinds import Kind, Layout
from gesso.models.recognition.marks import Mark, Signature, has

IN_CHECKPOINT = re.compile(
    r"(?:cond_stage_model|conditioner\.embedders\.\d+|text_encoders\.\w+|text_encoder(?:_\d+)?)\.(?:transformer\.|model\.)?"
)
"""What stands before the keys of a text encoder in a checkpoint."""

_CLIPS = {768: "CLIP ViT-L", 1024: "OpenCLIP ViT-H", 1280: "OpenCLIP ViT-bigG"}
_CLIP_FAMILIES: dict[int, tuple[str, ...]] = {768: (), 1024: ("sd2",), 1280: ()}


def _text(network: str, layout: Layout, *marks: Mark, families: tuple[str, ...] = ()) -> Signature:
    return Signature(kind=Kind.TEXT_ENCODER, families=families, layout=layout, marks=marks, network=network)


TEXT_ENCODERS = (
    *(
        _text(
            name,
            Layout.TRANSFORMERS,
            has(f"{start}encoder.layers.0.self_attn.q_proj.weight", {0: width}),
            families=fits,
        )
        for start in ("text_model.", "")
        for width, name in _CLIPS.items()
        for fits in (_CLIP_FAMILIES[width],)
    ),
    *(
        _text(name, Layout.OPEN_CLIP, has("transformer.resblocks.0.attn.in_proj_weight", {1: width}), families=fits)
        for width, name in _CLIPS.items()
        for fits in (_CLIP_FAMILIES[width],)
    ),
    *(  # transformers 5 writes no `text_model.`
        _text("another CLIP", Layout.TRANSFORMERS, has(f"{start}encoder.layers.0.self_attn.q_proj.weight"))
        for start in ("text_model.", "")
    ),
    _text("another CLIP", Layout.OPEN_CLIP, has("transformer.resblocks.0.attn.in_proj_weight")),
    _text(
        "UMT5",
        Layout.TRANSFORMERS,
        has("encoder.block.0.layer.0.SelfAttention.q.weight"),
        has("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight"),
        families=("wan",),
    ),
    _text("T5-XXL", Layout.TRANSFORMERS, has("encoder.block.0.layer.0.SelfAttention.q.weight", {1: 4096})),
    _text("T5", Layout.TRANSFORMERS, has("encoder.block.0.layer.0.SelfAttention.q.weight")),
    _text("T5-XXL", Layout.ORIGINAL, has("enc.blk.0.attn_q.weight", {1: 4096})),
    _text("T5", Layout.ORIGINAL, has("enc.blk.0.attn_q.weight")),
    _text(
        "Qwen2.5-VL",
        Layout.TRANSFORMERS,
        has("model.layers.0.self_attn.q_proj.bias"),
        has("visual.blocks.0.attn.qkv.weight"),
        families=("qwen-image",),
    ),
    _text(
        "Qwen2.5-VL",
        Layout.TRANSFORMERS,
        has("model.language_model.layers.0.self_attn.q_proj.bias"),
        has("model.visual.blocks.0.attn.qkv.weight"),
        families=("qwen-image",),
    ),
    _text("Gemma", Layout.TRANSFORMERS, has("model.layers.0.pre_feedforward_layernorm.weight")),
    _text(
        "Qwen3",
        Layout.TRANSFORMERS,
        has("model.layers.0.self_attn.q_norm.weight"),
        has("model.layers.0.self_attn.q_proj.weight"),
    ),
    _text("Qwen2", Layout.TRANSFORMERS, has("model.layers.0.self_attn.q_proj.bias")),
    _text("ChatGLM", Layout.TRANSFORMERS, has("encoder.layers.0.self_attention.query_key_value.weight")),
    _text("ChatGLM", Layout.TRANSFORMERS, has("transformer.encoder.layers.0.self_attention.query_key_value.weight")),
    _text("a language model (Llama or Mistral)", Layout.TRANSFORMERS, has("model.layers.0.self_attn.q_proj.weight")),
    _text("a language model", Layout.ORIGINAL, has("blk.0.attn_q.weight"), has("token_embd.weight")),
)

IMAGE_ENCODERS = (
    Signature(
        kind=Kind.IMAGE_ENCODER,
        network="SigLIP",
        layout=Layout.TRANSFORMERS,
        marks=(has("vision_model.encoder.layers.0.self_attn.q_proj.weight"), has("vision_model.head.probe")),
    ),
    *(
        Signature(
            kind=Kind.IMAGE_ENCODER,
            network=name,
            layout=Layout.TRANSFORMERS,
            marks=(has("vision_model.encoder.layers.0.self_attn.q_proj.weight", {0: width}),),
        )
        for width, name in {1024: "CLIP ViT-L", 1280: "OpenCLIP ViT-H", 1664: "OpenCLIP ViT-bigG"}.items()
    ),
    Signature(
        kind=Kind.IMAGE_ENCODER,
        network="another CLIP",
        layout=Layout.TRANSFORMERS,
        marks=(has("vision_model.encoder.layers.0.self_attn.q_proj.weight"),),
    ),
)
