"""An Ed25519 signing key in a file that only its owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from autonomics.errors import InvalidConfig

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

    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig.expected("signing key", f"a readable file ({error})", path) from None
    if mode & 0o077:
        raise InvalidConfig.expected("signing key", "readable by its owner alone (0600)", oct(mode))
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        # The content stays out of the message: it may be a key with one digit too many.
        raise InvalidConfig(f"expected {path} to be 64 hex digits, got {len(text)} characters")
    return SigningKeyFile(Ed25519PrivateKey.from_private_bytes(seed))


def create_signing_key(path: Path, seed: bytes) -> SigningKeyFile:
    """Write a new key file (0600, synced); InvalidConfig if one stands there: none is replaced.

    `seed` is 32 fresh random bytes.
    """
    if len(seed) != _SEED_BYTES:
        raise InvalidConfig(f"expected seed to be {_SEED_BYTES} bytes, got {len(seed)}")
    pending = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(pending, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, seed.hex().encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            # A link, not a rename: it fails if the name is taken, and the file is never half there.
            path.hardlink_to(pending)
        finally:
            pending.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise InvalidConfig.expected("signing key", f"a new file ({error})", str(path)) from None
    return load_signing_key(path)


def open_signing_key(path: Path, seed: bytes) -> SigningKeyFile:
    """Load the key, or create it from `seed` the first time."""
    return load_signing_key(path) if path.exists() else create_signing_key(path, seed)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
