"""Requests decided for arms that have no studio of their own."""

from functools import cache

from gesso.core.requests import ImageRequest, ResolvedImageRequest
from gesso.core.settings import load_settings
from gesso.engine.studio import Studio
from gesso.models.folder import ModelDescription


@cache
def _studio(device: str) -> Studio:
    """One that decides and never computes, so it has no worker."""
    return Studio(load_settings(device=device))


def description_of(model: str) -> ModelDescription:
    """The model of that name, or the folder of that path."""
    return _studio("cpu").store.find(model)


def resolved_on(request: ImageRequest, device: str) -> ResolvedImageRequest:
    """What Gesso would decide for `request`, so that every arm samples alike."""
    return _studio(device).resolve(request)
