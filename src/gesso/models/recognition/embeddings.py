"""Textual inversions and hypernetworks: small files of AUTOMATIC1111, Stability's trainers and diffusers.

Textual inversion: vectors as wide as the tokens of a text encoder; AUTOMATIC1111 `string_to_param` and `emb_params`,
SDXL `clip_l` and `clip_g`, diffusers the token itself. Hypernetwork (AUTOMATIC1111): for each width of a text or a
picture, two networks, `WIDTH.0.linear.…`.
"""

import re

from gesso.models.headers.base import TensorShape
from gesso.models.recognition.kinds import Conclusion, Kind, Layout, Recognition
from gesso.models.recognition.marks import Tensors, shown

_WIDTHS: dict[int, tuple[str, ...]] = {768: ("sd1",), 1024: ("sd2",), 1280: ("sdxl",), 4096: ()}
_HYPERNETWORK = re.compile(r"(\d+)\.[01]\.(?:linear|linear1|linear2)\.")
_MOST = 8
"""A diffusers file holds one tensor for each token: a file with more is something else."""


def textual_inversion(tensors: Tensors) -> Recognition | None:
    """Recognise vectors that stand for tokens."""
    if "clip_g" in tensors and "clip_l" in tensors:
        three = "t5xxl" in tensors
        return _inversion(tensors, "clip_g", Layout.ORIGINAL, ("sd3",) if three else ("sdxl",))
    for start, layout in (("string_to_param.", Layout.A1111), ("emb_params", Layout.A1111)):
        found = next((key for key in tensors if key.startswith(start)), None)
        if found is not None:
            return _inversion(tensors, found, layout)
    if 0 < len(tensors) <= _MOST and all(_is_vector(tensor) and "." not in key for key, tensor in tensors.items()):
        first = next(iter(tensors))
        named = first.startswith("<") and first.endswith(">")
        return _inversion(tensors, first, Layout.DIFFUSERS, guess=not named)
    return None


def _is_vector(tensor: TensorShape) -> bool:
    return 1 <= len(tensor.shape) <= 2 and tensor.shape[-1] in _WIDTHS


def _inversion(
    tensors: Tensors, key: str, layout: Layout, families: tuple[str, ...] | None = None, *, guess: bool = False
) -> Recognition | None:
    tensor = tensors[key]
    if len(tensor.shape) not in (1, 2):
        return None
    fits = _WIDTHS.get(tensor.shape[-1], ()) if families is None else families
    evidence = shown(key, tensor)
    return Recognition(
        kind=Conclusion(value=Kind.TEXTUAL_INVERSION, evidence=evidence, guess=guess),
        family=Conclusion(value=" or ".join(fits), evidence=evidence) if fits else None,
        families=fits,
        layout=Conclusion(value=layout, evidence=shown(key)),
        vectors=tensor.shape[0] if len(tensor.shape) == 2 else len(tensors),
    )


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
