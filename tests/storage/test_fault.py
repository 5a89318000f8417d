# ruff: noqa: T201 (a seed is printed so that a failure can be had again)
"""What is on disk after a kill, a failed or short call, or a power cut at any call of a commit.

A shim between the writer and the C library does it, and not strace: a short write has to be one
that wrote what it says, and strace can only lie about that. `EVERY_FAULT=1` tries every call where
these runs try one in seven; `KILLS=1000` is how often a writer is killed under load.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from autonomics.receipts import verify
from autonomics.receipts.log import Receipt
from autonomics.storage.seal import Sealer
from autonomics.storage.sqlite_file import StoreFile
from autonomics.testing.fixed_vault import FixedVault
from autonomics.testing.store_contract import ACME, ZETA

HERE = Path(__file__).parent
EVERY = 1 if os.environ.get("EVERY_FAULT") else 7
KILLS = int(os.environ.get("KILLS", "40"))
KILLED, FAULT_CAME, NO_FAULT = -9, 10, 0
ERASED = 1


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler here that could build the shim for faults")
    made = tmp_path_factory.mktemp("shim") / "fault.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(HERE / "fault_shim.c")]
    built = subprocess.run([*command, "-ldl"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return made


def run_worker(shim: Path, *words: object) -> dict[int, int]:
    """Run the worker under the shim; exit codes of its forks by number."""
    command = [sys.executable, str(HERE / "fault_worker.py"), *map(str, words)]
    done = subprocess.run(
        command,
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr)
    rows = (line.split() for line in done.stdout.splitlines())
    return {int(number): int(code) for number, code in rows}


def read_acks(folder: Path) -> dict[tuple[str, int], str]:
    """Hash by origin and seq of every receipt that was acknowledged."""
    rows = ((folder / "acks").read_text() if (folder / "acks").exists() else "").splitlines()
    parts = [row.split() for row in rows]
    return {(origin, int(seq)): hashed for origin, seq, hashed in parts}


def read_store(folder: Path) -> dict[str, list[Receipt]]:
    """Open the store, which proves it, and verify each log as a stranger does."""
    file = StoreFile(folder / "ledger.sqlite", Sealer(FixedVault()))
    file.open()
    logs: dict[str, list[Receipt]] = {}
    for head in file.all_heads():
        receipts = file.read(head.origin, 0, 1_000_000)
        check = verify.LogCheck(head.origin, [])
        for receipt in receipts:
            check.take(receipt.leaf)
            if receipt.salt is not None and receipt.payload is not None:
                check.check_payload(receipt.seq, receipt.salt, receipt.payload)
        check.finish()
        assert check.root_at(check.size) == head.root
        logs[head.origin] = receipts
    file.close()
    return logs


def expect_kept(folder: Path) -> dict[str, list[Receipt]]:
    """Every acknowledged receipt is there, and no key has led to two."""
    logs = read_store(folder)
    for (origin, seq), hashed in read_acks(folder).items():
        assert logs[origin][seq].leaf_hash.hex() == hashed
    for receipts in logs.values():
        keys = Counter(r.fields.idem for r in receipts if r.fields.idem is not None)
        assert max(keys.values(), default=1) == 1
    return logs


@pytest.mark.parametrize("moment", ["commit", "opening"])
@pytest.mark.parametrize("kind", ["kill", "torn", "eio", "enospc", "short", "full"])
def test_a_fault_at_any_call_loses_nothing_and_doubles_nothing(
    shim: Path, tmp_path: Path, kind: str, moment: str
) -> None:
    codes = run_worker(shim, tmp_path / "runs", kind, moment, 1, EVERY)
    *faulty, (last, last_code) = codes.items()
    assert last_code == NO_FAULT, f"run {last} of {kind} at {moment} ended with {last_code}"
    assert len(faulty) * EVERY > 40, "the runs have as many calls as a commit has"
    for number, code in faulty:
        folder = tmp_path / "runs" / f"{number}"
        assert code == (KILLED if kind in ("kill", "torn") else FAULT_CAME)
        logs = expect_kept(folder)
        if code != KILLED:
            # The writer has opened the store anew and taken all its steps.
            for origin in (ACME, ZETA):
                kinds = Counter(r.fields.kind for r in logs[origin])
                assert (kinds["received"], kinds["erasure"]) == (7, 1)
                assert [r.seq for r in logs[origin] if r.payload is None] == [ERASED]
        shutil.rmtree(folder)


def test_a_writer_that_is_killed_again_and_again_loses_nothing(shim: Path, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    epochs: list[int] = []
    for first in range(0, KILLS, 20):
        # A store of its own for every twenty, so that the proof at each opening stays short.
        folder = tmp_path / f"{first}"
        codes = run_worker(shim, folder, "kills", min(20, KILLS - first), seed + first)
        assert set(codes.values()) == {KILLED}
        logs = expect_kept(folder)
        for receipts in logs.values():
            epochs = [receipt.fields.epoch for receipt in receipts]
            assert epochs == sorted(epochs)
        shutil.rmtree(folder)


# Power cuts


@attrs.frozen
class Op:
    """One change that the disk was told of, or a mark."""

    what: str
    name: str
    offset: int
    size: int
    data: bytes


def read_trace(path: Path) -> list[Op]:
    raw, at, ops = path.read_bytes(), 0, list[Op]()
    while at < len(raw):
        end = raw.index(b"\n", at)
        what, name, offset, size = raw[at:end].decode().split()
        length = int(size) if what == "w" else 0
        ops.append(Op(what, name, int(offset), int(size), raw[end + 1 : end + 1 + length]))
        at = end + 1 + length
    return ops


class Disk:
    """What a drive has: what was synced for certain, and of the rest whatever it chose to write."""

    def __init__(self) -> None:
        self.synced: dict[str, bytearray] = {}
        self.loose: dict[str, list[Op]] = {}

    def take(self, op: Op) -> None:
        match op.what:
            case "w" | "t":
                self.synced.setdefault(op.name, bytearray())
                self.loose.setdefault(op.name, []).append(op)
            case "s":
                for each in self.loose.pop(op.name, ()):
                    apply(self.synced[op.name], each)
            case "r":  # into its place; only the store's file itself is ever renamed
                self.synced["ledger.sqlite"] = self.synced.pop(op.name)
                self.loose["ledger.sqlite"] = self.loose.pop(op.name, [])
            case "u":
                self.synced.pop(op.name, None)
                self.loose.pop(op.name, None)
            case _:
                pass

    def crash(self, chance: random.Random, share: float) -> dict[str, bytes]:
        """Files after a power cut: each sector of what was not synced is there by chance."""
        files = {name: bytearray(data) for name, data in self.synced.items()}
        for name, ops in self.loose.items():
            for op in ops:
                for part in split(op):
                    if chance.random() < share:
                        apply(files[name], part)
        return {name: bytes(data) for name, data in files.items()}


def split(op: Op) -> Iterator[Op]:
    """A write in sectors of 512 bytes: each may be there without the others."""
    if op.what != "w":
        yield op
        return
    at = op.offset
    while at < op.offset + op.size:
        end = min(op.offset + op.size, (at // 512 + 1) * 512)
        data = op.data[at - op.offset : end - op.offset]
        yield Op("w", op.name, at, len(data), data)
        at = end


def apply(file: bytearray, op: Op) -> None:
    if op.what == "t":
        file[:] = file[: op.offset].ljust(op.offset, b"\0")
        return
    if len(file) < op.offset:
        file.extend(bytes(op.offset - len(file)))
    file[op.offset : op.offset + op.size] = op.data


def test_a_power_cut_at_any_moment_keeps_what_was_acknowledged(shim: Path, tmp_path: Path) -> None:
    run_worker(shim, tmp_path / "life", "trace")
    ops = read_trace(tmp_path / "life" / "trace")
    acks = list(read_acks(tmp_path / "life").items())
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    disk, acknowledged, cuts = Disk(), 0, 0
    assert sum(op.what == "s" for op in ops) > 20
    for number, op in enumerate(ops):
        disk.take(op)
        acknowledged += 2 * (op.what == "k")
        if number % EVERY and op.what != "k":
            continue
        for share in (0.0, 1.0, chance.random()):
            folder = tmp_path / "cut"
            folder.mkdir()
            for name, data in disk.crash(chance, share).items():
                (folder / name).write_bytes(data)
            if (folder / "ledger.sqlite").exists() or acknowledged:
                logs = read_store(folder)
                for (origin, seq), hashed in acks[:acknowledged]:
                    assert logs[origin][seq].leaf_hash.hex() == hashed
                cuts += 1
            shutil.rmtree(folder)
    assert acknowledged == len(acks)
    assert cuts > 30
    print("power cuts", cuts)


def test_a_disk_that_keeps_no_promise_is_noticed(shim: Path, tmp_path: Path) -> None:
    """The same, with a drive that forgets what it said it had: so the test above can fail."""
    run_worker(shim, tmp_path / "life", "trace")
    disk, lying = Disk(), Disk()
    for op in read_trace(tmp_path / "life" / "trace"):
        disk.take(op)
        if op.what != "s":
            lying.take(op)
    folder = tmp_path / "cut"
    folder.mkdir()
    for name, data in lying.crash(random.Random(0), 0.0).items():
        (folder / name).write_bytes(data)
    logs = read_store(folder)
    assert len(logs.get(ACME, [])) < len(
        [1 for (origin, _) in read_acks(tmp_path / "life") if origin == ACME]
    )
