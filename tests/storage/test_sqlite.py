# ruff: noqa: ASYNC240 (the files of a test are small, and nothing else runs beside it)
from __future__ import annotations

import hashlib
import resource
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from autonomics.errors import InvalidInput, StoreUnavailable, StoreUnusable
from autonomics.receipts.checkpoint import checkpoint_of, sign_checkpoint
from autonomics.receipts.entry import hash_idem
from autonomics.receipts.log import LogHead
from autonomics.receipts.store import Commit, Committed, Fence, Store
from autonomics.storage.sqlite import SqliteStore
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import (
    ACME,
    IDEM_KEY,
    ZETA,
    StoreContract,
    UncheckedSigner,
    grow,
    make_entry,
)


class TestSqliteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "ledger.sqlite"

    def make_store(self) -> Store:
        return SqliteStore(self.path, FixedVault())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


async def fill(path: Path, commits: int = 4, *, sign_at: int | None = None) -> list[LogHead]:
    """Two logs, one receipt each per commit; a checkpoint of ACME after commit `sign_at`."""
    store = SqliteStore(path, FixedVault())
    fence = await store.open()
    for number in range(commits):
        entry = make_entry(f"payload {number}", idem=str(number))
        batches = tuple([grow(await store.head(o), [entry], fence.epoch) for o in (ACME, ZETA)])
        fence = (await store.commit(Commit(fence, batches))).fence
        if number == sign_at:
            head = checkpoint_of(await store.head(ACME))
            await store.save_checkpoints([await sign_checkpoint(head, UncheckedSigner())])
    heads = await store.heads()
    await store.close()
    return heads


def edit(path: Path, sql: str, *values: object) -> int:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(sql, values).rowcount
    finally:
        connection.close()


def select(path: Path, sql: str) -> tuple[bytes, ...]:
    connection = sqlite3.connect(path)
    try:
        (row,) = connection.execute(sql).fetchall()
    finally:
        connection.close()
    return tuple(row)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


async def expect_unusable(path: Path, words: str) -> None:
    before = snapshot(path.parent)
    store = SqliteStore(path, FixedVault())
    with pytest.raises(StoreUnusable, match=words) as caught:
        await store.open()
    assert "\n" not in str(caught.value)
    assert snapshot(path.parent) == before
    with pytest.raises(StoreUnavailable):
        await store.heads()


async def test_the_file_is_readable_by_its_owner_alone(path: Path) -> None:
    await fill(path)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_empty_file_is_taken_as_a_new_store(path: Path) -> None:
    path.touch()
    assert len(await fill(path)) == 2


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"my diary\n" * 40)
    await expect_unusable(path, "no SQLite file")


async def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    edit(path, "CREATE TABLE note (text TEXT)")
    await expect_unusable(path, "another program")


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    await fill(path)
    edit(path, "PRAGMA user_version = 7")
    await expect_unusable(path, "schema 7, this program knows up to 2")
    edit(path, "PRAGMA user_version = 0")
    await expect_unusable(path, "schema 0, which no release ever wrote")


async def test_a_changed_schema_is_refused_and_left_alone(path: Path) -> None:
    await fill(path)
    edit(path, "CREATE INDEX extra ON payload (key)")
    await expect_unusable(path, "another schema")


async def test_a_torn_page_is_refused_and_left_alone(path: Path) -> None:
    await fill(path, 40)
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = bytes(4096)
    path.write_bytes(data)
    await expect_unusable(path, "corrupted|malformed|torn|schema|missing|broken")


async def test_every_torn_page_is_refused_or_changes_no_receipt(path: Path) -> None:
    await fill(path, 12, sign_at=5)
    store = SqliteStore(path, FixedVault())
    await store.open()
    expected = [await store.read(origin, 0, 100) for origin in (ACME, ZETA)]
    await store.close()
    good = path.read_bytes()
    refused = 0
    for start in range(0, len(good), 4096):
        path.write_bytes(good[:start] + bytes(4096) + good[start + 4096 :])
        store = SqliteStore(path, FixedVault())
        try:
            await store.open()
            found = [await store.read(origin, 0, 100) for origin in (ACME, ZETA)]
        except StoreUnusable:
            refused += 1
        else:
            assert found == expected
        finally:
            await store.close()
    assert refused >= len(good) // 4096 - 2


