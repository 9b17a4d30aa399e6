"""The option `--size` as two numbers."""

from gesso.core.errors import UsageError
from gesso.core.units import parse_size


def parsed_size(text: str | None) -> tuple[int | None, int | None]:
    """(width_px, height_px); `None` where nothing was said. Raises `UsageError`."""
    if text is None:
        return None, None
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"`--size`: {error}", hint="`--help` of the command tells how it is used") from error
