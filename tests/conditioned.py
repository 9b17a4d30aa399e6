"""Plain texts through the conditionings of families, as arguments of the pipeline."""

from collections.abc import Callable
from typing import Any

from gesso.engine.conditioning.base import Encoded
from gesso.engine.conditioning.texts import Texts


def plainly(
    encode_texts: Callable[..., Encoded],
    model: Any,
    *,
    prompt: str,
    negative_prompt: str,
    guided: bool,
    clip_skip: int,
) -> dict[str, Any]:
    """Arguments of the pipeline for a prompt and, if guided, a negative prompt."""
    texts = Texts.plain(prompt, negative_prompt if guided else None)
    encoded = encode_texts(model, texts, clip_skip=clip_skip)
    given: dict[str, Any] = {**encoded.texts[0], **encoded.others}
    if guided:
        given |= {f"negative_{name}": value for name, value in encoded.texts[1].items()}
    return given
