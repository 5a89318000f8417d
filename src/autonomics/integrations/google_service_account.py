"""A service account's key, from the JSON file that Google gives out once.

What is wrong with a file is told by the names of its members; nothing of their values is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.jwk import RSAKey

from autonomics.config import is_guarded_url
from autonomics.errors import InvalidConfig
from autonomics.integrations.google_api import decode_object
from autonomics.integrations.key_set_file import LEAST_BITS, MOST_BITS, read_bounded

KIND: Final = "service_account"


@frozen(kw_only=True)
class ServiceAccount:
    """Who asks for tokens, where, and by which key."""

    email: str
    key_id: str
    token_uri: str
    key: RSAKey = field(repr=False)


def read_service_account(path: Path) -> ServiceAccount:
    """Read the file; raise InvalidConfig if it can't be used."""
    members = decode_object(read_bounded(path))
    if members is None:
        raise InvalidConfig(f"expected {path} to be a JSON object, got something else")
    if members.get("type") != KIND:
        raise InvalidConfig(
            f"expected type of {path} to be {KIND}: it is a key file of another kind"
        )
    token_uri = _text(members, "token_uri", path)
    if not is_guarded_url(token_uri):
        raise InvalidConfig(f"expected token_uri of {path} to be an https URL")
    return ServiceAccount(
        email=_text(members, "client_email", path),
        key_id=_text(members, "private_key_id", path),
        token_uri=token_uri,
        key=_read_key(_text(members, "private_key", path), path),
    )


def _text(members: Mapping[str, Any], name: str, path: Path) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidConfig(f"expected {name} of {path} to be a text that is not empty")
    return value


def _read_key(pem: str, path: Path) -> RSAKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey) or not LEAST_BITS <= key.key_size <= MOST_BITS:
        raise InvalidConfig(
            f"expected private_key of {path} to be an RSA key in PEM without a passphrase,"
            f" of {LEAST_BITS} to {MOST_BITS} bits"
        )
    return RSAKey.import_key(key)
