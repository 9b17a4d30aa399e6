"""`gesso models bases`: the bases that are known by name, whether they are here or not."""

from typing import TYPE_CHECKING

from gesso.cli.output import AsJson, print_columns, print_json

if TYPE_CHECKING:
    from gesso.models.bases.base import Base


def bases(as_json: AsJson = False) -> None:
    """List the bases that `gesso models pull` knows by name: sizes, usual steps and guidance, licence."""
    from gesso.models.bases.registry import BASES, as_data

    if as_json:
        print_json([as_data(base) for base in BASES])
        return
    print_columns(
        ("name", "family", "task", "size", "predicts", "steps", "guidance", "licence", "hub id"),
        [
            (
                base.name,
                base.family,
                base.task.split()[0],
                f"{base.native_px} px",
                base.prediction or "-",
                f"{base.defaults.steps}" if base.defaults else "-",
                f"{base.defaults.guidance:g}" if base.defaults else "-",
                _licence(base),
                base.hub_id,
            )
            for base in BASES
        ],
    )


def _licence(base: "Base") -> str:
    return f"{base.licence or 'see its page'}{' (gated)' if base.gated else ''}"
