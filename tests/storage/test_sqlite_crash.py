from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autonomics.receipts import verify
from autonomics.storage.sqlite import SqliteStore
from autonomics.testing.fixed_vault import FixedVault

# Commits without end, and says each receipt on its standard output once it is acknowledged.
WRITER = """
import sys
from pathlib import Path
import trio
from autonomics.receipts.store import Commit, Committed
from autonomics.storage.sqlite import SqliteStore
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import grow, make_entry

async def main():
    store = SqliteStore(Path(sys.argv[1]), FixedVault())
    fence = await store.open()
    number = 0
    while True:
        heads = [await store.head(f"ledger.example/t/{i}") for i in range(8)]
        entries = [make_entry(f"{number}")]
        batches = tuple(grow(head, entries, fence.epoch) for head in heads)
        result = await store.commit(Commit(fence, batches))
        fence = result.fence
        for batch, outcome in zip(batches, result.results):
            assert isinstance(outcome, Committed)
            for receipt in batch.receipts:
                print(receipt.id, receipt.leaf_hash.hex(), flush=True)
        number += 1

trio.run(main)
"""


async def read_all(path: Path) -> dict[str, str]:
    store = SqliteStore(path, FixedVault())
    await store.open()
    found: dict[str, str] = {}
    for head in await store.heads():
        check = verify.LogCheck(head.origin, [])
        for receipt in await store.read(head.origin, 0, 1_000_000):
            check.take(receipt.leaf)
            found[receipt.id] = hashlib.sha256(b"\0" + receipt.leaf).hexdigest()
        assert verify.fold_roots(check.subtrees) == head.root
    await store.close()
    return found


def kill_writer_after(path: Path, lines: int) -> dict[str, str]:
    """Run the writer, kill it after so many acknowledgements, and return all that it gave."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(lines)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    whole = (line.partition(" ") for line in acknowledged if line.endswith("\n"))
    return {receipt: hashed.strip() for receipt, _, hashed in whole}


@pytest.mark.parametrize("lines", [1, 37, 200])
async def test_what_was_acknowledged_before_sigkill_is_on_disk(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "ledger.sqlite"
    acknowledged: dict[str, str] = {}
    for _ in range(2):
        acknowledged |= kill_writer_after(path, lines)
        on_disk = await read_all(path)
        assert len(acknowledged) >= lines
        assert acknowledged.items() <= on_disk.items()
