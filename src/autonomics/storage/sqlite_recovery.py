"""Read a SQLite store from its first frame to its last, and prove the logs before using them.

Every leaf is hashed: it must continue its log, and the tree must have the signed root at the size
of each checkpoint. What fails is told with its log and seq, and nothing is repaired: a log that
lost or changed a receipt is evidence. Only the two indexes are rebuilt.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import attrs

from autonomics.errors import InvalidInput, StoreUnusable
from autonomics.receipts import verify
from autonomics.receipts.checkpoint import parse_checkpoint
from autonomics.receipts.log import LogHead, extend_head
from autonomics.storage.frame import Frame, FrameBatch, decode_frame
from autonomics.storage.sqlite_schema import (
    SCHEMA_VERSION,
    VAULT_META,
    check_schema,
    open_for_reading,
)


@attrs.frozen
class Recovered:
    """What stands on disk."""

    epoch: int
    commit: int
    log_ids: dict[str, int]
    heads: dict[str, LogHead]
    indexes_hold: bool
    vault_id: str | None
    erasures: list[tuple[int, int]]
    """(log id, seq) of each payload that an erasure receipt names."""


def recover(path: Path, schema: int = SCHEMA_VERSION) -> Recovered:
    """Prove the file, read-only; StoreUnusable says in one line what is wrong."""
    try:
        try:
            return _recover(path, schema)
        except sqlite3.OperationalError:
            raise  # the disk or a lock, not the content: another try may succeed
        except sqlite3.DatabaseError:
            # SQLite tells a failed read of the first page as a malformed file: look once more.
            return _recover(path, schema)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise StoreUnusable(f"{path} is corrupted: {error}") from error


def _recover(path: Path, schema: int) -> Recovered:
    connection = open_for_reading(path)
    try:
        check_schema(path, connection, schema)
        return _Scan(path, connection).run()
    finally:
        connection.close()


def read_frames(path: Path, connection: sqlite3.Connection, first: int = 0) -> Iterator[Frame]:
    """All frames from a commit on, commit numbers ascending."""
    sql = "SELECT commit_no, body, digest FROM frame WHERE commit_no >= ? ORDER BY commit_no"
    rows = connection.execute(sql, (first,))
    for commit, body, digest in rows:
        try:
            frame = decode_frame(commit, body, digest)
        except StoreUnusable as error:
            raise StoreUnusable(f"{path}: {error}") from None
        yield frame


def rebuild_indexes(path: Path, connection: sqlite3.Connection) -> None:
    """Write both indexes anew from the frames; inside the caller's transaction."""
    connection.execute("DELETE FROM span")
    connection.execute("DELETE FROM idem")
    for frame in read_frames(path, connection):
        for position, batch in enumerate(frame.batches()):
            write_indexes(connection, frame.commit, position, batch)


def write_indexes(
    connection: sqlite3.Connection, commit: int, position: int, batch: FrameBatch
) -> None:
    """Index one batch."""
    connection.execute(
        "INSERT INTO span VALUES (?, ?, ?, ?)", (batch.log_id, batch.first_seq, commit, position)
    )
    if batch.idem:
        rows = [(batch.log_id, hashed, seq) for hashed, seq in batch.idem]
        connection.executemany("INSERT INTO idem VALUES (?, ?, ?)", rows)


