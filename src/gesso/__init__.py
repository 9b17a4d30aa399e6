"""Gesso, a local studio for generated pictures.

    from gesso import ImageRequest, Studio

    with Studio() as studio:
        studio.generate("a red circle", seed=1).save("circle.png")

The names below are the public Python API. Each is imported from its home on first use, so that `import gesso` costs
nothing: torch, diffusers and transformers are loaded when a studio is built.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gesso.core.errors import GessoError
    from gesso.core.events import Event
    from gesso.core.recipe import Recipe
    from gesso.core.requests import ImageRequest, ResolvedImageRequest
    from gesso.core.settings import Settings
    from gesso.engine.foreign.values import ForeignRecipe
    from gesso.engine.handle import Handle, Result
    from gesso.engine.studio import Studio

__version__ = "0.1.0"

__all__ = [
    "Event",
    "ForeignRecipe",
    "GessoError",
    "Handle",
    "ImageRequest",
    "Recipe",
    "ResolvedImageRequest",
    "Result",
    "Settings",
    "Studio",
    "__version__",
]

_HOMES = {
    "Event": "gesso.core.events",
    "ForeignRecipe": "gesso.engine.foreign.values",
    "GessoError": "gesso.core.errors",
    "Handle": "gesso.engine.handle",
    "ImageRequest": "gesso.core.requests",
    "Recipe": "gesso.core.recipe",
    "ResolvedImageRequest": "gesso.core.requests",
    "Result": "gesso.engine.handle",
    "Settings": "gesso.core.settings",
    "Studio": "gesso.engine.studio",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home the first time it is asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
