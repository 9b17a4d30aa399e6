"""What a model folder says it was made from. File and folder names are not asked: anybody chooses them as they like."""

from pathlib import Path

from gesso.models.folder import ModelDescription
from gesso.models.pulling.origin import origin_of

_CACHED = "models--"


def claimed_hub_ids(description: ModelDescription) -> tuple[str | None, ...]:
    """Hub ids, the surest first: where it was fetched from, where the hub's cache has it from, what it was saved as."""
    origin = origin_of(description.path)
    saved = description.index.get("_name_or_path")
    return (
        origin.hub_id if origin is not None else None,
        _of_cache(description.path),
        saved if isinstance(saved, str) else None,
    )


def _of_cache(path: Path) -> str | None:
    """`ORG/NAME` of a snapshot in the hub's cache; its own tools name the folders `models--ORG--NAME/snapshots/…`."""
    if path.parent.name != "snapshots" or not path.parent.parent.name.startswith(_CACHED):
        return None
    return "/".join(path.parent.parent.name.removeprefix(_CACHED).split("--", maxsplit=1))
