"""The data folder: one process owns it, by a lock that ends with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from autonomics.errors import DataFolderBusy, InvalidConfig

LOCK_NAME = "lock"
STORE_NAME = "ledger.sqlite"
KEY_NAME = "signing-key"
PAYLOAD_KEY_NAME = "keys/payload-key"
ERASURES_NAME = "keys/erased"
SOCKET_NAME = "control.sock"


@attrs.frozen
class DataFolder:
    """A folder that this process holds until `close`; also a context manager."""

    path: Path
    _lock: int

    @property
    def store_path(self) -> Path:
        """Where the embedded store's file is."""
        return self.path / STORE_NAME

    @property
    def signing_key_path(self) -> Path:
        """Where the signing key's file is."""
        return self.path / KEY_NAME

    @property
    def payload_key_path(self) -> Path:
        """Where the file of the key is that wraps the payloads' keys."""
        return self.path / PAYLOAD_KEY_NAME

    @property
    def erasures_path(self) -> Path:
        """Where it is written down which payloads were erased."""
        return self.path / ERASURES_NAME

    def close(self) -> None:
        """Let go of the folder; nobody's number stays in it."""
        os.ftruncate(self._lock, 0)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_data_folder(path: Path) -> DataFolder:
    """Create the folder (0700) if there is none, and lock it.

    DataFolderBusy if another process, or this one, holds it: nothing was changed then.
    InvalidConfig if it can't be used.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        constraint = f"a folder that can be written to ({error.strerror})"
        raise InvalidConfig.expected("data folder", constraint, str(path)) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise DataFolderBusy(f"{path} is held by process {holder or 'unknown'}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return DataFolder(path, lock)
