"""What merges, as data of the component's class. A class that is not here runs alone: fail closed.

The condition for an entry is that rows do not influence each other. Paths name arguments, such as
`added_cond_kwargs.text_embeds`; a star stands for one level (`down_block_additional_residuals.*`). A tensor at a path
that is not named makes its call run alone; values that are no tensors must be equal for calls to agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class CallLayout:
    """How the arguments of one method split into rows.

    Attributes:
        rows: tensors whose first dimension is rows; the first path is always there and says how many.
        timesteps: times that pipelines pass as a number, a 0-d tensor or one row; made one float row for each row.
        unbatched: tensors that all rows share; equal bytes agree.
        ignored: arguments that the method takes and does not use.
        cast: rows that are cast to the component's precision if they come in another.
        listed: arguments that are lists with one item for each row, of shapes that may differ; the number is the
            multiple to which the network itself pads the first dimension of each (1: to none). Rows whose padded shapes
            are the same run together; a call of rows of several shapes runs only beside calls of the same shapes in the
            same order, because the longest row decides how the others are masked.
        listed_outputs: the same in what comes out.
        masks: rows of ones and zeros that the network leaves out of its sums when they are all ones. With or without
            them are two different sums, so calls agree that both hide something, or both nothing.
        alike: rows that decide shapes inside the network, such as masks whose longest it cuts all rows to. Calls agree
            where these hold the same values.
        alone: arguments that make their call run alone, such as pictures beside words, of whose parts each becomes a
            place of a row.
        output: dotted name of what comes out unless the caller says `return_dict=False`, whose one field is the first
            of the tuple that comes out else. Some pipelines say it and others of the same network do not.
    """

    rows: tuple[str, ...]
    timesteps: tuple[str, ...] = ()
    unbatched: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    listed: Mapping[str, int] = field(default_factory=dict[str, int])
    listed_outputs: tuple[str, ...] = ()
    output: str | None = None
    _places: dict[str, "Place"] = field(default_factory=dict[str, "Place"], init=False, repr=False, compare=False)

    def at(self, path: str) -> "Place":
        """What the value at `path` is. Remembered, because every call asks for the same few paths."""
        place = self._places.get(path)
        if place is None:
            place = self._places[path] = Place(
                rows=_among(path, self.rows),
                timestep=path in self.timesteps,
                unbatched=_among(path, self.unbatched),
                cast=_among(path, self.cast),
                mask=path in self.masks,
                alike=path in self.alike,
            )
        return place

    def has_rows(self, path: str, value: Any) -> bool:
        """Whether a canonical `value` at `path` has an item for each row: a tensor, or a list that is `listed`."""
        if path in self.listed:
            return True
        # By its `ndim`, because `isinstance` would make everybody import torch who asks which classes merge.
        return hasattr(value, "ndim") and ((place := self.at(path)).rows or place.timestep)

    def has_each_row(self, path: str, value: Any, count: int) -> bool:
        """Whether `value`, as a pipeline gives it, has an item for each of the `count` rows of its call."""
        return self.has_rows(path, value) and getattr(value, "ndim", 1) > 0 and len(value) == count


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What the value at one path of a call's arguments is; see `CallLayout`."""

    rows: bool
    timestep: bool
    unbatched: bool
    cast: bool
    mask: bool
    alike: bool


def _among(path: str, patterns: tuple[str, ...]) -> bool:
    return any(path == pattern or ("*" in pattern and fnmatchcase(path, pattern)) for pattern in patterns)


