"""Bring an earlier version's file forward, beside itself, and put it in place once it is proven.

Schema 1 kept payloads in the clear; schema 2 seals each under a key of its own and knows whom it
names. The file is proven, copied commit by commit into a pending file, which is proven in turn and
held against the first, and only then renamed over it. A kill at any moment leaves the one or the
other in place; the next run goes on where the last one was. Afterwards the old bytes are
overwritten once: what a file system or a drive keeps of them beyond that no program can say.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import attrs

from autonomics.errors import StoreUnusable
from autonomics.receipts import verify
from autonomics.receipts.store import IDEM_KEY_META
from autonomics.receipts.subject import find_subjects, hash_subject
from autonomics.storage.erasure import erase_row, find_row_id
from autonomics.storage.frame import FrameBatch
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite_recovery import (
    Recovered,
    read_frames,
    recover,
    write_indexes,
)
from autonomics.storage.sqlite_schema import (
    SCHEMA_VERSION,
    VAULT_META,
    create_file,
    open_for_reading,
    read_version,
    sync_folder,
)

COMMITS_AT_ONCE: Final = 256
SOURCE_META: Final = "migrated_from"
_SHRED_BYTES: Final = 1 << 20
_CARRIED: Final = ("log", "checkpoint", "api_key")

Progress = Callable[[str, int, int], None]
"""Told the step, what is done of it, and of how much."""


@attrs.frozen(kw_only=True)
class Migration:
    """What a migration did, or would do; `before` equals `after` where there was nothing to do."""

    before: int
    after: int
    logs: int
    receipts: int
    payloads: int
    file_bytes: int


def pending_path(path: Path) -> Path:
    """Where the new file grows."""
    return path.with_name(f"{path.name}.pending")


def outgoing_path(path: Path) -> Path:
    """Where the old file waits to be overwritten."""
    return path.with_name(f"{path.name}.outgoing")


def _say_nothing(step: str, done: int, total: int) -> None:
    pass


def migrate(
    path: Path, sealer: Sealer, *, dry_run: bool = False, progress: Progress = _say_nothing
) -> Migration:
    """Bring the file to this program's schema; whoever calls holds the data folder.

    `dry_run` proves the file and changes nothing. StoreUnusable, with nothing changed, if it is
    foreign, corrupted or newer.
    """
    if not path.exists():
        raise StoreUnusable(f"there is no store at {path}")
    before = read_version(path)
    if before == SCHEMA_VERSION:
        if not dry_run:
            finish_migration(path)
        return _describe(path, before, recover(path))
    source = recover(path, before)
    with closing(open_for_reading(path)) as connection:
        _check_payloads(path, connection, source, progress)
        idem_key = _read_idem_key(path, connection, source)
    found = _describe(path, before, source)
    if dry_run:
        return found
    _fold_log(path)
    outgoing_path(path).unlink(missing_ok=True)  # a link to `path` itself, from a cut-off run
    _copy(path, source, sealer, idem_key, progress)
    try:
        _expect_equal(path, source, sealer, progress)
    except StoreUnusable:
        pending_path(path).unlink()  # else the next run would go on with it
        raise
    outgoing_path(path).hardlink_to(path)
    pending_path(path).replace(path)
    sync_folder(path.parent)
    progress("replaced", 1, 1)
    finish_migration(path)
    return found


def finish_migration(path: Path) -> None:
    """Overwrite and remove what a migration has left of the old file."""
    outgoing = outgoing_path(path)
    if not outgoing.exists() or read_version(path) != SCHEMA_VERSION:
        return
    with outgoing.open("r+b", buffering=0) as file:
        left = file.seek(0, os.SEEK_END)
        file.seek(0)
        while left > 0:
            left -= file.write(bytes(min(left, _SHRED_BYTES)))
        os.fsync(file.fileno())
    outgoing.unlink()
    sync_folder(path.parent)


def _describe(path: Path, before: int, found: Recovered) -> Migration:
    with closing(open_for_reading(path)) as connection:
        payloads = _count(connection, "payload")
    return Migration(
        before=before,
        after=SCHEMA_VERSION,
        logs=len(found.heads),
        receipts=sum(head.size for head in found.heads.values()),
        payloads=payloads,
        file_bytes=path.stat().st_size,
    )


def _count(connection: sqlite3.Connection, table: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - the tables are ours
    return int(count)


def _read_payloads(connection: sqlite3.Connection) -> Iterator[tuple[int, bytes, bytes]]:
    """(row id, salt, payload) of schema 1, in order."""
    return connection.execute("SELECT id, salt, body FROM payload ORDER BY id")


def _check_payloads(
    path: Path, connection: sqlite3.Connection, source: Recovered, progress: Progress
) -> None:
    """Hold every payload to its leaf: what was changed must not be sealed as if it were whole."""
    origins = {log_id: origin for origin, log_id in source.log_ids.items()}
    rows = _read_payloads(connection)
    row = next(rows, None)
    for frame in read_frames(path, connection):
        for batch in frame.batches():
            for seq, leaf in enumerate(batch.leaves, batch.first_seq):
                if row is None or row[0] != batch.payload_id(frame.commit, seq):
                    continue  # erased
                origin = origins[batch.log_id]
                commitment = verify.payload_commitment(row[1], origin, seq, row[2])
                if b'"commit":"%b"' % commitment.hex().encode() not in leaf:
                    raise StoreUnusable(f"{path}: the payload of {origin}#{seq} was changed")
                row = next(rows, None)
        if frame.commit % COMMITS_AT_ONCE == 0:
            progress("proving", frame.commit, source.commit)
    if row is not None:
        raise StoreUnusable(f"{path}: payload {row[0]} belongs to no receipt")
    progress("proving", source.commit, source.commit)


def _fold_log(path: Path) -> None:
    """Write the log back into the file: beside the new file an old log would be taken for its."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    if mode != "delete":
        raise StoreUnusable(f"{path} is in use by another program")


