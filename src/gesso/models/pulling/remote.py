"""Asking servers: https alone, tokens to their own origin alone, redirects followed by hand, answers in clear words."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from gesso import __version__
from gesso.core import addresses
from gesso.core.errors import NetworkError, SourceError
from gesso.models.pulling.patience import TransientError

if TYPE_CHECKING:
    import httpx2

MAX_REDIRECTS = 8
MAX_DOCUMENT_BYTES = 16 * 2**20
"""Of JSON that a server sends."""
TIMEOUT_SECONDS = 30.0
"""Without a byte."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOGIN = "/login"
"""Where CivitAI sends those who must have an account."""


class Remote:
    """Answers of servers. Not to be shared between threads.

    Args:
        tokens: by the origin that may see them.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        import httpx2

        self._tokens = dict(tokens)
        self._client = httpx2.Client(
            follow_redirects=False,
            timeout=TIMEOUT_SECONDS,
            headers={"User-Agent": f"gesso/{__version__}", "Accept-Encoding": "identity"},
        )

    def token(self, url: str) -> str | None:
        """The token for whoever answers `url`."""
        return self._tokens.get(addresses.origin(url))

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator["httpx2.Response"]:
        """The answer to `url`, its body not yet read.

        Raises:
            TransientError: it may work in a moment.
            SourceError: it is not there, not for us, or leads where nobody should follow.
            NetworkError: there is no such server.
        """
        import httpx2

        with transient(url):
            for _ in range(MAX_REDIRECTS):
                token = self.token(url)
                secret = {"Authorization": f"Bearer {token}"} if token else {}
                self._client.cookies.clear()
                try:
                    request = self._client.build_request("GET", url, headers={**(headers or {}), **secret})
                except httpx2.InvalidURL as error:
                    raise SourceError(f"`{addresses.told(url)}` is no address") from error
                response = self._client.send(request, stream=True)
                try:
                    if response.status_code not in _REDIRECTS:
                        self._refuse(url, response)
                        yield response
                        return
                    url = self._next(url, response)
                finally:
                    response.close()
        raise SourceError(f"`{addresses.told(url)}` leads from one address to the next and to no file")

    def document(self, url: str) -> Mapping[str, Any]:
        """A JSON object. Raises like `get`; `SourceError` for anything else."""
        with self.get(url) as response, transient(url):
            body = b""
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    break
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise SourceError(f"`{addresses.told(url)}` answers with something that is no JSON object")
        return content

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> "Remote":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self, url: str, response: "httpx2.Response") -> str:
        target = urljoin(url, response.headers.get("location", ""))
        parts = addresses.split(target)
        if parts is None or not addresses.is_secure(target) or _less_secure(url, target):
            raise SourceError(
                f"`{addresses.told(url)}` redirects to `{addresses.told(target)}`, which is not https",
                hint="nothing was fetched from there",
            )
        if parts.path == _LOGIN and addresses.origin(url) == addresses.origin(target):
            raise self._not_for_us(url, 401)
        return target

    def _refuse(self, url: str, response: "httpx2.Response") -> None:
        status, told = response.status_code, addresses.told(url)
        if status in {200, 206, 416}:  # 416: what was asked for of a file lies beyond its end
            return
        if status in _BUSY:
            seconds = wait_asked(response.headers.get("retry-after"))
            why = "asks for fewer requests" if status == 429 else "cannot answer now"
            raise TransientError(f"`{told}` {why} (HTTP {status})", wait_seconds=seconds)
        if status in {401, 403}:
            raise self._not_for_us(url, status)
        if status in {404, 410}:
            raise SourceError(f"There is nothing at `{told}` (HTTP {status})", hint="check the name, id or link")
        raise SourceError(f"`{told}` refuses (HTTP {status})")

    def _not_for_us(self, url: str, status: int) -> SourceError:
        had = "the token that it was given does not open it" if self.token(url) else "it wants a token"
        return SourceError(
            f"`{addresses.told(url)}` is not for everybody (HTTP {status}): {had}",
            hint="set `HF_TOKEN` for the hub or `CIVITAI_TOKEN` for CivitAI, and accept the terms on the model's page",
        )


@contextmanager
def transient(url: str) -> Iterator[None]:
    """What the network does in the block becomes an error that may pass, or one that will not."""
    import httpx2

    told = addresses.told(url)
    try:
        yield
    except httpx2.ConnectError as error:
        if _is_certificate(error):
            raise NetworkError(
                f"`{told}` cannot prove who it is: {error}", hint="a proxy may be in between; nothing was fetched"
            ) from error
        raise TransientError(f"`{told}` cannot be reached") from error
    except httpx2.TimeoutException as error:
        raise TransientError(f"`{told}` has sent nothing for {TIMEOUT_SECONDS:g} s") from error
    except httpx2.TransportError as error:
        raise TransientError(f"`{told}` broke off the connection") from error


def wait_asked(header: str | None) -> float | None:
    """Seconds that a `Retry-After` asks for: a number or a date (RFC 9110, section 10.2.3)."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _less_secure(url: str, target: str) -> bool:
    """A server elsewhere must not lead to this machine by http, where other programs listen."""
    return url.startswith("https:") and target.startswith("http:")


def _is_certificate(error: BaseException) -> bool:
    while error is not None:
        if type(error).__name__ == "SSLCertVerificationError":
            return True
        error = error.__cause__ or error.__context__  # pyright: ignore[reportAssignmentType]
    return False
