"""The embedded store: one SQLite file, one writer, one synced commit for all waiting logs.

All work happens on a thread, one job at a time; the methods are async shells around it. A job is
not abandoned when its caller is cancelled: what was handed over is committed or refused, so a
cancelled caller has to look its receipt up by idempotency key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from autonomics.errors import LogForked
from autonomics.receipts.log import LogHead, Receipt
from autonomics.receipts.store import Commit, CommitResult, Fence, KeyRecord
from autonomics.receipts.vault import KeyVault
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite_file import StoreFile

T = TypeVar("T")


class SqliteStore:
    """`Store` over one file, which `open` creates if there is none; `vault` guards its payloads.

    `erasures` is a file apart from it where each erasure is written down, so that a restore from
    an older backup can carry it out again.
    """

    def __init__(self, path: Path, vault: KeyVault, erasures: Path | None = None) -> None:
        self._limiter = trio.CapacityLimiter(1)
        self._file = StoreFile(path, Sealer(vault), erasures)

    async def _run(self, job: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(job, limiter=self._limiter)

    async def open(self) -> Fence:
        """Prove the file, then take it over; StoreUnusable leaves it as it was."""
        return await self._run(self._file.open)

    async def close(self) -> None:
        """Close the file."""
        with trio.CancelScope(shield=True):
            await self._run(self._file.close)

    async def fence(self) -> Fence:
        """The fence of the last commit."""
        return await self._run(self._file.read_fence)

    async def commit(self, commit: Commit) -> CommitResult:
        """One transaction, one sync."""
        return await self._run(partial(self._file.commit, commit))

    async def heads(self) -> list[LogHead]:
        """Heads of all logs, by origin."""
        return await self._run(self._file.all_heads)

    async def head(self, origin: str) -> LogHead:
        """Head of one log."""
        return await self._run(partial(self._file.head, origin))

    async def read(self, origin: str, start: int, limit: int) -> list[Receipt]:
        """Receipts from `start` on; StoreUnusable if one was changed on disk."""
        return await self._run(partial(self._file.read, origin, start, limit))

    async def leaf_hashes(self, origin: str, size: int) -> list[bytes]:
        """Hashes of the first `size` leaves."""
        return await self._run(partial(self._file.leaf_hashes, origin, size))

    async def find_idem(self, origin: str, idem_hash: str) -> int | None:
        """Seq that a key leads to."""
        return await self._run(partial(self._file.find_idem, origin, idem_hash))

    async def find_subject(self, subject_hash: bytes) -> list[tuple[str, int]]:
        """(origin, seq) of each payload that names a subject."""
        return await self._run(partial(self._file.find_subject, subject_hash))

    async def save_checkpoints(self, notes: Sequence[bytes]) -> list[LogForked | None]:
        """Keep checkpoints, for ever."""
        return await self._run(partial(self._file.save_checkpoints, notes))

    async def latest_checkpoint(self, origin: str) -> bytes | None:
        """The checkpoint of the largest size."""
        return await self._run(partial(self._file.latest_checkpoint, origin))

    async def set_line_generation(self, generation: int) -> None:
        """Move the line on."""
        await self._run(partial(self._file.set_line_generation, generation))

    async def line_generation(self) -> int:
        """Where the line is."""
        return await self._run(self._file.read_line_generation)

    async def save_key(self, record: KeyRecord) -> None:
        """Insert or replace by id."""
        await self._run(partial(self._file.save_key, record))

    async def keys(self) -> list[KeyRecord]:
        """All key records."""
        return await self._run(self._file.keys)

    async def get_meta(self, name: str) -> bytes | None:
        """One value."""
        return await self._run(partial(self._file.get_meta, name))

    async def put_meta(self, name: str, value: bytes) -> None:
        """Set one value."""
        await self._run(partial(self._file.put_meta, name, value))

    async def put_meta_once(self, name: str, value: bytes) -> bytes:
        """Set one value unless it stands."""
        return await self._run(partial(self._file.put_meta_once, name, value))