def _copy(
    path: Path, source: Recovered, sealer: Sealer, idem_key: bytes, progress: Progress
) -> None:
    pending = pending_path(path)
    mark = _mark(source, sealer)
    if not _is_of(pending, mark):
        for suffix in ("", "-journal"):
            pending.with_name(pending.name + suffix).unlink(missing_ok=True)
        create_file(pending, sealer.vault_id)
    with (
        closing(sqlite3.connect(pending, isolation_level=None)) as target,
        closing(open_for_reading(path)) as connection,
    ):
        target.execute("PRAGMA synchronous = FULL")
        target.execute("PRAGMA secure_delete = ON")
        target.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (SOURCE_META, mark))
        while (first := _next_commit(target)) <= source.commit:
            last = min(first + COMMITS_AT_ONCE - 1, source.commit)
            target.execute("BEGIN IMMEDIATE")
            bounds = _copy_frames(path, connection, target, (first, last))
            _copy_payloads(connection, target, sealer, idem_key, bounds)
            target.execute("COMMIT")
            progress("copying", last, source.commit)
        target.execute("BEGIN IMMEDIATE")
        _copy_rest(connection, target)
        for log_id, seq in source.erasures:
            erase_row(target, find_row_id(target, log_id, seq))
        target.execute("COMMIT")


def _mark(source: Recovered, sealer: Sealer) -> bytes:
    """Name the file that is copied, and the vault: a pending copy of another is begun anew."""
    roots = ",".join(f"{origin}={head.root.hex()}" for origin, head in sorted(source.heads.items()))
    text = f"{source.epoch}:{source.commit}:{sealer.vault_id}:{roots}"
    return hashlib.sha256(text.encode()).digest()


def _is_of(pending: Path, mark: bytes) -> bool:
    if not pending.exists():
        return False
    try:
        with closing(sqlite3.connect(pending, isolation_level=None)) as target:
            row = target.execute("SELECT value FROM meta WHERE name = ?", (SOURCE_META,)).fetchone()
    except sqlite3.DatabaseError:
        return False  # it was cut off before it had its tables
    return row is not None and row[0] == mark


