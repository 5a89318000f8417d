"""A key vault over a file that only its owner can read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from autonomics.errors import InvalidConfig
from autonomics.integrations.secret_file import create_secret, read_secret

KEY_BYTES: Final = 64
_NAME: Final = b"autonomics.payload-key/1\n"


class KeyVaultFile:
    """`KeyVault` by AES-256-SIV (RFC 5297), which was made to wrap keys.

    It needs no nonce: random ones under one key would run out of safety after 2^32 receipts.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        self._siv = AESSIV(key)
        self._id = hashlib.sha256(_NAME + key).hexdigest()[:16]

    @property
    def id(self) -> str:
        """16 hex digits."""
        return self._id

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """Return 16 bytes more than the key has."""
        return self._siv.encrypt(data_key, [context])

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """Return the data key, or None."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._siv.decrypt(wrapped, [context])
        except (InvalidTag, ValueError):
            return None


def load_key_vault(path: Path) -> KeyVaultFile:
    """Read the key; InvalidConfig if it is missing, malformed or readable by others."""
    return KeyVaultFile(read_secret(path, "payload key", KEY_BYTES))


def create_key_vault(path: Path, key: bytes) -> KeyVaultFile:
    """Write a new key file; InvalidConfig if one stands there, or it can't be written.

    `key` is 64 fresh random bytes.
    """
    if len(key) != KEY_BYTES:
        raise InvalidConfig(f"expected key to be {KEY_BYTES} bytes, got {len(key)}")
    create_secret(path, "payload key", key)
    return load_key_vault(path)


def open_key_vault(path: Path, key: bytes) -> KeyVaultFile:
    """Load the key, or create it from `key` the first time."""
    return load_key_vault(path) if path.exists() else create_key_vault(path, key)
