# ruff: noqa: ASYNC240 (the files of a test are small, and nothing else runs beside it)
"""A backup is the store at one moment; a restore never rolls a log back, nor an erasure."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autonomics.errors import InvalidInput, StoreUnusable
from autonomics.receipts import verify
from autonomics.receipts.checkpoint import Checkpoint, checkpoint_of
from autonomics.receipts.store import Commit, Fence, deployment_idem_key
from autonomics.storage import backup
from autonomics.storage.backup import Copied, back_up, restore
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite import SqliteStore
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import ACME, IDEM_KEY, NOW, ZETA, grow, make_entry

SEALER = Sealer(FixedVault())


class Place:
    """A data folder: the store, and beside it what was erased."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.path = folder / "ledger.sqlite"
        self.journal = folder / "keys" / "erased"

    def store(self) -> SqliteStore:
        return SqliteStore(self.path, FixedVault(), self.journal)

    def restore(self, file: Path, *known: Checkpoint) -> Copied:
        return restore(file, self.path, SEALER, journal=self.journal, known=known, now=NOW)

    def names(self) -> set[str]:
        return {file.name for file in self.folder.iterdir() if file.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "data")


async def write(store: SqliteStore, fence: Fence, *texts: str) -> Fence:
    await deployment_idem_key(store, IDEM_KEY)
    for text in texts:
        batches = tuple(
            [grow(await store.head(o), [make_entry(text)], fence.epoch) for o in (ACME, ZETA)]
        )
        fence = (await store.commit(Commit(fence, batches))).fence
    return fence


async def erase(store: SqliteStore, fence: Fence, seq: int) -> Fence:
    entry = make_entry("asked", kind="erasure", ref=seq)
    batch = grow(await store.head(ACME), [entry], fence.epoch)
    return (await store.commit(Commit(fence, (batch,)))).fence


async def texts_of(place: Place, origin: str = ACME) -> list[str]:
    """Open and verify; the payloads of `received` receipts."""
    store = place.store()
    await store.open()
    receipts = await store.read(origin, 0, 1000)
    check = verify.LogCheck(origin, [])
    for receipt in receipts:
        check.take(receipt.leaf)
        if receipt.salt is not None and receipt.payload is not None:
            check.check_payload(receipt.seq, receipt.salt, receipt.payload)
    check.finish()
    assert check.root_at(check.size) == (await store.head(origin)).root
    await store.close()
    return [
        "erased" if r.payload is None else r.payload.decode()
        for r in receipts
        if r.fields.kind == "received"
    ]


async def test_a_backup_of_a_store_at_work_is_its_state_at_one_moment(
    place: Place, tmp_path: Path
) -> None:
    store = place.store()
    fence = await write(store, await store.open(), "one", "two")
    done = back_up(place.path, tmp_path / "copy")
    assert done == Copied(logs=2, receipts=6, file_bytes=(tmp_path / "copy").stat().st_size)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    await write(store, fence, "three")
    await store.close()
    other = Place(tmp_path / "other")
    assert other.restore(tmp_path / "copy").standing == "none"
    assert await texts_of(other) == await texts_of(other, ZETA) == ["one", "two"]
    assert await texts_of(place) == ["one", "two", "three"]
    assert {file.name for file in tmp_path.iterdir()} == {"copy", "data", "other"}


async def test_a_restored_store_goes_on(place: Place, tmp_path: Path) -> None:
    store = place.store()
    await write(store, await store.open(), "one")
    await store.close()
    back_up(place.path, tmp_path / "copy")
    place.path.unlink()
    place.restore(tmp_path / "copy")
    store = place.store()
    fence = await store.open()
    assert fence.epoch == 3  # the restore was an opening too: nobody of before can write
    await write(store, fence, "two")
    await store.close()
    assert await texts_of(place) == ["one", "two"]


async def test_a_restore_never_rolls_the_store_that_stands_here_back(
    place: Place, tmp_path: Path
) -> None:
    store = place.store()
    fence = await write(store, await store.open(), "one")
    back_up(place.path, tmp_path / "copy")
    await write(store, fence, "two")
    await store.close()
    before = place.path.read_bytes()
    with pytest.raises(StoreUnusable, match="2 receipts.*stands here has 3.*rolled back"):
        place.restore(tmp_path / "copy")
    assert place.path.read_bytes() == before
    assert place.names() == {"ledger.sqlite"}


