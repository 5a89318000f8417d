# ruff: noqa: T201 (it tells its parent what became of its forks)
"""A writer whose disk goes wrong: run under `fault_shim.c`, a fork for each fault.

    python fault_worker.py FOLDER KIND MOMENT FIRST EVERY   faults at every so many calls until none
    python fault_worker.py FOLDER trace                     one run, every change written down
    python fault_worker.py FOLDER kills COUNT SEED          one store, killed again and again

Each run has a folder of its own with the store and `acks`: a line per acknowledged receipt.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from autonomics.errors import StoreUnavailable
from autonomics.receipts.checkpoint import checkpoint_of, sign_checkpoint
from autonomics.receipts.entry import hash_idem
from autonomics.receipts.log import LogHead
from autonomics.receipts.store import Commit, Committed, Fence
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite_file import StoreFile
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import (
    ACME,
    IDEM_KEY,
    ZETA,
    UncheckedSigner,
    grow,
    make_entry,
)

KINDS = ("none", "kill", "torn", "eio", "enospc", "short", "full")
STEPS = 4
ERASED = 1
TEMPLATE_STEPS = 3


def store_path(folder: Path) -> Path:
    return folder / "ledger.sqlite"


def sign_now(head: LogHead) -> bytes:
    """Sign a head with a signer that never waits."""
    signing = sign_checkpoint(checkpoint_of(head), UncheckedSigner())
    try:
        signing.send(None)
    except StopIteration as done:
        return bytes(done.value)
    raise AssertionError("the signer has waited")


class Writer:
    """Takes numbered steps, each under its own key, and opens the store anew when it fails."""

    def __init__(self, folder: Path) -> None:
        self.path = store_path(folder)
        self.acks = os.open(folder / "acks", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self.file = StoreFile(self.path, Sealer(FixedVault()))
        self.fence = Fence(0, 0)
        self.library = ctypes.CDLL(None)

    def open(self) -> None:
        self.fence = self.file.open()

    def reopen(self) -> None:
        """As the supervisor of the store's writer does."""
        self.library.fault_arm(0, 0)  # the disk works again, or has room again
        self.file = StoreFile(self.path, Sealer(FixedVault()))
        self.open()

    def take(self, number: int) -> None:
        """Commit one step to two logs, unless it is there; acknowledge it."""
        try:
            self._commit(number)
        except StoreUnavailable:
            self.reopen()
            self._commit(number)

    def _commit(self, number: int) -> None:
        entries = [make_entry(f"step {number}", idem=f"key {number}")]
        if number == STEPS - 2:
            entries.append(make_entry("asked", kind="erasure", ref=ERASED, idem=f"erase {number}"))
        batches = tuple(
            grow(self.file.head(origin), entries, self.fence.epoch)
            for origin in (ACME, ZETA)
            if self.file.find_idem(origin, hash_idem(IDEM_KEY, f"key {number}")) is None
        )
        if batches:
            result = self.file.commit(Commit(self.fence, batches))
            assert all(isinstance(each, Committed) for each in result.results)
            self.fence = result.fence
        if number == 1:
            self.file.save_checkpoints([sign_now(self.file.head(ACME))])
        for origin in (ACME, ZETA):
            seq = self.file.find_idem(origin, hash_idem(IDEM_KEY, f"key {number}"))
            assert seq is not None
            (receipt,) = self.file.read(origin, seq, 1)
            os.write(self.acks, f"{origin} {seq} {receipt.leaf_hash.hex()}\n".encode())
        self.library.fault_mark(number)


def make_template(folder: Path) -> None:
    folder.mkdir()
    writer = Writer(folder)
    writer.open()
    for number in range(TEMPLATE_STEPS):
        writer.take(1000 + number)
    writer.file.close()


def live(folder: Path, kind: str, at: int, moment: str) -> int:
    """One run; the fault comes at one call after the moment. Returns whether it came."""
    writer = Writer(folder)
    if moment == "opening":
        writer.library.fault_arm(at, KINDS.index(kind))
        try:
            writer.open()
        except StoreUnavailable:
            writer.reopen()
    else:
        writer.open()
        writer.library.fault_arm(at, KINDS.index(kind))
    for number in range(STEPS):
        writer.take(number)
    fired = bool(writer.library.fault_fired())
    writer.file.close()
    return 10 if fired else 0


def fork(life: Callable[[], int]) -> int:
    """Live in a fork and return its exit code: 10 after a fault, -9 after a kill."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = life()
        except BaseException:  # noqa: BLE001 - the fork has nobody else to tell
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def fork_all(root: Path, kind: str, moment: str, first: int, every: int) -> None:
    root.mkdir(exist_ok=True)
    template = root / "template"
    make_template(template)
    for at in range(first, 10_000, every):
        folder = root / f"{at}"
        shutil.copytree(template, folder)
        code = fork(partial(live, folder, kind, at, moment))
        print(at, code, flush=True)
        if code not in (10, -9):
            break


def kill_often(root: Path, count: int, seed: int) -> None:
    """Kill one store's writer over and over, at calls that a seed chooses."""
    root.mkdir(exist_ok=True)
    chance = random.Random(seed)
    for number in range(count):
        at = chance.randrange(1, 400)
        kind = chance.choice(("kill", "torn"))
        print(number, fork(partial(live_until_killed, root, kind, at, number)), flush=True)


def live_until_killed(root: Path, kind: str, at: int, life: int) -> int:
    writer = Writer(root)
    writer.library.fault_arm(at, KINDS.index(kind))
    writer.open()
    for step in range(10_000):
        writer.take(10_000 * (life + 1) + step)
    return 1


def trace(root: Path) -> None:
    """Live one life, from the creation of the file on, and write down what the disk was told."""
    root.mkdir(exist_ok=True)
    writer = Writer(root)
    fd = os.open(root / "trace", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    writer.library.fault_trace(fd)
    writer.open()
    for number in range(STEPS):
        writer.take(number)
    writer.file.close()
    writer.file = StoreFile(writer.path, Sealer(FixedVault()))
    writer.open()
    writer.take(STEPS)
    writer.file.close()


if __name__ == "__main__":
    _, folder_name, what, *words = sys.argv
    if what == "trace":
        trace(Path(folder_name))
    elif what == "kills":
        kill_often(Path(folder_name), int(words[0]), int(words[1]))
    else:
        fork_all(Path(folder_name), what, words[0], int(words[1]), int(words[2]))
