"""What the picture of `--from` has and the next one shall not."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gesso.core.errors import UsageError

_OPTIONS: Mapping[str, str] = MappingProxyType({"styles": "--no-style", "inpaint": "--no-mask"})
"""Those whose name differs from the field of the request."""


def left_out(picture: Path | None, asked: Mapping[str, Any], **fields: bool) -> dict[str, Any]:
    """Fields of the request that take those of the picture away.

    Args:
        picture: of `--from`.
        asked: the other fields as they were typed.
        fields: whether each is left out.

    Raises:
        UsageError: there is no such picture, or a field is asked for too.
    """
    chosen = [field for field, is_left_out in fields.items() if is_left_out]
    for field in chosen:
        option = _OPTIONS.get(field, f"--no-{field}")
        if picture is None:
            raise UsageError(f"`{option}` is about the picture of `--from`, and there is none", hint="leave it out")
        if field in asked:
            raise UsageError(
                f"`{option}` leaves out what other options ask for",
                hint=f"without `{option}` they are put in place of what `{picture}` says",
            )
    return {field: () if field == "styles" else None for field in chosen}
