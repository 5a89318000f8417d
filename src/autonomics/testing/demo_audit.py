"""The demo's audit: every log read back, decided again, exported, and verified by a stranger."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import PLATFORM, ReceiptView
from autonomics.receipts import canonical
from autonomics.receipts.leaf import Leaf, decode_leaf
from autonomics.recipes.diagnosis import diagnose
from autonomics.recipes.history import History
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.record import parse_decided, parse_payload, parse_received
from autonomics.recipes.replay import replay
from autonomics.testing.demo_load import Tally

PAGE = 500
CONSISTENT = 10


@attrs.define
class Finding:
    """What the logs say, against what the senders were told."""

    kills: list[str] = attrs.Factory(list[str])
    receipts: int = 0
    decisions: int = 0
    diagnosed: int = 0
    no_recipe: int = 0
    refused: int = 0
    actions: Counter[str] = attrs.Factory(Counter[str])
    outcomes: Counter[str] = attrs.Factory(Counter[str])
    rolled_back: int = 0
    diagnosis_ms: list[float] = attrs.Factory(list[float])
    replayed_differently: int = 0
    lost: list[str] = attrs.Factory(list[str])
    doubled: list[str] = attrs.Factory(list[str])
    logs: int = 0
    logs_verified: int = 0
    tamper_detected_at: int | None = None
    tampered_seq: int | None = None


class Audit:
    """Reads every log of a control plane and holds it to what was acknowledged."""

    def __init__(self, control: ControlPlane, recipes: RecipeSet) -> None:
        self._control = control
        self._recipes = recipes
        self.finding = Finding()
        self._seen: set[str] = set()

    async def read_logs(self, handles: list[str], tally: Tally) -> None:
        """Fold all logs; find what was acknowledged and is not there, or is there twice."""
        for handle in handles:
            await self._read_log(handle)
        self.finding.logs = len(handles)
        self.finding.lost = sorted(set(tally.acknowledged) - self._seen) + tally.undecided

    async def _read_log(self, handle: str) -> None:
        history = History.empty()
        received: dict[int, ReceiptView] = {}
        keys: Counter[str] = Counter()
        outcomes: Counter[int] = Counter()
        rollbacks: set[int] = set()
        finding = self.finding
        async for view in self._receipts(handle):
            leaf = decode_leaf(view.leaf)
            finding.receipts += 1
            self._seen.add(view.id)
            if leaf.idem is not None:
                keys[leaf.idem] += 1
            if view.kind == "received":
                received[view.seq] = view
            elif view.kind == "decided" and view.payload is not None:
                self._decide_again(received[leaf.cause[0]], view.payload, history)
            elif view.payload is not None:
                outcomes.update(leaf.cause if view.kind == "outcome" else ())
                self._count_act(view, view.payload, leaf, rollbacks)
            if view.payload is not None and handle != PLATFORM:
                payload = parse_payload(view.payload)
                if view.kind in ("decided", "intent", "outcome", "verified", "rolled_back"):
                    history = history.apply(view.kind, payload, view.seq, leaf.at)
        finding.doubled += [f"{handle}: key {key[:12]}" for key, n in keys.items() if n > 1]
        finding.doubled += [f"{handle}.{seq}: outcomes" for seq, n in outcomes.items() if n > 1]

    def _count_act(self, view: ReceiptView, data: bytes, leaf: Leaf, rollbacks: set[int]) -> None:
        """Count what became of an act; one that undoes another is no act of its recipe."""
        finding = self.finding
        payload = cast("dict[str, Any]", canonical.decode(data))
        match view.kind:
            case "intent" if "rolls_back" in payload:
                rollbacks.add(view.seq)
            case "outcome":
                result = payload["result"]
                finding.outcomes[result] += 1
                is_act = leaf.recipe is not None and rollbacks.isdisjoint(leaf.cause)
                if result == "done" and leaf.recipe is not None and is_act:
                    finding.actions[leaf.recipe.id] += 1
            case "rolled_back":
                finding.rolled_back += payload["result"] == "rolled_back"
            case _:
                pass

    async def _receipts(self, handle: str) -> AsyncGenerator[ReceiptView]:
        start = 0
        while page := await self._control.receipts(handle, start, PAGE):
            for view in page:
                yield view
            start += len(page)

    def _decide_again(self, received: ReceiptView, decided: bytes, history: History) -> None:
        """Measure `diagnose()` alone on the recorded inputs, and compare the decision's digest."""
        finding = self.finding
        assert received.payload is not None
        first, recorded = parse_received(received.payload), parse_decided(decided)
        started = time.perf_counter()
        diagnose(first.signal, recorded.facts, history, self._recipes, recorded.now)
        finding.diagnosis_ms.append((time.perf_counter() - started) * 1000)
        finding.decisions += 1
        finding.diagnosed += recorded.diagnosis["outcome"] != "NONE"
        finding.no_recipe += recorded.answer == "none"
        finding.refused += recorded.answer == "refuse"
        again = replay(first, recorded, history, self._recipes)
        finding.replayed_differently += again.status != "same"

    async def verify(self, names: dict[str, str], folder: Path) -> None:
        """Export every log and run each bundle's own verifier on it, as a stranger would."""
        for tenant_id, handle in names.items():
            bundle = folder / handle
            write_bundle(await self._control.export(tenant_id), bundle)
            vkey = await self._control.verifier_key(tenant_id)
            code, _ = await run_verifier(bundle, vkey)
            self.finding.logs_verified += code == CONSISTENT

    async def tamper(self, tenant_id: str, handle: str, folder: Path) -> None:
        """Flip one byte in a copy and see which receipt the verifier names."""
        copy = folder / f"{handle}-tampered"
        shutil.copytree(folder / handle, copy)
        self.finding.tampered_seq = flip_a_byte(copy)
        vkey = await self._control.verifier_key(tenant_id)
        code, verdict = await run_verifier(copy, vkey)
        if code != CONSISTENT:
            self.finding.tamper_detected_at = verdict.get("seq")


def write_bundle(files: Iterator[tuple[str, bytes]], folder: Path) -> None:
    """Write the files of a bundle below a folder."""
    for name, data in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


async def run_verifier(bundle: Path, vkey: str) -> tuple[int, dict[str, Any]]:
    """Run the verifier inside a bundle in a process of its own, apart from this installation."""
    command = [sys.executable, "-I", str(bundle / "verify.py"), str(bundle)]
    done = await trio.run_process(
        [*command, "--vkey", vkey, "--json"],
        capture_stdout=True,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    lines = done.stdout.splitlines()
    verdict = cast("dict[str, Any]", json.loads(lines[-1])) if lines else {}
    return done.returncode, verdict


def flip_a_byte(bundle: Path) -> int:
    """Flip the lowest bit of one byte in the middle of a leaf; the leaf's seq."""
    entries = sorted((bundle / "tile" / "entries").rglob("*"))
    path = next(found for found in entries if found.is_file())
    data = bytearray(path.read_bytes())
    starts: list[tuple[int, int]] = []
    place = 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 2])
        starts.append((place + 2, size))
        place += 2 + size
    seq = len(starts) // 2
    start, size = starts[seq]
    data[start + size // 2] ^= 1
    path.write_bytes(data)
    return seq