_UNET_ROWS = (
    "sample",
    "encoder_hidden_states",
    "class_labels",
    "timestep_cond",
    "attention_mask",
    "encoder_attention_mask",
    "added_cond_kwargs.text_embeds",
    "added_cond_kwargs.time_ids",
    "added_cond_kwargs.image_embeds",
    "down_block_additional_residuals.*",
    "mid_block_additional_residual",
    "down_intrablock_additional_residuals.*",
)
_UNET = CallLayout(
    rows=_UNET_ROWS,
    timesteps=("timestep",),
    cast=tuple(path for path in _UNET_ROWS if path not in {"class_labels", "attention_mask", "encoder_attention_mask"}),
)
_SD3 = CallLayout(
    rows=("hidden_states", "encoder_hidden_states", "pooled_projections", "block_controlnet_hidden_states.*"),
    timesteps=("timestep",),
    cast=("hidden_states", "encoder_hidden_states", "pooled_projections", "block_controlnet_hidden_states.*"),
)
_FLUX = CallLayout(
    rows=(
        "hidden_states",
        "encoder_hidden_states",
        "pooled_projections",
        "guidance",
        "controlnet_block_samples.*",
        "controlnet_single_block_samples.*",
    ),
    timesteps=("timestep",),
    unbatched=("img_ids", "txt_ids"),
    cast=("hidden_states", "encoder_hidden_states", "pooled_projections"),
)
_CHROMA = CallLayout(
    rows=(
        "hidden_states",
        "encoder_hidden_states",
        "attention_mask",
        "controlnet_block_samples.*",
        "controlnet_single_block_samples.*",
    ),
    timesteps=("timestep",),
    unbatched=("img_ids", "txt_ids"),
    cast=("hidden_states", "encoder_hidden_states", "attention_mask"),
)
_OVIS = CallLayout(
    rows=("hidden_states", "encoder_hidden_states"),
    timesteps=("timestep",),
    unbatched=("img_ids", "txt_ids"),
    cast=("hidden_states", "encoder_hidden_states"),
)
_PIXART = CallLayout(
    rows=(
        "hidden_states",
        "encoder_hidden_states",
        "attention_mask",
        "encoder_attention_mask",
        "added_cond_kwargs.resolution",
        "added_cond_kwargs.aspect_ratio",
    ),
    timesteps=("timestep",),
    cast=("hidden_states", "encoder_hidden_states"),
)
_SANA = CallLayout(
    rows=(
        "hidden_states",
        "encoder_hidden_states",
        "guidance",
        "attention_mask",
        "encoder_attention_mask",
        "controlnet_block_samples.*",
    ),
    timesteps=("timestep",),
    cast=("hidden_states", "encoder_hidden_states", "controlnet_block_samples.*"),
)
_LUMINA2 = CallLayout(
    rows=("hidden_states", "encoder_hidden_states", "encoder_attention_mask"),
    timesteps=("timestep",),
    cast=("hidden_states", "encoder_hidden_states"),
    alike=("encoder_attention_mask",),  # text and picture are joined end to end, and padded to the longest of the batch
)
_AURA_FLOW = CallLayout(
    rows=("hidden_states", "encoder_hidden_states"),
    timesteps=("timestep",),
    cast=("hidden_states", "encoder_hidden_states"),
)
_HUNYUAN_DIT = CallLayout(
    rows=(
        "hidden_states",
        "encoder_hidden_states",
        "text_embedding_mask",
        "encoder_hidden_states_t5",
        "text_embedding_mask_t5",
        "image_meta_size",
        "style",
    ),
    timesteps=("timestep",),
    unbatched=("image_rotary_emb.*",),
    cast=("hidden_states", "encoder_hidden_states", "encoder_hidden_states_t5"),
)
_COGVIEW = CallLayout(
    rows=("hidden_states", "encoder_hidden_states", "original_size", "target_size", "crop_coords"),
    timesteps=("timestep",),
    unbatched=("image_rotary_emb.*",),
    cast=("hidden_states", "encoder_hidden_states"),
)
_KANDINSKY3 = CallLayout(
    rows=("sample", "encoder_hidden_states", "encoder_attention_mask"),
    timesteps=("timestep",),
    cast=("sample", "encoder_hidden_states"),
)
_FLUX2 = CallLayout(
    rows=("hidden_states", "encoder_hidden_states", "guidance"),
    timesteps=("timestep",),
    # They have a first dimension, of which the network reads the first place only, for all rows.
    unbatched=("img_ids", "txt_ids"),
    cast=("hidden_states", "encoder_hidden_states"),
)
_Z_IMAGE = CallLayout(
    rows=("x", "cap_feats"),
    timesteps=("t",),
    cast=("x", "cap_feats"),
    listed={"x": 1, "cap_feats": 32},  # `SEQ_MULTI_OF` of diffusers' transformer_z_image
    listed_outputs=("0",),
    output="diffusers.models.modeling_outputs:Transformer2DModelOutput",
)
_QWEN_IMAGE = CallLayout(
    rows=("hidden_states", "encoder_hidden_states", "encoder_hidden_states_mask", "guidance"),
    timesteps=("timestep",),
    cast=("hidden_states", "encoder_hidden_states"),
    listed={"img_shapes": 1},
)
_TOKENS = CallLayout(
    rows=("input_ids", "attention_mask", "position_ids", "token_type_ids"),
    masks=("attention_mask",),
)
_TOKENS_AND_PICTURES = replace(_TOKENS, alone=("pixel_values",))

