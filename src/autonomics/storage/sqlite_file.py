"""The SQLite store as its one thread sees it; `sqlite.py` is the async shell around it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from autonomics.errors import (
    Fenced,
    InvalidInput,
    LogForked,
    StoreUnavailable,
    StoreUnusable,
)
from autonomics.receipts import verify
from autonomics.receipts.checkpoint import Checkpoint, contradicts, parse_checkpoint
from autonomics.receipts.log import LogHead, Receipt
from autonomics.receipts.store import (
    Commit,
    CommitResult,
    Fence,
    KeyRecord,
    expect_range,
)
from autonomics.storage.erasure import (
    Erased,
    drain_log,
    erase_row,
    find_row_id,
    note_erasures,
)
from autonomics.storage.frame import MAX_RECEIPTS, PLACE_BITS, Frame, FrameBatch, decode_frame
from autonomics.storage.seal import SealedRow, Sealer
from autonomics.storage.sqlite_migration import finish_migration
from autonomics.storage.sqlite_recovery import Recovered, rebuild_indexes, recover
from autonomics.storage.sqlite_schema import check_header, create_file, open_for_writing
from autonomics.storage.sqlite_transaction import CommitWriter, transaction

T = TypeVar("T")


class StoreFile:
    """One file and its one connection; never used by two threads at a time."""

    def __init__(self, path: Path, sealer: Sealer, erasures: Path | None = None) -> None:
        self._path = path
        self._sealer = sealer
        self._erasures = erasures
        self._must_drain = False
        self._connection: sqlite3.Connection | None = None
        self._failure = "the store is not open"
        self._fence = Fence(0, 0)
        self._line_generation = 0
        self._log_ids: dict[str, int] = {}
        self._heads: dict[str, LogHead] = {}
        # A log is read in order, and neighbours in a log often share a frame.
        self._load_frame = lru_cache(maxsize=64)(self._read_frame)

    # The life of the connection

    def open(self) -> Fence:
        """Prove the file, then raise the epoch."""
        if self._connection is not None:
            raise InvalidInput.expected("store", "not open yet", str(self._path))
        try:
            if not check_header(self._path):
                create_file(self._path, self._sealer.vault_id)
            finish_migration(self._path)
            recovered = recover(self._path)
            self._expect_vault(recovered.vault_id)
            self._log_ids, self._heads = recovered.log_ids, recovered.heads
            self._connection = open_for_writing(self._path)
            self._fence = self._take_over(recovered)
            drain_log(self._connection)
        except (sqlite3.Error, OSError, Fenced) as error:
            self._die(error)
            raise StoreUnavailable(f"{self._path} can't be opened: {error}") from error
        return self._fence

    def _expect_vault(self, bound_to: str | None) -> None:
        if bound_to != self._sealer.vault_id:
            raise StoreUnusable(
                f"{self._path} has payloads under key {bound_to}, the key here is"
                f" {self._sealer.vault_id}: put the right one back from its own backup"
            )

    def _take_over(self, recovered: Recovered) -> Fence:
        """Raise the epoch; finish what an earlier opening left undone."""
        proven = Fence(recovered.epoch, recovered.commit)
        connection = self._open_connection()
        with transaction(connection, proven.epoch) as found:
            if found != proven:
                raise Fenced("another writer is at work")
            if not recovered.indexes_hold:
                rebuild_indexes(self._path, connection)
            for log_id, seq in recovered.erasures:
                erase_row(connection, find_row_id(connection, log_id, seq))
            connection.execute("UPDATE fence SET epoch = epoch + 1")
            (row,) = connection.execute("SELECT line_generation FROM fence").fetchall()
            self._line_generation = row[0]
        return Fence(proven.epoch + 1, proven.commit)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._failure = "the store is closed"

    def _die(self, error: Exception) -> None:
        """Give up: after a failed commit nobody knows what is on disk, so never write again."""
        self._failure = f"the store failed and has to be opened anew: {error}"
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable(f"{self._path}: {self._failure}")
        return self._connection

    def _guard(self, job: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._open_connection()
        try:
            return job(connection)
        except sqlite3.Error as error:
            self._die(error)
            raise StoreUnavailable(f"{self._path} failed: {error}") from error

    def _write(self, sql: str, *values: object) -> None:
        """Run one statement, if the epoch is still ours."""

        def job(connection: sqlite3.Connection) -> None:
            with transaction(connection, self._fence.epoch):
                connection.execute(sql, values)

        self._guard(job)

    def _query(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        return self._guard(lambda connection: connection.execute(sql, values).fetchall())

    # Writing

    def commit(self, commit: Commit) -> CommitResult:
        """Write all batches that fit, with one sync."""
        if sum(len(batch.receipts) for batch in commit.batches) > MAX_RECEIPTS:
            raise InvalidInput.expected("commit", f"at most {MAX_RECEIPTS} receipts", commit.fence)
        if commit.fence.epoch != self._fence.epoch:
            self._open_connection()
            raise Fenced(f"the commit names {commit.fence}, this store is at {self._fence}")
        self._note_erasures(commit)
        writer = CommitWriter(self._heads, self._log_ids, self._line_generation, self._sealer)
        self._fence = self._guard(lambda connection: writer.write(connection, commit))
        self._heads.update(writer.new_heads)
        self._log_ids.update(writer.new_log_ids)
        self._must_drain |= writer.has_erased
        if self._must_drain:
            # The rows are gone for good; the log's old pages go now, or once its reader is done.
            self._must_drain = not self._guard(drain_log)
        return CommitResult(self._fence, tuple(writer.results))

    def _note_erasures(self, commit: Commit) -> None:
        """Write down, apart from the store, which payloads this commit ends."""
        if self._erasures is None or not any(batch.erases for batch in commit.batches):
            return
        erased: list[Erased] = []
        for batch in commit.batches:
            own = {receipt.seq: receipt for receipt in batch.receipts}
            for seq in batch.erases:
                found = [own[seq]] if seq in own else self.read(batch.origin, seq, 1)
                erased.extend(Erased(batch.origin, seq, receipt.leaf_hash) for receipt in found)
        try:
            note_erasures(self._erasures, erased)
        except OSError as error:
            raise StoreUnavailable(f"{self._erasures} can't be written: {error}") from error

    def save_checkpoints(self, notes: Sequence[bytes]) -> list[LogForked | None]:
        """Keep those that agree with their logs, with one sync."""
        checkpoints = [parse_checkpoint(note) for note in notes]
        problems = [self._find_fork(checkpoint) for checkpoint in checkpoints]
        rows = [
            (self._log_ids[checkpoint.origin], checkpoint.size, note)
            for checkpoint, note, problem in zip(checkpoints, notes, problems, strict=True)
            if problem is None
        ]

        def job(connection: sqlite3.Connection) -> None:
            with transaction(connection, self._fence.epoch):
                connection.executemany("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?)", rows)

        if rows:
            self._guard(job)
        return problems

    def _find_fork(self, checkpoint: Checkpoint) -> LogForked | None:
        head = self.head(checkpoint.origin)
        if (checkpoint.size, checkpoint.root) == (head.size, head.root):
            return None
        # Rare: a checkpoint of an earlier size.
        problem = contradicts(checkpoint, self.leaf_hashes(checkpoint.origin, head.size))
        return None if problem is None else LogForked(f"{checkpoint.origin}: {problem}")

    def set_line_generation(self, generation: int) -> None:
        """Move the line on, durably."""
        if generation < self._line_generation:
            raise Fenced(f"line generation {generation} is before {self._line_generation}")
        self._write("UPDATE fence SET line_generation = ?", generation)
        self._line_generation = generation

    def save_key(self, record: KeyRecord) -> None:
        """Insert or replace a key record."""
        revoked_at = None if record.revoked_at is None else record.revoked_at.isoformat()
        self._write(
            "INSERT OR REPLACE INTO api_key VALUES (?, ?, ?, ?, ?, ?)",
            *(record.id, record.hash, record.role, record.tenant),
            *(record.created_at.isoformat(), revoked_at),
        )

    def put_meta(self, name: str, value: bytes) -> None:
        """Set one value."""
        self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, value)

    def put_meta_once(self, name: str, value: bytes) -> bytes:
        """Set one value unless it stands."""
        standing = self.get_meta(name)
        if standing is not None:
            return standing
        self.put_meta(name, value)
        return value

    # Reading

    def read_fence(self) -> Fence:
        """The fence on disk, which may be another writer's by now."""
        (row,) = self._query("SELECT epoch, commit_no FROM fence")
        epoch, commit = row
        assert isinstance(epoch, int)
        assert isinstance(commit, int)
        return Fence(epoch, commit)

    def all_heads(self) -> list[LogHead]:
        """Heads of all logs."""
        self._open_connection()
        return [head for _, head in sorted(self._heads.items())]

    def head(self, origin: str) -> LogHead:
        """Head of one log."""
        self._open_connection()
        return self._heads.get(origin) or LogHead.empty(origin)

    def read(self, origin: str, start: int, limit: int) -> list[Receipt]:
        """Receipts with their payloads, each held to its commitment."""
        expect_range(start, limit)
        end = min(start + limit, self.head(origin).size)
        receipts: list[Receipt] = []
        for commit, batch in self._batches(origin, start, end):
            payloads = self._read_payloads(commit, batch)
            for offset, leaf in enumerate(batch.leaves):
                seq = batch.first_seq + offset
                if start <= seq < end:
                    sealed = payloads.get(batch.payload_id(commit, seq))
                    receipts.append(self._receipt(origin, seq, leaf, sealed))
        return receipts

    def _read_payloads(self, commit: int, batch: FrameBatch) -> dict[int, SealedRow]:
        first = batch.payload_id(commit, batch.first_seq)
        sql = "SELECT id, key, body FROM payload WHERE id BETWEEN ? AND ?"
        rows: list[SealedRow] = self._guard(
            lambda connection: connection.execute(
                sql, (first, first + len(batch.leaves) - 1)
            ).fetchall()
        )
        return {row[0]: row for row in rows}

    def _receipt(self, origin: str, seq: int, leaf: bytes, sealed: SealedRow | None) -> Receipt:
        hashed = verify.leaf_hash(leaf)
        if sealed is None:
            return Receipt(origin, seq, leaf, hashed, None, None)
        opened = self._sealer.open(sealed)
        if opened is None:
            raise StoreUnusable(f"{self._path}: the payload of {origin}#{seq} was changed or torn")
        receipt = Receipt(origin, seq, leaf, hashed, *opened)
        self._check_payload(receipt)
        return receipt

    def _check_payload(self, receipt: Receipt) -> None:
        if receipt.salt is None or receipt.payload is None:
            return
        place = (receipt.salt, receipt.origin, receipt.seq, receipt.payload)
        commitment = verify.payload_commitment(*place)
        # As in log.extend_head: the leaf is canonical and ours, so its text is searched.
        if b'"commit":"%b"' % commitment.hex().encode() not in receipt.leaf:
            raise StoreUnusable(f"{self._path}: the payload of {receipt.id} was changed or torn")

    def _batches(self, origin: str, start: int, end: int) -> Iterator[tuple[int, FrameBatch]]:
        """(commit, batch) of all batches that hold a seq of [start, end), in order."""
        log_id = self._log_ids.get(origin)
        if log_id is None or start >= end:
            return
        rows = self._query(
            "SELECT commit_no, position FROM span WHERE log_id = ?1 AND first_seq < ?3"
            " AND first_seq >= (SELECT max(first_seq) FROM span WHERE log_id = ?1"
            " AND first_seq <= ?2) ORDER BY first_seq",
            *(log_id, start, end),
        )
        for commit, position in rows:
            assert isinstance(commit, int)
            assert isinstance(position, int)
            yield commit, self._load_frame(commit).batch(position)

    def _read_frame(self, commit: int) -> Frame:
        sql = "SELECT body, digest FROM frame WHERE commit_no = ?"
        found = self._query(sql, commit)
        if not found:
            raise StoreUnusable(f"{self._path}: frame {commit} is missing")
        ((body, digest),) = found
        assert isinstance(body, bytes)
        assert isinstance(digest, bytes)
        return decode_frame(commit, body, digest)

    def leaf_hashes(self, origin: str, size: int) -> list[bytes]:
        """Hashes of the first leaves."""
        if not 0 <= size <= self.head(origin).size:
            raise InvalidInput.expected("size", f"at most {self.head(origin).size}", size)
        hashes: list[bytes] = []
        for _, batch in self._batches(origin, 0, size):
            hashes.extend(map(verify.leaf_hash, batch.leaves))
        return hashes[:size]

    def find_idem(self, origin: str, idem_hash: str) -> int | None:
        """Seq that a key leads to."""
        sql = "SELECT seq FROM idem WHERE log_id = ? AND hash = ?"
        rows = self._query(sql, self._log_ids.get(origin), bytes.fromhex(idem_hash))
        return int(str(rows[0][0])) if rows else None

    def find_subject(self, subject_hash: bytes) -> list[tuple[str, int]]:
        """(origin, seq) of each payload that names a subject."""
        rows = self._query("SELECT payload_id FROM subject WHERE hash = ?", subject_hash)
        origins = {log_id: origin for origin, log_id in self._log_ids.items()}
        found: list[tuple[str, int]] = []
        for (row_id,) in rows:
            assert isinstance(row_id, int)
            log_id, seq = self._load_frame(row_id >> PLACE_BITS).find(row_id % MAX_RECEIPTS)
            found.append((origins[log_id], seq))
        return sorted(found)

    def latest_checkpoint(self, origin: str) -> bytes | None:
        """The checkpoint of the largest size."""
        sql = "SELECT note FROM checkpoint WHERE log_id = ? ORDER BY size DESC LIMIT 1"
        return _only_bytes(self._query(sql, self._log_ids.get(origin)))

    def read_line_generation(self) -> int:
        """Where the line is."""
        self._open_connection()
        return self._line_generation

    def keys(self) -> list[KeyRecord]:
        """All key records."""
        rows = self._guard(
            lambda connection: connection.execute("SELECT * FROM api_key ORDER BY id").fetchall()
        )
        return [
            KeyRecord(
                id=key_id,
                hash=hashed,
                role=role,
                tenant=tenant,
                created_at=datetime.fromisoformat(created_at),
                revoked_at=None if revoked_at is None else datetime.fromisoformat(revoked_at),
            )
            for key_id, hashed, role, tenant, created_at, revoked_at in rows
        ]

    def get_meta(self, name: str) -> bytes | None:
        """One value."""
        return _only_bytes(self._query("SELECT value FROM meta WHERE name = ?", name))


def _only_bytes(rows: list[tuple[object, ...]]) -> bytes | None:
    if not rows:
        return None
    value = rows[0][0]
    assert isinstance(value, bytes)
    return value
