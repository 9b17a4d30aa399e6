"""What is at a link: asked for its first byte alone, so that a server that knows no other question answers too."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from gesso.core import addresses
from gesso.core.errors import SourceError
from gesso.models.pulling.names import safe_name
from gesso.models.pulling.origin import Origin
from gesso.models.pulling.patience import Patience
from gesso.models.pulling.plan import PullPlan, RemoteFile
from gesso.models.pulling.remote import Remote
from gesso.models.pulling.sources import Endpoints, LinkSource, reference
from gesso.models.weights import WEIGHT_SUFFIXES

_FILE_NAME = re.compile(r"filename\*=(?:UTF-8'[^']*')?\"?([^\";]+)\"?|filename=\"([^\"]+)\"|filename=([^\";]+)", re.I)
_PAGES = ("text/html", "application/xhtml")


@dataclass(frozen=True, kw_only=True)
class LinkAsking:
    """How the server is asked."""

    source: LinkSource
    endpoints: Endpoints
    remote: Remote
    patience: Patience


def plan_from_link(asking: LinkAsking) -> PullPlan:
    """What would be fetched.

    Raises:
        SourceError: there is nothing, it is not for us, or it is a page and no file of weights.
        NetworkError: the server could not be asked.
    """
    url = asking.source.url
    disposition, kind, size = asking.patience.persist(lambda: _asked(asking))
    if kind.startswith(_PAGES):
        raise SourceError(
            f"`{addresses.told(url)}` is a web page, not a file of weights",
            hint="copy the address of the download itself; behind a login there is none for a program",
        )
    in_path = unquote((addresses.split(url) or addresses.split("https://-/")).path)  # pyright: ignore[reportOptionalMemberAccess]
    name = safe_name(in_path if in_path.lower().endswith(WEIGHT_SUFFIXES) else disposition or in_path)
    return PullPlan(
        name=name,
        folder=False,
        files=(RemoteFile(path=name, url=url, size_bytes=size),),
        origin=Origin(reference=reference(asking.source, asking.endpoints), url=addresses.told(url), title=name),
    )


def _asked(asking: LinkAsking) -> tuple[str | None, str, int | None]:
    """(name that the server gives it, type, bytes)"""
    with asking.remote.get(asking.source.url, {"Range": "bytes=0-0"}) as response:
        headers = response.headers
        match = _FILE_NAME.search(headers.get("content-disposition", ""))
        if response.status_code == 206:
            total = headers.get("content-range", "").rpartition("/")[2]
        else:
            total = headers.get("content-length", "")
    disposition = unquote(next(filter(None, match.groups()), "")) if match else None
    return disposition, headers.get("content-type", "").lower(), int(total) if total.isdecimal() else None