def _next_commit(target: sqlite3.Connection) -> int:
    (last,) = target.execute("SELECT coalesce(max(commit_no), 0) FROM frame").fetchone()
    return int(last) + 1


def _copy_frames(
    path: Path,
    connection: sqlite3.Connection,
    target: sqlite3.Connection,
    commits: tuple[int, int],
) -> tuple[int, int]:
    """Carry the frames over, and return the bounds of their payloads' row numbers."""
    rows = connection.execute("SELECT * FROM frame WHERE commit_no BETWEEN ? AND ?", commits)
    target.executemany("INSERT INTO frame VALUES (?, ?, ?)", rows)
    for frame in read_frames(path, target, commits[0]):
        for position, batch in enumerate(frame.batches()):
            write_indexes(target, frame.commit, position, batch)
    return FrameBatch.first_id(commits[0]), FrameBatch.first_id(commits[1] + 1) - 1


def _copy_payloads(
    connection: sqlite3.Connection,
    target: sqlite3.Connection,
    sealer: Sealer,
    idem_key: bytes,
    bounds: tuple[int, int],
) -> None:
    """Seal the payloads between two row numbers, and index whom they name."""
    payloads = connection.execute(
        "SELECT id, salt, body FROM payload WHERE id BETWEEN ? AND ?", bounds
    ).fetchall()
    target.executemany("INSERT INTO payload VALUES (?, ?, ?)", sealer.seal(payloads))
    subjects = [
        (hash_subject(idem_key, subject), row_id)
        for row_id, _, payload in payloads
        for subject in find_subjects(payload)
    ]
    target.executemany("INSERT INTO subject VALUES (?, ?)", subjects)


def _read_idem_key(path: Path, connection: sqlite3.Connection, source: Recovered) -> bytes:
    sql = "SELECT value FROM meta WHERE name = ?"
    row = connection.execute(sql, (IDEM_KEY_META,)).fetchone()
    if row is None and source.commit > 0:
        raise StoreUnusable(f"{path} has receipts and has lost its secret for their keys")
    return b"" if row is None else bytes(row[0])


def _copy_rest(connection: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Carry over what is no receipt; again after a cut, hence the replacing."""
    for table in _CARRIED:
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - the tables are ours
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            target.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608
    meta = connection.execute("SELECT * FROM meta WHERE name != ?", (VAULT_META,)).fetchall()
    target.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)
    fence = connection.execute("SELECT * FROM fence").fetchone()
    target.execute("INSERT OR REPLACE INTO fence VALUES (?, ?, ?, ?)", fence)


def _expect_equal(path: Path, source: Recovered, sealer: Sealer, progress: Progress) -> None:
    """Prove the new file, and open every payload in it: it must be what was in the old one."""
    pending = pending_path(path)
    copied = recover(pending)
    differences = [
        name
        for name, old, new in (
            ("epoch", source.epoch, copied.epoch),
            ("commit", source.commit, copied.commit),
            ("logs", source.heads, copied.heads),
            ("indexes", True, copied.indexes_hold),
            ("payload key", sealer.vault_id, copied.vault_id),
        )
        if old != new
    ]
    if differences:
        raise StoreUnusable(f"{pending} is no copy of {path}: {', '.join(differences)} differ")
    with (
        closing(open_for_reading(path)) as connection,
        closing(open_for_reading(pending)) as target,
    ):
        erased = {find_row_id(target, *place) for place in source.erasures}
        sealed = target.execute("SELECT id, key, body FROM payload ORDER BY id")
        done, total = 0, _count(connection, "payload")
        for row_id, salt, payload in _read_payloads(connection):
            done += 1
            if row_id in erased:
                continue
            row = next(sealed, None)
            if row is None or row[0] != row_id or sealer.open(row) != (salt, payload):
                raise StoreUnusable(f"{pending} is no copy of {path}: payload {row_id} differs")
            if done % 10_000 == 0:
                progress("comparing", done, total)
        if next(sealed, None) is not None:
            raise StoreUnusable(f"{pending} is no copy of {path}: it has a payload more")
        progress("comparing", total, total)
