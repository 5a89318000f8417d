# ruff: noqa: ASYNC240 (the files of a test are small, and nothing else runs beside it)
"""A file that schema 1 wrote (`old/schema-1.sqlite`) is brought forward, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from autonomics.errors import StoreUnusable
from autonomics.receipts.entry import hash_idem
from autonomics.receipts.log import LogHead
from autonomics.receipts.store import Commit, Committed
from autonomics.receipts.subject import hash_subject
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite import SqliteStore
from autonomics.storage.sqlite_migration import (
    Migration,
    Progress,
    finish_migration,
    migrate,
    outgoing_path,
    pending_path,
)
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import ACME, IDEM_KEY, ZETA, grow, make_entry

OLD = Path(__file__).parent / "old" / "schema-1.sqlite"
SEALER = Sealer(FixedVault())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(OLD, tmp_path / "ledger.sqlite"))


def edit(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(sql, values)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def texts(payloads: list[bytes | None]) -> list[str]:
    return ["erased" if data is None else data.decode() for data in payloads]


async def expect_migrated(path: Path) -> None:
    """Open the store and look at all that the old file had."""
    store = SqliteStore(path, FixedVault())
    fence = await store.open()
    assert fence.commit == 8
    assert fence.epoch > 1
    acme = await store.read(ACME, 0, 100)
    zeta = await store.read(ZETA, 0, 100)
    said = [f"payload {number} of alice@example.com" for number in range(6)]
    assert texts([r.payload for r in zeta[1:]]) == said
    assert (
        texts([r.payload for r in acme[1:]])
        == [
            said[0],
            "erased",
            "erased",  # its erasure stood in the log, and a crash had kept the payload
            *said[3:],
            "asked",
            "asked",
        ]
    )
    assert (await store.head(ACME)).root.hex() == ROOT
    assert await store.latest_checkpoint(ACME) is not None
    assert await store.line_generation() == 3
    assert [key.id for key in await store.keys()] == ["k1"]
    assert await store.get_meta("idem_key") == IDEM_KEY
    assert await store.find_idem(ZETA, hash_idem(IDEM_KEY, "5")) == 6
    named = await store.find_subject(hash_subject(IDEM_KEY, "alice@example.com"))
    assert named == [(ACME, seq) for seq in (1, 4, 5, 6)] + [(ZETA, seq) for seq in range(1, 7)]
    batch = grow(await store.head(ACME), [make_entry("new")], fence.epoch)
    (result,) = (await store.commit(Commit(fence, (batch,)))).results
    assert isinstance(result, Committed)
    await store.close()


def root_of_old() -> str:
    """Root of ACME's log, from the old file's leaves alone."""
    from autonomics.receipts import verify
    from autonomics.receipts.merkle import Tree
    from autonomics.storage.sqlite_recovery import read_frames

    with closing(sqlite3.connect(f"{OLD.as_uri()}?immutable=1", uri=True)) as connection:
        leaves = [
            leaf
            for frame in read_frames(OLD, connection)
            for batch in frame.batches()
            if batch.log_id == 1
            for leaf in batch.leaves
        ]
    return Tree([verify.leaf_hash(leaf) for leaf in leaves]).root().hex()


ROOT = root_of_old()


async def test_an_old_file_is_refused_until_it_is_migrated(path: Path) -> None:
    before = snapshot(path.parent)
    with pytest.raises(StoreUnusable, match="has schema 1.*run `autonomics store migrate`"):
        await SqliteStore(path, FixedVault()).open()
    assert snapshot(path.parent) == before


async def test_a_migrated_file_has_all_that_the_old_one_had(path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    done = migrate(path, SEALER, progress=lambda step, done, of: steps.append((step, done, of)))
    assert done == Migration(
        before=1, after=2, logs=2, receipts=16, payloads=15, file_bytes=OLD.stat().st_size
    )
    assert [step for step, *_ in steps] == ["proving", "copying", "comparing", "replaced"]
    assert all(0 < count <= total for _, count, total in steps)
    assert [file.name for file in path.parent.iterdir()] == ["ledger.sqlite"]
    assert path.stat().st_mode & 0o777 == 0o600
    await expect_migrated(path)


async def test_nothing_of_a_payload_is_in_the_clear_afterwards(path: Path) -> None:
    assert b"alice@example.com" in path.read_bytes()
    migrate(path, SEALER)
    assert all(b"alice" not in data for data in snapshot(path.parent).values())


def test_the_old_bytes_are_overwritten_before_they_are_let_go(path: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    held = tmp_path / "else" / "held"
    held.hardlink_to(path)  # the same bytes under a second name, which stays
    migrate(path, SEALER)
    assert held.read_bytes() == bytes(OLD.stat().st_size)


def test_a_dry_run_proves_and_changes_nothing(path: Path) -> None:
    before = snapshot(path.parent)
    done = migrate(path, SEALER, dry_run=True)
    assert (done.before, done.after, done.receipts) == (1, 2, 16)
    assert snapshot(path.parent) == before


async def test_a_migrated_file_is_left_as_it_is(path: Path) -> None:
    migrate(path, SEALER)
    before = snapshot(path.parent)
    done = migrate(path, SEALER)
    assert (done.before, done.after) == (2, 2)
    assert snapshot(path.parent) == before


def test_a_newer_file_is_refused(path: Path) -> None:
    edit(path, "PRAGMA user_version = 3")
    before = snapshot(path.parent)
    with pytest.raises(StoreUnusable, match="schema 3, this program knows up to 2: upgrade it"):
        migrate(path, SEALER)
    assert snapshot(path.parent) == before


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="there is no store at"):
        migrate(tmp_path / "none", SEALER)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE payload SET body = x'00' WHERE id = (1 << 20) | 1", f"payload of {ACME}#1 was"),
        ("INSERT INTO payload VALUES (5, zeroblob(32), x'00')", "belongs to no receipt"),
        ("DELETE FROM frame WHERE commit_no = 2", "frame 2 is missing"),
        ("DELETE FROM meta WHERE name = 'idem_key'", "lost its secret"),
        ("CREATE TABLE mine (id INTEGER)", "another schema"),
    ],
)
def test_a_file_that_is_not_whole_stays_as_it_was(path: Path, sql: str, words: str) -> None:
    edit(path, sql)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=words):
        migrate(path, SEALER)
    assert path.read_bytes() == before


async def test_a_damaged_index_of_the_old_file_does_no_harm(path: Path) -> None:
    edit(path, "DELETE FROM span")
    migrate(path, SEALER)
    await expect_migrated(path)


def test_a_file_in_use_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM fence").fetchall()
        with pytest.raises((StoreUnusable, sqlite3.OperationalError), match="in use|locked"):
            migrate(path, SEALER)


async def test_a_log_beside_the_old_file_is_read_and_never_meets_the_new_one(
    tmp_path: Path, path: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE fence SET line_generation = 2")
        other.execute("UPDATE fence SET line_generation = 3")
        crashed = tmp_path / "crashed"
        crashed.mkdir()
        for name, data in snapshot(tmp_path).items():
            (crashed / name).write_bytes(data)
    assert (crashed / "ledger.sqlite-wal").stat().st_size > 0
    migrate(crashed / path.name, SEALER)
    assert [file.name for file in crashed.iterdir()] == ["ledger.sqlite"]
    await expect_migrated(crashed / path.name)


async def test_a_pending_copy_of_another_file_or_vault_is_begun_anew(path: Path) -> None:
    other = path.with_name("other.sqlite")
    shutil.copy(OLD, other)
    with pytest.raises(ZeroDivisionError):
        migrate(other, Sealer(FixedVault("other")), progress=stop_at("copying"))
    pending_path(other).rename(pending_path(path))
    other.unlink()
    migrate(path, SEALER)
    await expect_migrated(path)


async def test_a_pending_copy_goes_on_where_it_stopped(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        migrate(path, SEALER, progress=stop_at("copying"))
    half = pending_path(path).read_bytes()
    steps: list[str] = []
    migrate(path, SEALER, progress=lambda step, done, of: steps.append(step))
    assert b"alice" not in half
    assert "copying" not in steps
    await expect_migrated(path)


def stop_at(step: str) -> Progress:
    def say(name: str, done: int, total: int) -> None:
        if name == step:
            raise ZeroDivisionError

    return say


async def test_a_copy_that_differs_is_never_put_in_place(path: Path) -> None:
    def spoil(step: str, done: int, total: int) -> None:
        if step == "copying":
            edit(pending_path(path), "DELETE FROM payload WHERE id = (SELECT min(id) FROM payload)")

    with pytest.raises(StoreUnusable, match="no copy of.*payload 1048576 differs"):
        migrate(path, SEALER, progress=spoil)
    assert not pending_path(path).exists()
    migrate(path, SEALER)
    await expect_migrated(path)


# Kills itself at the n-th system call that changes the folder, counted by a wrapper around them.
MIGRATOR = """
import os, signal, sys
from pathlib import Path
from autonomics.storage import sqlite_migration
from autonomics.storage.seal import Sealer
from autonomics.testing.fixed_vault import FixedVault