async def test_an_edited_frame_is_refused(path: Path) -> None:
    await fill(path)
    half = "CAST(substr(body, 1, 40) AS BLOB)"
    assert edit(path, f"UPDATE frame SET body = {half} WHERE commit_no = 1")
    await expect_unusable(path, "frame 1 was changed or torn")


async def test_a_frame_edited_with_its_digest_is_named_by_log_and_seq(path: Path) -> None:
    await fill(path)
    (body,) = select(path, "SELECT body FROM frame WHERE commit_no = 2")
    changed = body.replace(b'"actor":"door"', b'"actor":"dOOr"', 1)
    assert changed != body
    digest = hashlib.sha256(changed).digest()
    edit(path, "UPDATE frame SET body = ?, digest = ? WHERE commit_no = 2", changed, digest)
    # The edited leaf is receipt 2 of the log; receipt 3 no longer continues it.
    await expect_unusable(path, f"{ACME} is broken at seq 3")


async def test_a_log_rewritten_from_its_start_differs_from_the_signed_root(tmp_path: Path) -> None:
    honest, forged = tmp_path / "a" / "l.sqlite", tmp_path / "b" / "l.sqlite"
    for path in (honest, forged):
        path.parent.mkdir()
    await fill(honest, 4, sign_at=2)
    store = SqliteStore(forged, FixedVault())
    fence = await store.open()
    for number in range(4):
        batch = grow(await store.head(ACME), [make_entry(f"forged {number}")], 1)
        fence = (await store.commit(Commit(fence, (batch,)))).fence
    await store.close()
    (note,) = select(honest, "SELECT note FROM checkpoint")
    edit(forged, "INSERT INTO checkpoint VALUES (1, 4, ?)", note)
    await expect_unusable(forged, f"{ACME} was changed before seq 4")


async def test_a_store_rolled_back_behind_a_checkpoint_is_refused(path: Path) -> None:
    await fill(path, 4, sign_at=3)
    edit(path, "DELETE FROM frame WHERE commit_no = 4")
    await expect_unusable(path, "rolled back: commit 4 has no frame")
    edit(path, "UPDATE fence SET commit_no = 3")
    await expect_unusable(path, f"rolled back: {ACME} ends at seq 3.*size 5 was signed")


async def test_a_missing_frame_is_refused(path: Path) -> None:
    await fill(path)
    edit(path, "DELETE FROM frame WHERE commit_no = 2")
    await expect_unusable(path, "frame 2 is missing")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DELETE FROM fence", "lost its fence"),
        ("DELETE FROM log WHERE id = 2", "unknown log"),
        ("UPDATE log SET origin = 'ledger.example/t/other' WHERE id = 1", "checkpoint of size 4"),
        ("UPDATE log SET origin = 'ledger.example/t/other' WHERE id = 2", "broken at seq 0"),
        ("UPDATE checkpoint SET size = 2", "checkpoint of size 2 was changed"),
        ("UPDATE checkpoint SET note = x'00'", "checkpoint"),
        ("UPDATE fence SET epoch = 0", "wrong epoch"),
    ],
)
async def test_an_edited_row_is_refused(path: Path, sql: str, words: str) -> None:
    await fill(path, 4, sign_at=2)
    assert edit(path, sql)
    await expect_unusable(path, words)


