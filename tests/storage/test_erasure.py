# ruff: noqa: ASYNC221, ASYNC240 (the files of a test are small, and nothing else runs beside it)
"""What was erased is gone from the file and from the log beside it, whenever the process ends."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from autonomics.receipts import verify
from autonomics.receipts.store import Commit, Fence
from autonomics.receipts.subject import hash_subject
from autonomics.storage.sqlite import SqliteStore
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import ACME, IDEM_KEY, ZETA, grow, make_entry

ALICE = hash_subject(IDEM_KEY, "alice@example.com")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


async def fill(path: Path) -> tuple[SqliteStore, Fence]:
    """Ten receipts in two logs; the payload of ACME's third names Alice."""
    store = SqliteStore(path, FixedVault())
    fence = await store.open()
    for number in range(10):
        text = f"{number} of alice@example.com" if number == 2 else f"{number} of nobody"
        batches = tuple([grow(await store.head(o), [make_entry(text)], 1) for o in (ACME, ZETA)])
        fence = (await store.commit(Commit(fence, batches[: 1 + (number != 2)]))).fence
    return store, fence


def sealed_row(path: Path, row_id: int) -> list[bytes]:
    """Wrapped key and encrypted payload of a receipt, and what the index knows of it."""
    with closing(sqlite3.connect(path)) as connection:
        (row,) = connection.execute(
            "SELECT key, body FROM payload WHERE id = ?", (row_id,)
        ).fetchall()
        subjects = connection.execute(
            "SELECT hash FROM subject WHERE payload_id = ?", (row_id,)
        ).fetchall()
    return [*row, *(hashed for (hashed,) in subjects)]


def places(folder: Path, needles: list[bytes]) -> list[str]:
    """Where one of the needles is; part of one is enough."""
    return [
        file.name
        for file in sorted(folder.iterdir())
        for needle in needles
        if any(needle[start : start + 16] in file.read_bytes() for start in (0, len(needle) - 16))
    ]


async def erase(store: SqliteStore, fence: Fence, seq: int) -> Fence:
    entry = make_entry("asked", kind="erasure", ref=seq)
    batch = grow(await store.head(ACME), [entry], fence.epoch)
    return (await store.commit(Commit(fence, (batch,)))).fence


async def expect_whole(path: Path, erased: int) -> None:
    """Open anew: the log verifies, and one payload is missing for a reason."""
    store = SqliteStore(path, FixedVault())
    await store.open()
    assert await store.find_subject(ALICE) == []
    receipts = await store.read(ACME, 0, 100)
    check = verify.LogCheck(ACME, [])
    for receipt in receipts:
        check.take(receipt.leaf)
    assert check.root_at(check.size) == (await store.head(ACME)).root
    assert [r.seq for r in receipts if r.payload is None] == [erased]
    assert [r.fields.ref for r in receipts if r.fields.kind == "erasure"] == [erased]
    await store.close()


async def test_nothing_of_an_erased_payload_is_left_while_the_store_goes_on(path: Path) -> None:
    store, fence = await fill(path)
    needles = sealed_row(path, 3 << 20)
    assert len(needles) == 3
    assert places(path.parent, needles)
    assert await store.find_subject(ALICE) == [(ACME, 3)]
    await erase(store, fence, 3)
    assert places(path.parent, needles) == []
    await store.close()
    assert places(path.parent, needles) == []
    await expect_whole(path, 3)


async def test_it_is_gone_when_the_store_was_just_opened(path: Path) -> None:
    """The page stands in the file then, and not in the log."""
    store, _ = await fill(path)
    await store.close()
    needles = sealed_row(path, 3 << 20)
    store = SqliteStore(path, FixedVault())
    fence = await store.open()
    await erase(store, fence, 3)
    assert places(path.parent, needles) == []
    await store.close()


async def test_what_a_reader_holds_up_goes_with_the_first_commit_after_it(path: Path) -> None:
    store, fence = await fill(path)
    needles = sealed_row(path, 3 << 20)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM frame").fetchall()
        fence = await erase(store, fence, 3)
        assert places(path.parent, needles)
        assert (await store.read(ACME, 3, 1))[0].payload is None
    batch = grow(await store.head(ZETA), [make_entry("next")], fence.epoch)
    await store.commit(Commit(fence, (batch,)))
    assert places(path.parent, needles) == []
    await store.close()


async def test_neighbours_of_an_erased_payload_keep_theirs(path: Path) -> None:
    store, fence = await fill(path)
    await erase(store, fence, 3)
    receipts = await store.read(ACME, 0, 100)
    assert [r.seq for r in receipts if r.payload is None] == [3]
    assert all(r.payload is not None for r in await store.read(ZETA, 0, 100))
    await store.close()


# Erases, and is killed between the commit and the emptying of the log.
KILLED = """
import os, signal, sys
from pathlib import Path
import trio
sys.path.insert(0, sys.argv[2])
from autonomics.storage import sqlite_file
import test_erasure

def die(connection):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    store, fence = await test_erasure.fill(Path(sys.argv[1]))
    sqlite_file.drain_log = die
    await test_erasure.erase(store, fence, 3)

trio.run(main)
"""


async def test_a_kill_after_the_commit_is_made_good_by_the_next_opening(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    log = path.with_name(path.name + "-wal")
    assert ALICE in log.read_bytes()
    await expect_whole(path, 3)
    assert not log.exists()
    assert ALICE not in path.read_bytes()


async def test_an_erasure_whose_payload_came_back_is_carried_out_again(path: Path) -> None:
    """As by a row put back from a copy: the receipt stands, so the payload has to go."""
    store, fence = await fill(path)
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT * FROM payload WHERE id = ?"
        row = connection.execute(sql, (3 << 20,)).fetchone()
    await erase(store, fence, 3)
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO payload VALUES (?, ?, ?)", row)
        connection.execute("INSERT INTO subject VALUES (?, ?)", (ALICE, row[0]))
    await expect_whole(path, 3)
    assert places(path.parent, [row[1], row[2]]) == []