async def test_a_restore_over_an_equal_store_keeps_that_beside_it(
    place: Place, tmp_path: Path
) -> None:
    store = place.store()
    await write(store, await store.open(), "one")
    await store.close()
    back_up(place.path, tmp_path / "copy")
    assert place.restore(tmp_path / "copy").standing == "compared"
    assert place.names() == {"ledger.sqlite", "ledger.sqlite.replaced"}
    assert await texts_of(place) == ["one"]
    with pytest.raises(StoreUnusable, match="replaced is there from an earlier restore"):
        place.restore(tmp_path / "copy")


async def test_a_restore_that_was_cut_off_between_its_renames_is_run_again(
    place: Place, tmp_path: Path
) -> None:
    store = place.store()
    fence = await write(store, await store.open(), "one")
    back_up(place.path, tmp_path / "old")
    await write(store, fence, "two")
    back_up(place.path, tmp_path / "new")
    await store.close()
    place.path.rename(place.path.with_name("ledger.sqlite.replaced"))
    with pytest.raises(StoreUnusable, match="rolled back"):
        place.restore(tmp_path / "old")
    assert place.restore(tmp_path / "new").standing == "compared"
    assert await texts_of(place) == ["one", "two"]


async def test_a_damaged_store_is_replaced_and_told(place: Place, tmp_path: Path) -> None:
    store = place.store()
    await write(store, await store.open(), "one")
    await store.close()
    back_up(place.path, tmp_path / "copy")
    place.path.write_bytes(place.path.read_bytes()[:5000])
    assert place.restore(tmp_path / "copy").standing == "unreadable"
    assert await texts_of(place) == ["one"]


async def test_a_log_beside_the_old_store_does_not_meet_the_new_one(
    place: Place, tmp_path: Path
) -> None:
    store = place.store()
    fence = await write(store, await store.open(), "one")
    await store.close()
    back_up(place.path, tmp_path / "copy")
    store = place.store()
    await write(store, await store.open(), "two")
    crashed = Place(tmp_path / "crashed")
    for name in ("ledger.sqlite", "ledger.sqlite-wal"):
        shutil.copy(place.folder / name, crashed.folder / name)
    await store.close()
    crashed.path.write_bytes(crashed.path.read_bytes()[:5000])  # and the store itself is damaged
    crashed.restore(tmp_path / "copy")
    assert "ledger.sqlite-wal" not in crashed.names()
    assert await texts_of(crashed) == ["one"]
    assert fence.commit == 1


async def test_a_known_checkpoint_that_goes_further_refuses_the_backup(
    place: Place, tmp_path: Path
) -> None:
    store = place.store()
    fence = await write(store, await store.open(), "one")
    back_up(place.path, tmp_path / "copy")
    early = checkpoint_of(await store.head(ACME))
    await write(store, fence, "two")
    late = checkpoint_of(await store.head(ACME))
    await store.close()
    other = Place(tmp_path / "other")
    with pytest.raises(StoreUnusable, match="2 receipts.*known checkpoint has 3.*rolled back"):
        other.restore(tmp_path / "copy", early, late)
    forged = Checkpoint(ACME, 2, bytes(32))
    with pytest.raises(StoreUnusable, match=f"another {ACME}: root at size 2"):
        other.restore(tmp_path / "copy", forged)
    assert other.names() == set()
    other.restore(tmp_path / "copy", early)
    assert await texts_of(other) == ["one"]


async def test_what_was_erased_after_the_backup_is_erased_again(
    place: Place, tmp_path: Path
) -> None:
    store = place.store()
    fence = await write(store, await store.open(), "one", "two", "three")
    fence = await erase(store, fence, 1)
    back_up(place.path, tmp_path / "copy")
    fence = await erase(store, fence, 2)
    await write(store, fence, "four")
    await store.close()
    place.path.unlink()
    done = place.restore(tmp_path / "copy")
    assert done.erased == 1
    assert await texts_of(place) == ["erased", "erased", "three"]
    assert b"two" not in place.path.read_bytes()


