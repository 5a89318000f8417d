"""A payload's end on disk: its row, which holds the only copy of its key, and who it named.

`secure_delete` overwrites the row's bytes, and `drain_log` the copies of its page that the
write-ahead log still has.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import attrs

from autonomics.storage.frame import decode_frame
from autonomics.storage.sqlite_schema import sync_folder

_LINE = re.compile(r"([a-z0-9][a-z0-9._~:/-]{0,254}) ([0-9]{1,15}) ([0-9a-f]{64})")


@attrs.frozen
class Erased:
    """A receipt whose payload was erased."""

    origin: str
    seq: int
    leaf_hash: bytes


def find_row_id(connection: sqlite3.Connection, log_id: int, seq: int) -> int:
    """Return the row number of a receipt's payload; the receipt is there."""
    sql = (
        "SELECT commit_no, position, body, digest FROM span JOIN frame USING (commit_no)"
        " WHERE log_id = ? AND first_seq <= ? ORDER BY first_seq DESC LIMIT 1"
    )
    (row,) = connection.execute(sql, (log_id, seq)).fetchall()
    commit, position, body, digest = row
    return decode_frame(commit, body, digest).batch(position).payload_id(commit, seq)


def erase_row(connection: sqlite3.Connection, row_id: int) -> bool:
    """Delete a payload with its key and subjects; False if it was gone. In a transaction."""
    connection.execute("DELETE FROM subject WHERE payload_id = ?", (row_id,))
    return connection.execute("DELETE FROM payload WHERE id = ?", (row_id,)).rowcount > 0


def drain_log(connection: sqlite3.Connection) -> bool:
    """Write the log back into the file and empty it; False, at once, while a reader needs it."""
    (timeout_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    (row,) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute(f"PRAGMA busy_timeout = {int(timeout_ms)}")
    return bool(row[0] == 0)


def note_erasures(journal: Path, erased: Sequence[Erased]) -> None:
    """Write down what is about to be erased, apart from the store and synced: for a restore.

    Before the commit: what it fails to erase is then erased by the restore at the latest.
    """
    journal.parent.mkdir(mode=0o700, exist_ok=True)
    lines = "".join(
        f"{each.origin} {each.seq} {each.leaf_hash.hex()}\n" for each in erased
    ).encode()
    descriptor = os.open(journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        while lines:
            lines = lines[os.write(descriptor, lines) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(journal.parent)


def read_erasures(journal: Path) -> list[Erased]:
    """Read all that was ever erased; a line that a cut has torn is left out."""
    if not journal.exists():
        return []
    lines = journal.read_text("ascii", "replace").split("\n")
    rows = filter(None, map(_LINE.fullmatch, lines))
    return [Erased(row[1], int(row[2]), bytes.fromhex(row[3])) for row in rows]
