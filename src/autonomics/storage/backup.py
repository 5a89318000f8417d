"""Copies of a store that verify, and the way back from one.

A backup is the file alone, taken in one read while the store may go on; the keys are not in it. A
restore proves it, holds it against all that is known of the logs, carries out again the erasures
that came after it, and only then puts it in place. What stood there is kept beside it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import attrs

from autonomics.errors import InvalidInput, StoreUnusable
from autonomics.receipts import canonical
from autonomics.receipts.checkpoint import Checkpoint, checkpoint_of, contradicts
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import append, count_salts
from autonomics.receipts.store import IDEM_KEY_META, Commit, Committed, make_batch
from autonomics.storage.erasure import Erased, read_erasures
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite_file import StoreFile
from autonomics.storage.sqlite_recovery import Recovered, recover
from autonomics.storage.sqlite_schema import check_header, sync_folder

RESTORE_TYPE: Final = "autonomics.erasure/1"
RESTORE_ACTOR: Final = "restore"
ERASED_AT_ONCE: Final = 256


@attrs.frozen(kw_only=True)
class Copied:
    """What a backup has, or a restore has put in place; `erased` were erased again."""

    logs: int
    receipts: int
    file_bytes: int
    erased: int = 0
    standing: Literal["none", "compared", "unreadable"] = "none"
    """What stood where it was restored to."""


def back_up(path: Path, target: Path) -> Copied:
    """Write a copy of the store as it is at one moment, and prove it.

    StoreUnusable if there is no store, or the copy does not verify; InvalidInput if the target is
    taken. Nothing is left at the target then.
    """
    if not path.exists() or not check_header(path):
        raise StoreUnusable(f"there is no store at {path}")
    if target.exists():
        raise InvalidInput.expected("backup", "a new file", str(target))
    pending = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(pending, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _copy(path, pending)
        found = recover(pending)
        _sync_file(pending)
        target.hardlink_to(pending)  # not a rename, which would replace what came meanwhile
        sync_folder(target.absolute().parent)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            pending.with_name(pending.name + suffix).unlink(missing_ok=True)
    return _describe(target, found)


def _copy(path: Path, pending: Path) -> None:
    # Not `open_for_reading`: a file that somebody writes to may not be read as if it stood still.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10.0)) as source,
        closing(sqlite3.connect(pending, isolation_level=None)) as copy,
    ):
        source.backup(copy)  # all pages in one read: a step at a time would begin anew on a write
        copy.execute("PRAGMA journal_mode = DELETE")


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _describe(path: Path, found: Recovered) -> Copied:
    return Copied(
        logs=len(found.heads),
        receipts=sum(head.size for head in found.heads.values()),
        file_bytes=path.stat().st_size,
    )


def restore(
    backup: Path,
    path: Path,
    sealer: Sealer,
    *,
    journal: Path,
    known: Sequence[Checkpoint] = (),
    now: datetime,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Copied:
    """Put a backup in the store's place; whoever calls holds the data folder.

    StoreUnusable, with nothing changed, if the backup does not verify, is under another payload
    key, or ends before what a known checkpoint or the store that stands here says of a log.
    """
    if not backup.exists() or not check_header(backup):
        raise StoreUnusable(f"there is no backup at {backup}")
    kept = path.with_name(f"{path.name}.replaced")
    if kept.exists() and not path.exists():
        _move(kept, path)  # a restore was cut off between its two renames
    if kept.exists():
        raise StoreUnusable(f"{kept} is there from an earlier restore: move it away first")
    pending = path.with_name(f"{path.name}.restoring")
    for suffix in ("", "-wal", "-shm", "-journal"):
        pending.with_name(pending.name + suffix).unlink(missing_ok=True)
    try:
        shutil.copyfile(backup, pending)
        pending.chmod(0o600)
        found = recover(pending)
        if found.vault_id != sealer.vault_id:
            raise StoreUnusable(
                f"{backup} has payloads under key {found.vault_id}, the key here is"
                f" {sealer.vault_id}: put the right one back from its own backup"
            )
        standing = _read_standing(path)
        file = StoreFile(pending, sealer)
        file.open()
        try:
            _expect_nothing_newer(backup, file, known, standing)
            erased = _erase_again(file, pending, read_erasures(journal), now, random_bytes)
        finally:
            file.close()
        restored = recover(pending)
        _sync_file(pending)
    except BaseException:
        for suffix in ("", "-wal", "-shm", "-journal"):
            pending.with_name(pending.name + suffix).unlink(missing_ok=True)
        raise
    had_store = path.exists()
    _put_in_place(pending, path, kept)
    state: Literal["none", "compared", "unreadable"] = "none"
    if had_store:
        state = "unreadable" if standing is None else "compared"
    return attrs.evolve(_describe(path, restored), erased=erased, standing=state)


def _read_standing(path: Path) -> Recovered | None:
    """Prove what stands here; None if nothing does, or nothing that can be read."""
    try:
        return recover(path) if path.exists() and check_header(path) else None
    except (StoreUnusable, sqlite3.Error):
        return None


def _expect_nothing_newer(
    backup: Path, file: StoreFile, known: Sequence[Checkpoint], standing: Recovered | None
) -> None:
    """Refuse a backup that lacks what is known: its log would go on differently, and be a fork."""
    heads = () if standing is None else standing.heads.values()
    said = [(checkpoint, "a known checkpoint has") for checkpoint in known]
    said += [(checkpoint_of(head), "the store that stands here has") for head in heads if head.size]
    for checkpoint, who in said:
        size = file.head(checkpoint.origin).size
        if checkpoint.size > size:
            raise StoreUnusable(
                f"{backup} has {size} receipts of {checkpoint.origin}, {who} {checkpoint.size}:"
                " the log would be rolled back"
            )
        problem = contradicts(checkpoint, file.leaf_hashes(checkpoint.origin, size))
        if problem is not None:
            raise StoreUnusable(f"{backup} has another {checkpoint.origin}: {problem}")


def _erase_again(
    file: StoreFile,
    path: Path,
    erasures: Sequence[Erased],
    now: datetime,
    random_bytes: Callable[[int], bytes],
) -> int:
    """Carry out the erasures that the backup does not know of, each with a receipt of its own."""
    key = file.get_meta(IDEM_KEY_META)
    left = [each for each in dict.fromkeys(erasures) if _is_left(file, each)]
    if not left:
        return 0
    if key is None:
        raise StoreUnusable(f"{path} has receipts and has lost its secret for their keys")
    payload = canonical.encode(
        {"by": RESTORE_ACTOR, "event": "erased", "reason": "was erased before the restore"}
    )
    for origin in dict.fromkeys(each.origin for each in left):
        seqs = [each.seq for each in left if each.origin == origin]
        for first in range(0, len(seqs), ERASED_AT_ONCE):
            entries = [
                Entry(
                    kind="erasure",
                    actor=RESTORE_ACTOR,
                    payload=payload,
                    payload_type=RESTORE_TYPE,
                    ref=seq,
                )
                for seq in seqs[first : first + ERASED_AT_ONCE]
            ]
            head, fence = file.head(origin), file.read_fence()
            count = count_salts(head, entries, fence.epoch)
            salts = [random_bytes(32) for _ in range(count)]
            after, receipts = append(head, entries, now, salts, key, epoch=fence.epoch)
            batch = make_batch(head, after, entries, receipts, key)
            (result,) = file.commit(Commit(fence, (batch,))).results
            assert isinstance(result, Committed), result
    return len(left)


def _is_left(file: StoreFile, erased: Erased) -> bool:
    """Tell whether the payload is here; after a roll-back the seq may be another receipt's."""
    found = file.read(erased.origin, erased.seq, 1)
    return any(r.payload is not None and r.leaf_hash == erased.leaf_hash for r in found)


def _put_in_place(pending: Path, path: Path, kept: Path) -> None:
    """Move what stands there aside, its log with it: beside another file it would be taken for its.

    A cut in between leaves no store in place; the next restore puts the old one back and goes on.
    """
    _move(path, kept)
    pending.rename(path)
    sync_folder(path.parent)


def _move(path: Path, target: Path) -> None:
    for suffix in ("-shm", "-wal", ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(target.with_name(target.name + suffix))