class _Scan:
    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        rows = connection.execute("SELECT id, origin FROM log").fetchall()
        self._heads = {log_id: LogHead.empty(origin) for log_id, origin in rows}
        self._roots = self._read_roots()
        # Sums of the hashes of all index rows: equal sums, equal sets, in memory that stays flat.
        self._spans = 0
        self._idem = 0
        self._erasures: list[tuple[int, int]] = []

    def run(self) -> Recovered:
        fence = self._connection.execute("SELECT epoch, commit_no FROM fence").fetchone()
        if fence is None:
            raise StoreUnusable(f"{self._path} has lost its fence")
        epoch, commit = fence
        last, last_epoch = 0, 0
        for frame in read_frames(self._path, self._connection):
            if frame.commit != last + 1:
                raise StoreUnusable(f"{self._path}: frame {last + 1} is missing")
            if not last_epoch <= frame.epoch <= epoch:
                raise StoreUnusable(f"{self._path}: frame {frame.commit} has a wrong epoch")
            for position, batch in enumerate(frame.batches()):
                self._take(frame, position, batch)
            last, last_epoch = frame.commit, frame.epoch
        if last != commit:
            raise StoreUnusable(f"{self._path} was rolled back: commit {commit} has no frame")
        self._expect_all_roots_seen()
        heads = {head.origin: head for head in self._heads.values()}
        log_ids = {head.origin: log_id for log_id, head in self._heads.items()}
        return Recovered(
            epoch,
            commit,
            log_ids,
            heads,
            self._indexes_hold(),
            self._vault_id(),
            self._erasures,
        )

    def _vault_id(self) -> str | None:
        sql = "SELECT value FROM meta WHERE name = ?"
        row = self._connection.execute(sql, (VAULT_META,)).fetchone()
        return None if row is None else bytes(row[0]).decode(errors="replace")

    def _read_roots(self) -> dict[int, dict[int, bytes]]:
        """The signed root of each log by size."""
        roots: dict[int, dict[int, bytes]] = {log_id: {} for log_id in self._heads}
        for log_id, size, note in self._connection.execute("SELECT * FROM checkpoint"):
            try:
                checkpoint = parse_checkpoint(note)
            except InvalidInput as error:
                raise StoreUnusable(f"{self._path}: {error}") from None
            head = self._heads.get(log_id)
            if head is None or (checkpoint.origin, checkpoint.size) != (head.origin, size):
                raise StoreUnusable(f"{self._path}: a checkpoint of size {size} was changed")
            roots[log_id][size] = checkpoint.root
        return roots

    def _take(self, frame: Frame, position: int, batch: FrameBatch) -> None:
        head = self._heads.get(batch.log_id)
        if head is None:
            raise StoreUnusable(f"{self._path}: frame {frame.commit} names an unknown log")
        end = head.size + len(batch.leaves)
        seqs = [seq for _, seq in batch.idem] or [head.size]
        if batch.first_seq != head.size or min(seqs) < head.size or max(seqs) >= end:
            raise StoreUnusable(f"{self._path}: frame {frame.commit} has seqs that are not its own")
        self._spans += hash((batch.log_id, batch.first_seq, frame.commit, position))
        self._idem += sum(hash((batch.log_id, hashed, seq)) for hashed, seq in batch.idem)
        roots = self._roots[batch.log_id]
        sizes = [size for size in roots if head.size < size < head.size + len(batch.leaves)]
        leaves = iter(batch.leaves)
        for size in [*sorted(sizes), head.size + len(batch.leaves)]:
            some = [next(leaves) for _ in range(size - head.size)]
            head = self._extend(head, frame.epoch, some)
            # The root is computed only where one was signed: it costs as much as a leaf.
            if size in roots and roots.pop(size) != head.root:
                raise StoreUnusable(
                    f"{self._path}: {head.origin} was changed before seq {size}:"
                    f" its root differs from the signed checkpoint"
                )
        self._heads[batch.log_id] = head
        for leaf in batch.leaves:
            # A quote inside a string is escaped, so only an erasure has these bytes.
            if b'"kind":"erasure"' in leaf:
                self._erasures.append((batch.log_id, self._read_ref(head, leaf)))

    def _read_ref(self, head: LogHead, leaf: bytes) -> int:
        try:
            ref = verify.parse_leaf(leaf)["ref"]
        except (verify.Invalid, KeyError):
            ref = head.size
        if ref >= head.size:
            raise StoreUnusable(f"{self._path}: {head.origin} has an erasure that can't be read")
        return int(ref)

    def _extend(self, head: LogHead, epoch: int, leaves: list[bytes]) -> LogHead:
        extended = extend_head(head, epoch, leaves)
        if extended is not None:
            return extended
        good = head
        while after := extend_head(good, epoch, [leaves[good.size - head.size]]):
            good = after
        raise StoreUnusable(f"{self._path}: {good.origin} is broken at seq {good.size}")

    def _expect_all_roots_seen(self) -> None:
        for log_id, roots in self._roots.items():
            if roots:
                head = self._heads[log_id]
                raise StoreUnusable(
                    f"{self._path} was rolled back: {head.origin} ends at seq {head.size - 1},"
                    f" and a checkpoint of size {max(roots)} was signed"
                )

    def _indexes_hold(self) -> bool:
        spans = sum(hash(row) for row in self._connection.execute("SELECT * FROM span"))
        idem = sum(hash(row) for row in self._connection.execute("SELECT * FROM idem"))
        return (spans, idem) == (self._spans, self._idem)
