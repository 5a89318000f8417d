"""Logs in memory with real receipts, for the control plane without a tree."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from autonomics.actors.message import PLATFORM, ReceiptView, TenantView
from autonomics.actors.receipt_view import view_receipt
from autonomics.errors import InvalidInput, NoSuchTenant, StoreUnavailable
from autonomics.receipts import canonical
from autonomics.receipts.checkpoint import checkpoint_of, sign_checkpoint
from autonomics.receipts.entry import Entry
from autonomics.receipts.export import export_bundle
from autonomics.receipts.log import LogHead, Receipt, append
from autonomics.receipts.proof import format_proof
from autonomics.receipts.signer import format_vkey

PAYLOAD_TYPE = "application/json"


@attrs.define
class Log:
    """One log, what was seen in it, and which receipt decided which."""

    head: LogHead
    receipts: list[Receipt] = attrs.Factory(list[Receipt])
    seen: dict[tuple[str, str], tuple[int, bytes]] = attrs.Factory(
        dict[tuple[str, str], tuple[int, bytes]]
    )
    decisions: dict[int, int] = attrs.Factory(dict[int, int])


class _Signer:
    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    async def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def _counted(seed: int) -> Callable[[int], bytes]:
    """Give bytes that differ each time and are the same in each run."""
    numbers = itertools.count(seed << 32)
    return lambda size: hashlib.shake_256(b"%d" % next(numbers)).digest(size)


@attrs.define
class MemoryLedger:
    """The half of `ControlPlane` that reads receipts; `is_store_down` refuses to write them."""

    clock: Callable[[], datetime] = lambda: datetime(2026, 1, 1, tzinfo=UTC)
    random_bytes: Callable[[int], bytes] = attrs.Factory(lambda: _counted(1))
    is_store_down: bool = False
    _signer: _Signer = attrs.field(factory=lambda: _Signer(b"\x07" * 32), init=False)
    _logs: dict[str, Log] = attrs.field(factory=dict[str, Log], init=False)
    _tenants: dict[str, TenantView] = attrs.field(factory=dict[str, TenantView], init=False)

    def __attrs_post_init__(self) -> None:
        self._logs[PLATFORM] = Log(LogHead.empty("memory.test/platform"))

    def _append(self, log_name: str, *entries: Entry) -> ReceiptView:
        """Append and return the last receipt."""
        if self.is_store_down:
            raise StoreUnavailable("the store can't take writes now")
        log = self._logs[log_name]
        salts = (self.random_bytes(32) for _ in itertools.count())
        log.head, written = append(log.head, entries, self.clock(), salts, b"k" * 32, epoch=1)
        log.receipts.extend(written)
        return view_receipt(log_name, written[-1])

    def _note(self, kind: str, **payload: object) -> ReceiptView:
        data = canonical.encode(payload)
        return self._append(
            PLATFORM, Entry(kind=kind, actor="memory", payload=data, payload_type=PAYLOAD_TYPE)
        )

    def _erase(self, log_name: str, seq: int, reason: str, by: str) -> None:
        payload = canonical.encode({"by": by, "event": "erased", "reason": reason})
        entry = Entry(
            kind="erasure", actor="memory", payload=payload, payload_type=PAYLOAD_TYPE, ref=seq
        )
        self._append(log_name, entry)
        receipts = self._logs[log_name].receipts
        receipts[seq] = attrs.evolve(receipts[seq], salt=None, payload=None)

    def _found(self, tenant_id: str) -> TenantView:
        for view in self._tenants.values():
            if tenant_id in (view.id, view.handle):
                return view
        raise NoSuchTenant(f"there is no tenant {tenant_id!r}")

    def _log_named(self, tenant_id: str) -> Log:
        """Find a tenant's log, or the platform's own."""
        return self._logs[PLATFORM if tenant_id == PLATFORM else self._found(tenant_id).handle]

    def _receipt(self, receipt_id: str) -> tuple[Log, Receipt] | None:
        name, _, seq = receipt_id.rpartition(".")
        log = self._logs.get(name)
        if log is None or not seq.isdecimal() or int(seq) >= len(log.receipts):
            return None
        return log, log.receipts[int(seq)]

    def _known(self, receipt_id: str) -> tuple[Log, Receipt]:
        found = self._receipt(receipt_id)
        if found is None:
            raise InvalidInput.expected("receipt id", "that of a receipt", receipt_id)
        return found

    async def receipt(self, receipt_id: str) -> ReceiptView | None:
        """Return it or None."""
        found = self._receipt(receipt_id)
        return None if found is None else view_receipt(receipt_id.rpartition(".")[0], found[1])

    async def receipts(self, log: str, start: int, limit: int) -> tuple[ReceiptView, ...]:
        """Return a page."""
        found = self._logs.get(log)
        rows = [] if found is None else found.receipts[start : start + limit]
        return tuple(view_receipt(log, row) for row in rows)

    async def related(self, receipt_id: str) -> tuple[ReceiptView, ...]:
        """Return `received` and what was decided on it."""
        log, receipt = self._known(receipt_id)
        first = next((one for one, two in log.decisions.items() if two == receipt.seq), receipt.seq)
        seqs = [first, *filter(None, [log.decisions.get(first)])]
        return tuple(view_receipt(receipt_id.rpartition(".")[0], log.receipts[seq]) for seq in seqs)

    async def proof(self, receipt_id: str) -> bytes:
        """Prove it under a checkpoint of the whole log."""
        log, receipt = self._known(receipt_id)
        checkpoint = await sign_checkpoint(checkpoint_of(log.head), self._signer)
        return format_proof(receipt, [row.leaf_hash for row in log.receipts], checkpoint)

    async def export(self, tenant_id: str) -> Iterator[tuple[str, bytes]]:
        """Return the bundle of the whole log."""
        log = self._log_named(tenant_id)
        checkpoint = await sign_checkpoint(checkpoint_of(log.head), self._signer)
        return export_bundle(log.receipts, checkpoint, b"# verify.py comes with the real one\n")

    async def verifier_key(self, tenant_id: str) -> str:
        """Return the log's vkey."""
        origin = self._log_named(tenant_id).head.origin
        return format_vkey(origin, self._signer.public_key)
