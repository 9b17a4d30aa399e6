"""Textual inversions and hypernetworks: small files of AUTOMATIC1111, Stability's trainers and diffusers.

Textual inversion: vectors as wide as the tokens of a text encoder; AUTOMATIC1111 `string_to_param` and `emb_params`,
SDXL `clip_l` and `clip_g`, diffusers the token itself. Hypernetwork (AUTOMATIC1111): for each width of a text or a
picture, two networks, `WIDTH.0.linear.…`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gesso.models.headers.base import TensorShape
from gesso.models.recognition.kinds import Conclusion, Kind, Layout, Recognition
from gesso.models.recognition.marks import Tensors, shown

_ENCODERS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("clip_l", "clip_g", "t5xxl"): ("sd3",),
    ("clip_l", "clip_g"): ("sdxl",),
    ("clip_l", "t5xxl"): ("flux1",),
    ("clip_l",): ("sd1",),
    ("clip_g",): (),
}
"""What files that name text encoders call these → families that have them; the most first."""
_WIDTHS: dict[int, tuple[str, ...]] = {768: ("sd1",), 1024: ("sd2",), 1280: ("sdxl",), 4096: ()}
_HYPERNETWORK = re.compile(r"(\d+)\.[01]\.(?:linear|linear1|linear2)\.")
_MOST = 8
"""A diffusers file holds one tensor for each token: a file with more is something else."""


@dataclass(frozen=True, kw_only=True)
class InversionKeys:
    """Where the vectors of a textual inversion are in its file."""

    layout: Layout
    keys: Mapping[str, str]
    """Text encoder, "" where the file is for one → key."""
    others: tuple[str, ...]
    """Keys of further tensors."""
    token: str | None = None
    guess: bool = False


def inversion_keys(tensors: Tensors) -> InversionKeys | None:
    """Find vectors that stand for tokens; `None` if this is something else."""
    for encoders in _ENCODERS:
        if tensors.keys() >= set(encoders) and (len(encoders) > 1 or len(tensors) == 1):
            return _found(tensors, Layout.ORIGINAL, {encoder: encoder for encoder in encoders})
    for start in ("string_to_param.", "emb_params"):
        key = next((key for key in tensors if key.startswith(start)), None)
        if key is not None:
            return _found(tensors, Layout.A1111, {"": key})
    first = next(iter(tensors), "")
    named = first.startswith("<") and first.endswith(">")
    if 0 < len(tensors) <= _MOST and all(
        _is_vector(tensor, any_width=named) and "." not in key for key, tensor in tensors.items()
    ):
        return _found(tensors, Layout.DIFFUSERS, {"": first}, token=first.strip() or None, guess=not named)
    return None


def textual_inversion(tensors: Tensors) -> Recognition | None:
    """Recognise vectors that stand for tokens."""
    found = inversion_keys(tensors)
    if found is None or any(len(tensors[key].shape) not in (1, 2) for key in found.keys.values()):
        return None
    widths = {encoder: tensors[key].shape[-1] for encoder, key in found.keys.items()}
    key = list(found.keys.values())[-1]
    tensor = tensors[key]
    fits = _WIDTHS.get(tensor.shape[-1], ()) if "" in found.keys else _ENCODERS[tuple(found.keys)]
    evidence = shown(key, tensor)
    return Recognition(
        kind=Conclusion(value=Kind.TEXTUAL_INVERSION, evidence=evidence, guess=found.guess),
        family=Conclusion(value=" or ".join(fits), evidence=evidence) if fits else None,
        families=fits,
        layout=Conclusion(value=found.layout, evidence=shown(key)),
        vectors=tensor.shape[0] if len(tensor.shape) == 2 else 1 + len(found.others),
        widths=widths,
        token=found.token,
    )


def _found(
    tensors: Tensors, layout: Layout, keys: Mapping[str, str], *, token: str | None = None, guess: bool = False
) -> InversionKeys:
    others = tuple(key for key in tensors if key not in keys.values())
    return InversionKeys(layout=layout, keys=keys, others=others, token=token, guess=guess)


def _is_vector(tensor: TensorShape, *, any_width: bool) -> bool:
    return 1 <= len(tensor.shape) <= 2 and (any_width or tensor.shape[-1] in _WIDTHS)


def hypernetwork(tensors: Tensors) -> Recognition | None:
    """Recognise networks that change keys and values of attention."""
    widths = {int(found[1][:9]): key for key in tensors if (found := _HYPERNETWORK.match(key)) is not None}
    if not widths:
        return None
    key = next(iter(widths.values()))
    family = next((name for width, name in {768: "sd1", 1024: "sd2", 2048: "sdxl"}.items() if width in widths), None)
    return Recognition(
        kind=Conclusion(value=Kind.HYPERNETWORK, evidence=shown(key)),
        family=None if family is None else Conclusion(value=family, evidence=f"its widths: {sorted(widths)}"[:200]),
        families=(family,) if family else (),
        layout=Conclusion(value=Layout.A1111, evidence=shown(key)),
    )
