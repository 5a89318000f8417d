"""A payload's end on disk: its row, which holds the only copy of its key, and who it named.

`secure_delete` overwrites the row's bytes, and `drain_log` the copies of its page that the
write-ahead log still has.
"""

from __future__ import annotations

import sqlite3

from autonomics.storage.frame import decode_frame


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