ENCODE, DECODE, FORWARD = "encode", "decode", "forward"

LAYOUTS: Mapping[str, Mapping[str, CallLayout]] = MappingProxyType(
    {
        "UNet2DConditionModel": {FORWARD: _UNET},
        "SD3Transformer2DModel": {FORWARD: _SD3},
        "FluxTransformer2DModel": {FORWARD: _FLUX},
        "ChromaTransformer2DModel": {FORWARD: _CHROMA},
        "OvisImageTransformer2DModel": {FORWARD: _OVIS},
        "PixArtTransformer2DModel": {FORWARD: _PIXART},
        "SanaTransformer2DModel": {FORWARD: _SANA},
        "Lumina2Transformer2DModel": {FORWARD: _LUMINA2},
        "AuraFlowTransformer2DModel": {FORWARD: _AURA_FLOW},
        "HunyuanDiT2DModel": {FORWARD: _HUNYUAN_DIT},
        "CogView3PlusTransformer2DModel": {FORWARD: _COGVIEW},
        "CogView4Transformer2DModel": {FORWARD: _COGVIEW},
        "Kandinsky3UNet": {FORWARD: _KANDINSKY3},
        "Flux2Transformer2DModel": {FORWARD: _FLUX2},
        "ZImageTransformer2DModel": {FORWARD: _Z_IMAGE},
        "QwenImageTransformer2DModel": {FORWARD: _QWEN_IMAGE},
        "CLIPTextModel": {FORWARD: _TOKENS},
        "CLIPTextModelWithProjection": {FORWARD: _TOKENS},
        "T5EncoderModel": {FORWARD: _TOKENS},
        # Language models as encoders: without `use_cache=False` they give a cache of keys and run alone.
        "Qwen3Model": {FORWARD: _TOKENS},
        "Qwen3ForCausalLM": {FORWARD: _TOKENS},
        "Mistral3ForConditionalGeneration": {FORWARD: _TOKENS},
        "Qwen2_5_VLForConditionalGeneration": {FORWARD: _TOKENS_AND_PICTURES},
        "UMT5EncoderModel": {FORWARD: _TOKENS},
        "BertModel": {FORWARD: _TOKENS},
        "LayerNorm": {FORWARD: CallLayout(rows=("input",))},
        "AutoencoderKL": {
            ENCODE: CallLayout(rows=("x",), cast=("x",)),
            # The method has the argument only so that all autoencoders look alike.
            DECODE: CallLayout(rows=("z",), ignored=("generator",), cast=("z",)),
        },
        "AutoencoderTiny": {
            ENCODE: CallLayout(rows=("x",), cast=("x",)),
            DECODE: CallLayout(rows=("x",), ignored=("generator",), cast=("x",)),
        },
        "AutoencoderKLFlux2": {
            ENCODE: CallLayout(rows=("x",), cast=("x",)),
            DECODE: CallLayout(rows=("z",), ignored=("generator",), cast=("z",)),
        },
        # It keeps features of earlier frames on itself, forgotten at the end of a call; a network runs one at a time.
        "AutoencoderKLQwenImage": {
            ENCODE: CallLayout(rows=("x",), cast=("x",)),
            DECODE: CallLayout(rows=("z",), cast=("z",)),
        },
        "AutoencoderDC": {
            ENCODE: CallLayout(rows=("x",), cast=("x",)),
            DECODE: CallLayout(rows=("z",), cast=("z",)),
        },
        "VQModel": {
            ENCODE: CallLayout(rows=("x",), cast=("x",)),
            DECODE: CallLayout(rows=("h",), cast=("h",)),
        },
    }
)
"""Class name to method to layout. Names, so that this module imports none of the classes."""


def layouts_of(module_class: type) -> Mapping[str, CallLayout]:
    """The layouts of a class by its own name; subclasses may behave differently and get none."""
    return LAYOUTS.get(module_class.__name__, {})


def hosted_methods(module_class: type) -> tuple[str, ...]:
    """The methods of a network that are calls to its host. Autoencoders are never called whole by pipelines."""
    if callable(getattr(module_class, ENCODE, None)) and callable(getattr(module_class, DECODE, None)):
        return (ENCODE, DECODE)
    return (FORWARD,)