@pytest.mark.parametrize("column", ["key", "body"])
async def test_an_edited_payload_is_refused_when_it_is_read(path: Path, column: str) -> None:
    await fill(path)
    edit(
        path, f"UPDATE payload SET {column} = zeroblob(32) WHERE id = (SELECT min(id) FROM payload)"
    )
    store = SqliteStore(path, FixedVault())
    await store.open()
    with pytest.raises(StoreUnusable, match=f"payload of {ACME}#0 was changed"):
        await store.read(ACME, 0, 10)
    await store.close()


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM span",
        "UPDATE span SET position = 1 - position",
        "DELETE FROM idem WHERE seq = 2",
        "UPDATE idem SET seq = seq + 1",
    ],
)
async def test_a_damaged_index_is_rebuilt_from_the_frames(path: Path, sql: str) -> None:
    heads = await fill(path)
    assert edit(path, sql)
    store = SqliteStore(path, FixedVault())
    await store.open()
    assert await store.heads() == heads
    assert [r.seq for r in await store.read(ZETA, 0, 10)] == [0, 1, 2, 3, 4]
    for number in range(4):
        assert await store.find_idem(ACME, hash_idem(IDEM_KEY, str(number))) == number + 1
    await store.close()


@contextmanager
def files_limited_to(size_bytes: int) -> Generator[None, None, None]:
    """Let the system refuse to write beyond a size, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_after_a_failed_commit_the_object_is_dead_and_a_new_one_goes_on(path: Path) -> None:
    await fill(path, 1)
    store = SqliteStore(path, FixedVault())
    fence = await store.open()
    head = await store.head(ACME)
    big = grow(head, [make_entry("x" * 100_000)], fence.epoch)
    with files_limited_to(50_000), pytest.raises(StoreUnavailable, match="failed"):
        await store.commit(Commit(fence, (big,)))
    small = grow(head, [make_entry("x")], fence.epoch)
    for step in (store.commit(Commit(fence, (small,))), store.heads(), store.read(ACME, 0, 1)):
        with pytest.raises(StoreUnavailable, match="opened anew"):
            await step
    again = SqliteStore(path, FixedVault())
    fence = await again.open()
    assert fence == Fence(3, 1)
    batch = grow(await again.head(ACME), [make_entry("x")], fence.epoch)
    (result,) = (await again.commit(Commit(fence, (batch,)))).results
    assert isinstance(result, Committed)
    await again.close()


async def test_an_erased_payload_is_gone_from_the_file(path: Path) -> None:
    store = SqliteStore(path, FixedVault())
    fence = await store.open()
    secret = "the patient is called Alice"
    batch = grow(LogHead.empty(ACME), [make_entry(secret)], 1)
    fence = (await store.commit(Commit(fence, (batch,)))).fence
    why = attrs.evolve(make_entry("asked"), kind="erasure", ref=1)
    await store.commit(Commit(fence, (grow(batch.head, [why], 1),)))
    assert not any(secret.encode() in data for data in snapshot(path.parent).values())
    await store.close()
    assert not any(secret.encode() in data for data in snapshot(path.parent).values())


async def test_a_store_in_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="can't be opened"):
        await SqliteStore(tmp_path / "none" / "ledger.sqlite", FixedVault()).open()


async def test_a_frame_that_vanishes_under_an_open_store_is_told_when_it_is_read(
    path: Path,
) -> None:
    await fill(path)
    store = SqliteStore(path, FixedVault())
    await store.open()
    edit(path, "DELETE FROM frame WHERE commit_no = 2")
    assert len(await store.read(ACME, 0, 2)) == 2
    with pytest.raises(StoreUnusable, match="frame 2 is missing"):
        await store.read(ACME, 0, 3)
    await store.close()


async def test_a_store_is_opened_once(path: Path) -> None:
    store = SqliteStore(path, FixedVault())
    await store.open()
    with pytest.raises(InvalidInput, match="expected store to be not open yet"):
        await store.open()
    await store.close()


async def test_a_crash_leaves_a_log_beside_the_file_and_the_next_opening_reads_it(
    path: Path, tmp_path: Path
) -> None:
    heads = await fill(path, 2)
    store = SqliteStore(path, FixedVault())
    fence = await store.open()
    batch = grow(await store.head(ACME), [make_entry("late")], fence.epoch)
    await store.commit(Commit(fence, (batch,)))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name, data in snapshot(tmp_path).items():
        (crashed / name).write_bytes(data)
    await store.close()
    again = SqliteStore(crashed / path.name, FixedVault())
    await again.open()
    assert await again.heads() == [batch.head, heads[1]]
    await again.close()
