"""What merges, as data of the component's class. A class that is not here runs alone: fail closed.

The condition for an entry is that rows do not influence each other. Paths name arguments, such as
`added_cond_kwargs.text_embeds`; a star stands for one level (`down_block_additional_residuals.*`). A tensor at a path
that is not named makes its call run alone; values that are no tensors must be equal for calls to agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class CallLayout:
    """How the arguments of one method split into rows.

    Attributes:
        rows: tensors whose first dimension is rows; the first path is always there and says how many.
        timesteps: times that pipelines pass as a number, a 0-d tensor or one row; made one float row for each row.
        unbatched: tensors that all rows share; equal bytes agree.
        ignored: arguments that the method takes and does not use.
        cast: rows that are cast to the component's precision if they come in another.
    """

    rows: tuple[str, ...]
    timesteps: tuple[str, ...] = ()
    unbatched: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    cast: tuple[str, ...] = ()

    def is_rows(self, path: str) -> bool:
        return _among(path, self.rows)

    def is_timestep(self, path: str) -> bool:
        return path in self.timesteps

    def is_unbatched(self, path: str) -> bool:
        return _among(path, self.unbatched)

    def is_cast(self, path: str) -> bool:
        return _among(path, self.cast)


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
_TOKENS = CallLayout(rows=("input_ids", "attention_mask", "position_ids"))

ENCODE, DECODE, FORWARD = "encode", "decode", "forward"

LAYOUTS: Mapping[str, Mapping[str, CallLayout]] = MappingProxyType(
    {
        "UNet2DConditionModel": {FORWARD: _UNET},
        "SD3Transformer2DModel": {FORWARD: _SD3},
        "FluxTransformer2DModel": {FORWARD: _FLUX},
        "CLIPTextModel": {FORWARD: _TOKENS},
        "CLIPTextModelWithProjection": {FORWARD: _TOKENS},
        "T5EncoderModel": {FORWARD: _TOKENS},
        "LayerNorm": {FORWARD: CallLayout(rows=("input",))},
        "AutoencoderKL": {
            ENCODE: CallLayout(rows=("x",), cast=("x",)),
            # The method has the argument only so that all autoencoders look alike.
            DECODE: CallLayout(rows=("z",), ignored=("generator",), cast=("z",)),
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