left = int(sys.argv[2])

def count(event, arguments):
    global left
    if event in ("os.link", "os.rename", "os.remove", "open", "sqlite3.connect"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sqlite_migration.COMMITS_AT_ONCE = 2
sealer = Sealer(FixedVault())
sys.addaudithook(count)
def say(*step):
    count("open", ())
sqlite_migration.migrate(Path(sys.argv[1]), sealer, progress=say)
"""


def migrate_and_kill(path: Path, at: int) -> int:
    return subprocess.run(
        [sys.executable, "-c", MIGRATOR, str(path), str(at)], check=False
    ).returncode


async def test_a_kill_at_any_moment_leaves_a_file_that_can_be_migrated(path: Path) -> None:
    """Each run is killed one step later than the one before, on whatever it left behind."""
    kills = 0
    while True:
        code = migrate_and_kill(path, kills)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        kills += 1
    assert kills > 10
    assert not outgoing_path(path).exists()
    await expect_migrated(path)


@pytest.mark.parametrize("kill_at", range(0, 40, 3))
async def test_a_kill_of_a_first_run_is_made_good_by_the_second(path: Path, kill_at: int) -> None:
    assert migrate_and_kill(path, kill_at) in (0, -signal.SIGKILL)
    migrate(path, SEALER)
    await expect_migrated(path)
    assert all(b"alice" not in data for data in snapshot(path.parent).values())


async def test_an_opening_overwrites_what_a_cut_off_migration_left(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        migrate(path, SEALER, progress=stop_at("replaced"))
    assert outgoing_path(path).exists()
    await expect_migrated(path)
    assert not outgoing_path(path).exists()


def test_the_link_of_a_cut_off_migration_is_never_overwritten(path: Path) -> None:
    """The second name of a file that is still in place: to overwrite it would destroy the store."""
    outgoing_path(path).hardlink_to(path)
    finish_migration(path)
    migrate(path, SEALER)
    assert hashlib.sha256(OLD.read_bytes()).digest() != hashlib.sha256(path.read_bytes()).digest()


async def test_an_empty_old_store_is_migrated(path: Path) -> None:
    for table in ("frame", "payload", "span", "idem", "checkpoint", "log", "meta"):
        edit(path, f"DELETE FROM {table}")
    edit(path, "UPDATE fence SET commit_no = 0")
    assert migrate(path, SEALER).receipts == 0
    store = SqliteStore(path, FixedVault())
    await store.open()
    assert await store.heads() == []
    assert await store.head(ACME) == LogHead.empty(ACME)
    await store.close()
