"""Transactions of the SQLite store: one that writes a commit, and the plain one below it."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from autonomics.errors import Fenced
from autonomics.receipts.log import LogHead
from autonomics.receipts.store import (
    Batch,
    BatchResult,
    Commit,
    Committed,
    Fence,
    Refused,
    refuse_batch,
)
from autonomics.storage.erasure import erase_row, find_row_id
from autonomics.storage.frame import FrameBatch, encode_frame
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite_recovery import write_indexes


@contextmanager
def transaction(connection: sqlite3.Connection, epoch: int) -> Generator[Fence, None, None]:
    """Take the write lock, hold the epoch to ours, and commit at the end, or leave no trace."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (found,) = connection.execute("SELECT epoch, commit_no FROM fence").fetchall()
        fence = Fence(*found)
        if fence.epoch != epoch:
            raise Fenced(f"epoch {epoch} is over, the store is at {fence}")
        yield fence
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class CommitWriter:
    """Writes the batches that fit, in one transaction; keeps what memory has to take over after."""

    def __init__(
        self,
        heads: Mapping[str, LogHead],
        log_ids: Mapping[str, int],
        line_generation: int,
        sealer: Sealer,
    ) -> None:
        self.new_heads: dict[str, LogHead] = {}
        self.new_log_ids: dict[str, int] = {}
        self.results: list[BatchResult] = []
        self._heads = heads
        self._log_ids = log_ids
        self._line_generation = line_generation
        self._sealer = sealer
        self.has_erased = False
        self._frame: list[FrameBatch] = []
        self._payloads: list[tuple[int, bytes, bytes]] = []
        self._subjects: list[tuple[bytes, int]] = []
        self._erases: list[tuple[int, int]] = []
        self._count = 0

    def write(self, connection: sqlite3.Connection, commit: Commit) -> Fence:
        """Return the new fence, which is the old one if every batch was refused."""
        with transaction(connection, commit.fence.epoch) as fence:
            if fence != commit.fence:
                raise Fenced(f"the commit names {commit.fence}, the store is at {fence}")
            following = Fence(fence.epoch, fence.commit + 1)
            for batch in commit.batches:
                refused = self._refuse(connection, batch, fence.epoch)
                if refused is None:
                    self._put(connection, batch, following)
                self.results.append(refused or Committed(batch.head))
            if not self._frame:
                return fence
            body, digest = encode_frame(fence.epoch, self._frame)
            connection.execute(
                "INSERT INTO frame VALUES (?, ?, ?)", (following.commit, body, digest)
            )
            sealed = self._sealer.seal(self._payloads)
            connection.executemany("INSERT INTO payload VALUES (?, ?, ?)", sealed)
            connection.executemany("INSERT INTO subject VALUES (?, ?)", self._subjects)
            for log_id, seq in self._erases:
                self.has_erased = True
                erase_row(connection, find_row_id(connection, log_id, seq))
            connection.execute("UPDATE fence SET commit_no = ?", (following.commit,))
        return following

    def _refuse(self, connection: sqlite3.Connection, batch: Batch, epoch: int) -> Refused | None:
        head = self.new_heads.get(batch.origin) or self._heads.get(batch.origin)
        log_id = self._log_id(batch.origin)

        def find_idem(hashed: str) -> int | None:
            if log_id is None:
                return None
            row = connection.execute(
                "SELECT seq FROM idem WHERE log_id = ? AND hash = ?",
                (log_id, bytes.fromhex(hashed)),
            ).fetchone()
            return None if row is None else int(row[0])

        return refuse_batch(
            batch, head or LogHead.empty(batch.origin), epoch, self._line_generation, find_idem
        )

    def _log_id(self, origin: str) -> int | None:
        return self.new_log_ids.get(origin) or self._log_ids.get(origin)

    def _put(self, connection: sqlite3.Connection, batch: Batch, fence: Fence) -> None:
        log_id = self._log_id(batch.origin)
        if log_id is None:
            cursor = connection.execute("INSERT INTO log (origin) VALUES (?)", (batch.origin,))
            assert cursor.lastrowid is not None
            log_id = self.new_log_ids[batch.origin] = cursor.lastrowid
        row = FrameBatch(
            log_id,
            batch.expected_size,
            self._count,
            [receipt.leaf for receipt in batch.receipts],
            [(bytes.fromhex(hashed), seq) for hashed, seq in batch.idem],
        )
        write_indexes(connection, fence.commit, len(self._frame), row)
        self._frame.append(row)
        self._count += len(row.leaves)
        self._payloads.extend(
            (row.payload_id(fence.commit, receipt.seq), receipt.salt, receipt.payload)
            for receipt in batch.receipts
            if receipt.salt is not None and receipt.payload is not None
        )
        self._subjects.extend(
            (hashed, row.payload_id(fence.commit, seq)) for hashed, seq in batch.subjects
        )
        self._erases.extend((log_id, seq) for seq in batch.erases)
        self.new_heads[batch.origin] = batch.head
