"""Addresses on the net: which may be asked, whose secrets they may see, and how they are told."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

_PORTS = {"https": 443, "http": 80}


def split(address: str) -> SplitResult | None:
    """The parts of a web address; `None` if it is none."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises for a port that cannot be
    except ValueError:
        return None
    return parts if parts.scheme in _PORTS and parts.hostname else None


def is_secure(address: str) -> bool:
    """https; or http to this very machine, where nobody listens in between."""
    parts = split(address)
    return parts is not None and (parts.scheme == "https" or is_loopback(parts.hostname or ""))


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its name or number; no name server is asked."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(address: str) -> str:
    """Scheme, host and port, in one form: what is sent to one must not go to another."""
    parts = split(address)
    if parts is None:
        raise ValueError(f"not a web address: `{told(address)}`")
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{parts.port or _PORTS[parts.scheme]}"


def told(address: str) -> str:
    """`address` as it may be shown and kept: without user, password, query and fragment, which may be secrets."""
    parts = split(address)
    if parts is None:
        return address.partition("?")[0].rpartition("@")[2]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
