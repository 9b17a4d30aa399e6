"""Secrets that sources ask for: from the environment, from the system's keyring, or where `hf auth login` put one.

Each goes to one origin (scheme, host and port) and to no other, whoever redirects there. None is kept anywhere.
"""

import os
from collections.abc import Mapping

from gesso.core import addresses
from gesso.models.pulling.sources import Endpoints

HUB_VARIABLE, CIVITAI_VARIABLE = "HF_TOKEN", "CIVITAI_TOKEN"
KEYRING_SERVICE = "gesso"


def tokens_for(endpoints: Endpoints) -> Mapping[str, str]:
    """Tokens by the origin that may see them."""
    found = (
        (endpoints.civitai, _said(CIVITAI_VARIABLE)),
        (endpoints.hub, _said(HUB_VARIABLE) or _kept_by_hub()),
    )
    return {addresses.origin(endpoint): token for endpoint, token in found if token}


def _said(variable: str) -> str | None:
    return (os.environ.get(variable) or "").strip() or _in_keyring(variable)


def _in_keyring(name: str) -> str | None:
    """What `keyring set gesso NAME` kept; nothing without the extra `gesso[keyring]`, or where no keyring runs."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        return keyring.get_password(KEYRING_SERVICE, name)
    except KeyringError:
        return None


def _kept_by_hub() -> str | None:
    from huggingface_hub import get_token

    return get_token()