async def test_an_erasure_of_a_receipt_that_was_lost_hits_no_other_one(
    place: Place, tmp_path: Path
) -> None:
    store = place.store()
    fence = await write(store, await store.open(), "one")
    back_up(place.path, tmp_path / "copy")
    fence = await write(store, fence, "lost")
    await erase(store, fence, 2)
    await store.close()
    place.path.unlink()
    assert place.restore(tmp_path / "copy").erased == 0
    store = place.store()
    await write(store, await store.open(), "other", "another")
    await store.close()
    back_up(place.path, tmp_path / "later")
    place.path.unlink()
    assert place.restore(tmp_path / "later").erased == 0
    assert await texts_of(place) == ["one", "other", "another"]


async def test_a_torn_line_of_the_journal_is_left_out(place: Place, tmp_path: Path) -> None:
    store = place.store()
    fence = await write(store, await store.open(), "one", "two")
    back_up(place.path, tmp_path / "copy")
    await erase(store, fence, 1)
    await store.close()
    assert place.journal.stat().st_mode & 0o777 == 0o600
    whole = place.journal.read_text()
    for torn in ("\0\0\n", f"{ACME} 2 00", f"{ACME} x {'0' * 64}\n", "\n \n"):
        place.journal.write_text(whole + torn)
        other = Place(tmp_path / "other")
        shutil.copytree(place.journal.parent, other.journal.parent)
        assert other.restore(tmp_path / "copy").erased == 1
        shutil.rmtree(other.folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("UPDATE frame SET body = x'00' WHERE commit_no = 1", "frame 1 was changed"),
        ("UPDATE meta SET value = x'30' WHERE name = 'payload_key'", "payloads under key 0"),
        ("PRAGMA user_version = 9", "upgrade it"),
    ],
)
async def test_a_backup_that_is_not_whole_changes_nothing(
    place: Place, tmp_path: Path, spoil: str, words: str
) -> None:
    store = place.store()
    await write(store, await store.open(), "one")
    await store.close()
    back_up(place.path, tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "copy", isolation_level=None)) as connection:
        connection.execute(spoil)
    before = place.path.read_bytes()
    with pytest.raises(StoreUnusable, match=words):
        place.restore(tmp_path / "copy")
    assert place.path.read_bytes() == before
    assert place.names() == {"ledger.sqlite"}


async def test_a_store_that_is_not_whole_gives_no_backup(place: Place, tmp_path: Path) -> None:
    store = place.store()
    await write(store, await store.open(), "one")
    await store.close()
    with closing(sqlite3.connect(place.path, isolation_level=None)) as connection:
        connection.execute("UPDATE frame SET body = x'00' WHERE commit_no = 1")
    with pytest.raises(StoreUnusable, match="frame 1 was changed"):
        back_up(place.path, tmp_path / "copy")
    assert {file.name for file in tmp_path.iterdir()} == {"data"}


async def test_a_backup_replaces_no_file(place: Place, tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="there is no store at"):
        back_up(place.path, tmp_path / "copy")
    store = place.store()
    await store.open()
    await store.close()
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(InvalidInput, match="expected backup to be a new file"):
        back_up(place.path, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"
    with pytest.raises(StoreUnusable, match="there is no backup at"):
        place.restore(tmp_path / "none")
    (tmp_path / "foreign").write_bytes(b"my diary\n" * 40)
    with pytest.raises(StoreUnusable, match="no SQLite file"):
        place.restore(tmp_path / "foreign")


async def test_many_erasures_are_carried_out_in_parts(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "ERASED_AT_ONCE", 2)
    store = place.store()
    fence = await write(store, await store.open(), *"abcde")
    back_up(place.path, tmp_path / "copy")
    for seq in range(1, 6):
        fence = await erase(store, fence, seq)
    await store.close()
    place.path.unlink()
    assert place.restore(tmp_path / "copy").erased == 5
    assert await texts_of(place) == ["erased"] * 5
    assert await texts_of(place, ZETA) == [*"abcde"]
