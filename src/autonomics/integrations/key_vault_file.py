"""A key vault over a file that only its owner can read."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from autonomics.errors import InvalidConfig

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
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig.expected("payload key", f"a readable file ({error})", path) from None
    if mode & 0o077:
        raise InvalidConfig.expected("payload key", "readable by its owner alone (0600)", oct(mode))
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        # The content stays out of the message: it may be a key with one digit too many.
        raise InvalidConfig(
            f"expected {path} to be {2 * KEY_BYTES} hex digits, got {len(text)} characters"
        )
    return KeyVaultFile(key)


def create_key_vault(path: Path, key: bytes) -> KeyVaultFile:
    """Write a new key file (0600, in a folder of 0700, synced); none that stands is replaced.

    `key` is 64 fresh random bytes. InvalidConfig if the file is there, or can't be written.
    """
    if len(key) != KEY_BYTES:
        raise InvalidConfig(f"expected key to be {KEY_BYTES} bytes, got {len(key)}")
    pending = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(pending, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, key.hex().encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            # A link, not a rename: it fails if the name is taken, and the file is never half there.
            path.hardlink_to(pending)
        finally:
            pending.unlink()
        for folder in (path.parent, path.parent.parent):
            _sync_folder(folder)
    except OSError as error:
        raise InvalidConfig.expected("payload key", f"a new file ({error})", str(path)) from None
    return load_key_vault(path)


def open_key_vault(path: Path, key: bytes) -> KeyVaultFile:
    """Load the key, or create it from `key` the first time."""
    return load_key_vault(path) if path.exists() else create_key_vault(path, key)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
