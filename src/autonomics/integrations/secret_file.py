"""A file with one secret in hex digits, that only its owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from autonomics.errors import InvalidConfig


def read_secret(path: Path, name: str, size: int) -> bytes:
    """Read so many bytes; InvalidConfig if the file is missing, malformed or readable by others.

    `name` says in errors what it is, such as "signing key".
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig.expected(name, f"a readable file ({error})", path) from None
    if mode & 0o077:
        raise InvalidConfig.expected(name, "readable by its owner alone (0600)", oct(mode))
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != size:
        # The content stays out of the message: it may be a key with one digit too many.
        raise InvalidConfig(
            f"expected {path} to be {2 * size} hex digits, got {len(text)} characters"
        )
    return secret


def create_secret(path: Path, name: str, secret: bytes) -> None:
    """Write a new file (0600, in a folder of 0700, synced); none that stands is replaced.

    InvalidConfig if there is one, or it can't be written.
    """
    pending = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(pending, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, secret.hex().encode() + b"\n")
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
        raise InvalidConfig.expected(name, f"a new file ({error})", str(path)) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
