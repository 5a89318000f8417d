"""The SQLite file: its tables, its marks, and the check that it is ours before a write."""

from __future__ import annotations

import os
import re
import sqlite3
import struct
from pathlib import Path

from autonomics.errors import StoreUnusable

APPLICATION_ID = 0x41544E4D  # "ATNM"
SCHEMA_VERSION = 2
VAULT_META = "payload_key"
_ERROR_CODE = re.compile(r"error code=(\d+)")

# `frame` is the truth; `span` and `idem` are indexes over it; a payload stands in a row of its own,
# with its wrapped key, so that it can be erased; `subject` says whom it names, as long as it is
# there. `log` gives each origin a short number.
_SHARED_TABLES = (
    (
        "CREATE TABLE fence (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL,"
        " commit_no INTEGER NOT NULL, line_generation INTEGER NOT NULL) STRICT"
    ),
    "CREATE TABLE log (id INTEGER PRIMARY KEY, origin TEXT NOT NULL UNIQUE) STRICT",
    (
        "CREATE TABLE frame (commit_no INTEGER PRIMARY KEY, body BLOB NOT NULL,"
        " digest BLOB NOT NULL) STRICT"
    ),
    (
        "CREATE TABLE span (log_id INTEGER NOT NULL, first_seq INTEGER NOT NULL,"
        " commit_no INTEGER NOT NULL, position INTEGER NOT NULL,"
        " PRIMARY KEY (log_id, first_seq)) STRICT, WITHOUT ROWID"
    ),
    (
        "CREATE TABLE idem (log_id INTEGER NOT NULL, hash BLOB NOT NULL, seq INTEGER NOT NULL,"
        " PRIMARY KEY (log_id, hash)) STRICT, WITHOUT ROWID"
    ),
    (
        "CREATE TABLE checkpoint (log_id INTEGER NOT NULL, size INTEGER NOT NULL,"
        " note BLOB NOT NULL, PRIMARY KEY (log_id, size)) STRICT, WITHOUT ROWID"
    ),
    (
        "CREATE TABLE api_key (id TEXT PRIMARY KEY, hash TEXT NOT NULL, role TEXT NOT NULL,"
        " tenant TEXT, created_at TEXT NOT NULL, revoked_at TEXT) STRICT, WITHOUT ROWID"
    ),
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
)
TABLES = (
    *_SHARED_TABLES,
    ("CREATE TABLE payload (id INTEGER PRIMARY KEY, key BLOB NOT NULL, body BLOB NOT NULL) STRICT"),
    (
        "CREATE TABLE subject (hash BLOB NOT NULL, payload_id INTEGER NOT NULL,"
        " PRIMARY KEY (hash, payload_id)) STRICT, WITHOUT ROWID"
    ),
)
# What earlier versions wrote: they are read to be migrated, and never written.
TABLES_OF = {
    1: (
        *_SHARED_TABLES,
        (
            "CREATE TABLE payload (id INTEGER PRIMARY KEY, salt BLOB NOT NULL, body BLOB NOT NULL)"
            " STRICT"
        ),
    ),
    SCHEMA_VERSION: TABLES,
}


def check_header(path: Path) -> bool:
    """Look at the first bytes, without SQLite; False if there is no file yet.

    StoreUnusable if it is another program's, or a newer version's.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return False
    if not header:
        return False
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise StoreUnusable(f"{path} is not a store of autonomics: it is no SQLite file")
    (version,) = struct.unpack_from(">I", header, 60)
    (application,) = struct.unpack_from(">I", header, 68)
    check_marks(path, application, version)
    return True


def read_version(path: Path) -> int:
    """Return the schema of a store's file, which may be an earlier version's."""
    try:
        check_header(path)
    except OldStore as error:
        return error.version
    return SCHEMA_VERSION


class OldStore(StoreUnusable):
    """The file is ours, and an earlier version's."""

    def __init__(self, path: Path, version: int) -> None:
        super().__init__(
            f"{path} has schema {version}, this program writes {SCHEMA_VERSION}:"
            f" run `autonomics store migrate` first"
        )
        self.version = version


def check_marks(path: Path, application: int, version: int) -> None:
    """Compare the marks that the file carries with ours."""
    if application != APPLICATION_ID:
        raise StoreUnusable(f"{path} is not a store of autonomics: another program made it")
    if version > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} has schema {version}, this program knows up to {SCHEMA_VERSION}: upgrade it"
        )
    if version not in TABLES_OF:
        raise StoreUnusable(f"{path} has schema {version}, which no release ever wrote")
    if version != SCHEMA_VERSION:
        raise OldStore(path, version)


def check_schema(path: Path, connection: sqlite3.Connection, schema: int = SCHEMA_VERSION) -> None:
    """Hold marks, tables and page structure to what we wrote, or an earlier version did."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) != (APPLICATION_ID, schema):
        check_marks(path, application, version)
    rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    found = {sql for (sql,) in rows}
    if difference := found.symmetric_difference(TABLES_OF[schema]):
        raise StoreUnusable(f"{path} has another schema: {min(difference)[:60]!r}")
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    code = _ERROR_CODE.search(result)
    if code is not None and int(code[1]) & 0xFF == sqlite3.SQLITE_IOERR:
        # The disk, and not the content: another try may succeed.
        raise sqlite3.OperationalError(f"disk I/O error: {' '.join(result.split())}")
    if result != "ok":
        raise StoreUnusable(f"{path} is corrupted: {' '.join(result.split())}")


def create_file(path: Path, vault_id: str) -> None:
    """Make the file, readable by its owner alone, with its tables: whole, or not at all.

    It is bound to the vault that its payloads' keys are wrapped under.
    """
    unborn = path.with_name(f"{path.name}.unborn")
    for left in (unborn, unborn.with_name(f"{unborn.name}-journal")):
        left.unlink(missing_ok=True)
    os.close(os.open(unborn, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(unborn, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for table in TABLES:
            connection.execute(table)
        connection.execute("INSERT INTO fence VALUES (1, 0, 0, 0)")
        connection.execute("INSERT INTO meta VALUES (?, ?)", (VAULT_META, vault_id.encode()))
        connection.execute("COMMIT")
    finally:
        connection.close()
    unborn.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a new file's name is only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open so that nothing on disk changes: after a clean end not even a -shm file is made."""
    wal = path.with_name(path.name + "-wal")
    needs_wal = wal.exists() and wal.stat().st_size > 0
    mode = "mode=ro" if needs_wal else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open as the one writer: write-ahead log, every commit synced, erased rows overwritten."""
    # Trio may run the jobs in turn on several threads; a limiter keeps them one at a time.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection
