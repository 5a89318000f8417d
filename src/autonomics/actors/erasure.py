"""To erase a person: each payload that names them ends, in one commit, with a receipt that says so.

The store's writer carries it out between two commits, in whatever logs it has to, also in those
of tenants that are closed or in quarantine and have no receipt writer. A receipt writer that is
alive finds that its log has grown, and reads on: as it does after any commit it did not hear of.
"""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from autonomics.actors.ledger_message import StoreQuestion
from autonomics.actors.source import Source
from autonomics.errors import InvalidInput
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import Receipt, append, count_salts
from autonomics.receipts.store import (
    IDEM_KEY_META,
    Batch,
    Commit,
    Committed,
    Refused,
    Store,
    make_batch,
)
from autonomics.receipts.subject import hash_subject, normalise_subject

ERASURE_TYPE: Final = "autonomics.erasure/1"
ERASURE_ACTOR: Final = "root/control/ledger"
MAX_REASON: Final = 500
PAGE: Final = 512

# What the house itself needs to be what it is: these payloads are kept as long as their log.
KEPT_KINDS: Final = {
    "genesis": "a log begins with it",
    "epoch": "it says when the store was opened",
    "seal": "a log ends with it",
    "erasure": "it says why a payload is gone",
    "tenant": "without it the tenant would be unknown",
    "entitlement": "without it nobody knows what the tenant has bought",
    "key": "it says who made or revoked a key",
    "line": "it says who stopped or cleared the line",
}
OPEN_ACT: Final = "its act has not ended: erase again when it has"


@attrs.frozen
class Named:
    """A receipt whose payload names a subject; `kept` says why it can't be erased, if so."""

    origin: str
    seq: int
    kind: str
    kept: str | None = None


@attrs.frozen
class FindSubject(StoreQuestion[tuple[Named, ...]]):
    """Ask which payloads name a subject."""

    subject: str = attrs.field(repr=False)

    async def put(self, store: Store) -> tuple[Named, ...]:
        """Look into the index."""
        found = await store.find_subject(
            hash_subject(await _idem_key(store), normalise_subject(self.subject))
        )
        return tuple([await _look_at(store, origin, seq) for origin, seq in found])


@attrs.frozen
class EraseSubject(StoreQuestion[tuple[Named, ...]]):
    """Ask to erase all that names a subject; the reply is what was found, and what was kept."""

    writes: ClassVar[bool] = True
    subject: str = attrs.field(repr=False)
    reason: str
    by: str
    source: Source = attrs.field(repr=False)

    async def put(self, store: Store) -> tuple[Named, ...]:
        """Commit one erasure receipt for each payload; the payloads end with that commit."""
        subject, reason = normalise_subject(self.subject), self.reason.strip()
        if not 0 < len(reason) <= MAX_REASON or subject in reason.casefold():
            # The reason is kept for good.
            constraint = f"1 to {MAX_REASON} characters that don't name the subject"
            raise InvalidInput.expected("reason", constraint, self.reason)
        found = await FindSubject(subject).put(store)
        seqs: dict[str, list[int]] = {}
        for named in found:
            if named.kept is None:
                seqs.setdefault(named.origin, []).append(named.seq)
        if seqs:
            batches = [await self._batch(store, origin, each) for origin, each in seqs.items()]
            result = await store.commit(Commit(await store.fence(), tuple(batches)))
            for outcome in result.results:
                match outcome:
                    case Committed():
                        pass
                    case Refused(error):
                        raise error
        return found

    async def _batch(self, store: Store, origin: str, seqs: list[int]) -> Batch:
        payload = canonical.encode({"by": self.by, "event": "erased", "reason": self.reason})
        entries = [
            Entry(
                kind="erasure",
                actor=ERASURE_ACTOR,
                payload=payload,
                payload_type=ERASURE_TYPE,
                ref=seq,
            )
            for seq in seqs
        ]
        head, epoch = await store.head(origin), (await store.fence()).epoch
        count = count_salts(head, entries, epoch)
        salts = [self.source.random_bytes(32) for _ in range(count)]
        key = await _idem_key(store)
        after, receipts = append(head, entries, self.source.clock(), salts, key, epoch=epoch)
        return make_batch(head, after, entries, receipts, key)


async def _idem_key(store: Store) -> bytes:
    key = await store.get_meta(IDEM_KEY_META)
    assert key is not None, "the writer makes the key when it opens the store"
    return key


async def _look_at(store: Store, origin: str, seq: int) -> Named:
    (receipt,) = await store.read(origin, seq, 1)
    kind = receipt.fields.kind
    kept = KEPT_KINDS.get(kind)
    if kept is None and kind == "intent" and await _is_open(store, receipt):
        kept = OPEN_ACT
    return Named(origin, seq, kind, kept)


async def _is_open(store: Store, intent: Receipt) -> bool:
    """Tell whether an act has no outcome yet; its payload is what a restart goes on with."""
    start = intent.seq + 1
    while page := await store.read(intent.origin, start, PAGE):
        if any(r.fields.kind == "outcome" and intent.seq in r.fields.cause for r in page):
            return False
        start += len(page)
    return True
