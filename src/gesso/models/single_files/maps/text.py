"""Text encoders: CLIP as OpenAI's checkpoints of Stable Diffusion and as OpenCLIP name it, and T5.

In diffusers folders all of them have the names of transformers. Those are the published ones here; transformers 5
leaves the `text_model.` of `CLIPTextModel` out, which `published` puts back.
"""

from collections.abc import Iterator

from gesso.models.single_files.maps.base import WEIGHT, Config, KeyMap, Layer, below, layer
from gesso.models.views import Form

_FLAT = ("embeddings.", "encoder.layers.", "final_layer_norm.")


def published(name: str) -> str:
    """The name that a tensor of a CLIP text encoder has in published folders."""
    return f"text_model.{name}" if name.startswith(_FLAT) else name


def clip_map(config: Config, *, projected: bool) -> KeyMap:
    """Of a CLIP that is stored with the names of transformers.

    Args:
        projected: it is a `CLIPTextModelWithProjection`.
    """
    return KeyMap(tuple(_same(each) for each in _clip(config, projected=projected)))


def open_clip_map(config: Config, *, projected: bool) -> KeyMap:
    """Of a CLIP with the names of mlfoundations/open_clip (`src/open_clip/transformer.py`)."""
    width = config["hidden_size"]
    blocks = (
        each
        for index in range(config["num_hidden_layers"])
        for each in below(
            f"transformer.resblocks.{index}", f"text_model.encoder.layers.{index}", _open_clip_block(width)
        )
    )
    return KeyMap(
        (
            layer("token_embedding", "text_model.embeddings.token_embedding", suffixes=WEIGHT),
            layer("positional_embedding", "text_model.embeddings.position_embedding", suffixes=(("", ".weight"),)),
            *blocks,
            layer("ln_final", "text_model.final_layer_norm"),
            *(
                [layer("text_projection", "text_projection", suffixes=(("", ".weight"),), form=Form.TRANSPOSED)]
                if projected
                else []
            ),
        )
    )


def t5_map(config: Config) -> KeyMap:
    """Of the encoder of T5 1.1, which nobody renames: its feed-forward is gated, its first block knows distances."""
    return KeyMap(tuple(_same(each) for each in _t5(config["num_layers"])))


def _same(names: tuple[str, bool]) -> Layer:
    name, biased = names
    return layer(name, name) if biased else layer(name, name, suffixes=WEIGHT)


def _clip(config: Config, *, projected: bool) -> Iterator[tuple[str, bool]]:
    """(module, whether it has a bias)"""
    yield "text_model.embeddings.token_embedding", False
    yield "text_model.embeddings.position_embedding", False
    for index in range(config["num_hidden_layers"]):
        block = f"text_model.encoder.layers.{index}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield f"{block}.self_attn.{name}", True
        for name in ("layer_norm1", "mlp.fc1", "mlp.fc2", "layer_norm2"):
            yield f"{block}.{name}", True
    yield "text_model.final_layer_norm", True
    if projected:
        yield "text_projection", False


def _open_clip_block(width: int) -> Iterator[Layer]:
    yield layer("ln_1", "layer_norm1")
    yield layer(
        "attn.in_proj",
        *(f"self_attn.{name}_proj" for name in "qkv"),
        suffixes=(("_weight", ".weight"), ("_bias", ".bias")),
        rows=(width, width, width),
    )
    yield layer("attn.out_proj", "self_attn.out_proj")
    yield layer("ln_2", "layer_norm2")
    yield layer("mlp.c_fc", "mlp.fc1")
    yield layer("mlp.c_proj", "mlp.fc2")


def _t5(blocks: int) -> Iterator[tuple[str, bool]]:
    yield "shared", False
    for index in range(blocks):
        attention, feed_forward = (f"encoder.block.{index}.layer.{half}" for half in (0, 1))
        for name in "qkvo":
            yield f"{attention}.SelfAttention.{name}", False
        if index == 0:
            yield f"{attention}.SelfAttention.relative_attention_bias", False
        yield f"{attention}.layer_norm", False
        for name in ("wi_0", "wi_1", "wo"):
            yield f"{feed_forward}.DenseReluDense.{name}", False
        yield f"{feed_forward}.layer_norm", False
    yield "encoder.final_layer_norm", False
