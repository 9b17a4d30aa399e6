"""What a person names when they ask for a model, and where that is."""

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from gesso.core import addresses
from gesso.core.errors import UnknownNameError, UsageError
from gesso.core.settings import Settings
from gesso.models.bases.registry import base_named, known_names
from gesso.models.weights import WEIGHT_SUFFIXES

HUB = "https://huggingface.co"
_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:/(?P<file>[^\\]+))?")
_CIVITAI = re.compile(r"(?:civitai:|urn:air:[\w.-]+:[\w.-]+:civitai:)?(?P<model>\d{1,12})(?:@(?P<version>\d{1,12}))?")
_CIVITAI_PATHS = (
    re.compile(r"/models/(?P<model>\d{1,12})(?:/.*)?"),
    re.compile(r"/(?:api/download/models|api/v1/model-versions|model-versions)/(?P<version>\d{1,12})/?"),
)
_SECRETS = frozenset({"token", "access_token", "api_key", "apikey", "key", "auth", "password", "secret"})
_HUB_PATH = re.compile(
    r"/(?P<repo>[^/]+/[^/]+)(?:/(?P<kind>tree|blob|resolve)/(?P<revision>[^/]+)(?:/(?P<file>.+))?)?/?"
)


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Whom to ask, without a slash at the end."""

    hub: str
    civitai: str


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A repository on the hub, or one file of it."""

    repo: str
    revision: str | None = None
    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class CivitaiSource:
    """A model on CivitAI; the newest version if none is said. At least one of the two is there."""

    model: int | None = None
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class LinkSource:
    """A file at an address."""

    url: str


Source = HubSource | CivitaiSource | LinkSource


def endpoints_of(settings: Settings) -> Endpoints:
    """Raises `UsageError` if `HF_ENDPOINT` is not an address that tokens may be sent to."""
    hub = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    if not addresses.is_secure(hub):
        raise UsageError(f"`HF_ENDPOINT` is `{addresses.told(hub)}`", hint="it must begin with https://")
    return Endpoints(hub=hub, civitai=settings.civitai_endpoint)


def source_of(what: str, endpoints: Endpoints) -> Source:
    """Where `what` is: a known name, a hub id, a link, or an id of CivitAI.

    Raises:
        UnknownNameError: it is none of them; the nearest known names are in the hint.
        UsageError: it is a link that nobody should follow.
    """
    found = could_be(what, endpoints)
    if found is not None:
        return found
    nearest = UnknownNameError("base", what, known_names()).nearest
    hint = f"nearest: {', '.join(nearest)}; " if nearest else ""
    raise UnknownNameError(
        "model to fetch",
        what,
        known_names(),
        hint=f"{hint}give a name that `gesso models bases` lists, a hub id, an https link, or `civitai:ID`",
    )


def could_be(what: str, endpoints: Endpoints) -> Source | None:
    """The same; `None` for what is no source. Raises `UsageError` for a link that nobody should follow."""
    if "://" in what:
        return _of_link(what, endpoints)
    if (base := base_named(what)) is not None:
        return HubSource(repo=what if "/" in what else base.hub_id)
    if (match := _CIVITAI.fullmatch(what)) is not None:
        return _civitai(match["model"], match["version"])
    match = _HUB_ID.fullmatch(what)
    if match is not None and (match["file"] is None or match["file"].endswith(WEIGHT_SUFFIXES)):
        return HubSource(repo=match["repo"], file=match["file"])
    return None


def reference(source: Source, endpoints: Endpoints) -> str:
    """One text for each source, in which no secret is."""
    match source:
        case HubSource():
            revision = f"@{source.revision}" if source.revision else ""
            return f"{source.repo}{revision}{f'/{source.file}' if source.file else ''}"
        case CivitaiSource():
            return f"civitai:{source.model or ''}{f'@{source.version}' if source.version else ''}"
        case LinkSource():
            return addresses.told(source.url)


def _of_link(link: str, endpoints: Endpoints) -> Source:
    parts = addresses.split(link)
    if parts is None or not addresses.is_secure(link):
        raise UsageError(
            f"`{addresses.told(link)}` is not fetched: only https is, so that nobody on the way can change it",
            hint="give an address that begins with https://",
        )
    if parts.username or parts.password or _SECRETS & {name.lower() for name in parse_qs(parts.query)}:
        raise UsageError(
            f"The link to `{parts.hostname}` holds a token or password, which recipes and logs would keep",
            hint="leave it out; tokens are read from `HF_TOKEN` and `CIVITAI_TOKEN`",
        )
    at = addresses.origin(link)
    if at in {addresses.origin(endpoints.civitai), addresses.origin("https://civitai.com")}:
        version = parse_qs(parts.query).get("modelVersionId", [None])[0]
        for pattern in _CIVITAI_PATHS:
            if (match := pattern.fullmatch(parts.path)) is not None:
                found = match.groupdict()
                return _civitai(found.get("model"), found.get("version") or version)
    if at in {addresses.origin(endpoints.hub), addresses.origin(HUB)}:
        match = _HUB_PATH.fullmatch(unquote(parts.path))
        if match is not None and (match["kind"] != "tree" or not match["file"]):
            return HubSource(repo=match["repo"], revision=match["revision"], file=match["file"])
    return LinkSource(url=link)


def _civitai(model: str | None, version: str | None) -> CivitaiSource:
    return CivitaiSource(
        model=int(model) if model else None, version=int(version) if version and version.isdecimal() else None
    )
