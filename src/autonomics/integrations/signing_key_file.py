"""An Ed25519 signing key in a file that only its owner can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autonomics.errors import InvalidConfig
from autonomics.integrations.secret_file import create_secret, read_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED_BYTES = 32


class SigningKeyFile:
    """`Signer` over a file of 64 hex digits (an RFC 8032 seed)."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self._public_key = private_key.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._public_key

    async def sign(self, message: bytes) -> bytes:
        """Sign in place: it takes some 50 microseconds, less than a hop to a thread."""
        return self._private_key.sign(message)


def load_signing_key(path: Path) -> SigningKeyFile:
    """Read the key; InvalidConfig if it is missing, malformed or readable by others."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seed = read_secret(path, "signing key", _SEED_BYTES)
    return SigningKeyFile(Ed25519PrivateKey.from_private_bytes(seed))


def create_signing_key(path: Path, seed: bytes) -> SigningKeyFile:
    """Write a new key file; InvalidConfig if one stands there, or it can't be written.

    `seed` is 32 fresh random bytes.
    """
    if len(seed) != _SEED_BYTES:
        raise InvalidConfig(f"expected seed to be {_SEED_BYTES} bytes, got {len(seed)}")
    create_secret(path, "signing key", seed)
    return load_signing_key(path)


def open_signing_key(path: Path, seed: bytes) -> SigningKeyFile:
    """Load the key, or create it from `seed` the first time."""
    return load_signing_key(path) if path.exists() else create_signing_key(path, seed)
