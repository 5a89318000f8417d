"""Messages that nobody can decide yet: kept in the platform's log, bounded per sender, replayed.

A parked message is a `received` leaf of the platform's log. It is out of the parking once a
`tenant` leaf of type `autonomics.unparked/1` names it.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import attrs

from autonomics.actors.message import Inbound, Unplaced
from autonomics.errors import ParkingFull
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import Receipt

PARKED_TYPE = "autonomics.parked/1"
UNPARKED_TYPE = "autonomics.unparked/1"


@attrs.frozen
class _Parked:
    seq: int
    sender: str
    size_bytes: int
    tenant_id: str | None
    reason: str


class Parking:
    """The fold of what is parked now, with its bounds."""

    def __init__(self, *, most_messages: int, most_bytes: int) -> None:
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._parked: dict[int, _Parked] = {}
        self._messages: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def apply(self, receipt: Receipt) -> None:
        """Fold a platform receipt in."""
        leaf = receipt.fields
        if receipt.payload is None or leaf.payload_type not in (PARKED_TYPE, UNPARKED_TYPE):
            return
        payload = cast("dict[str, Any]", canonical.decode(receipt.payload))
        if leaf.payload_type == PARKED_TYPE:
            row = _Parked(
                receipt.seq,
                payload["sender"],
                payload["size_bytes"],
                payload["tenant"],
                payload["reason"],
            )
            self._parked[row.seq] = row
            self._messages[row.sender] += 1
            self._bytes[row.sender] += row.size_bytes
            return
        for seq in payload["seqs"]:
            gone = self._parked.pop(seq, None)
            if gone is not None:
                self._messages[gone.sender] -= 1
                self._bytes[gone.sender] -= gone.size_bytes

    def check_room(self, unplaced: Unplaced) -> None:
        """Raise ParkingFull if the sender is at one of its bounds."""
        sender, size = unplaced.sender, len(unplaced.body)
        for what, limit, used, more in (
            ("messages", self._most_messages, self._messages[sender], 1),
            ("bytes", self._most_bytes, self._bytes[sender], size),
        ):
            if used + more > limit:
                why = f"{sender} may not park another message: {what} per sender"
                raise ParkingFull(f"{why} (limit={limit}, used={used})")

    def waiting_for(self, tenant_id: str) -> tuple[int, ...]:
        """Return the seqs of what is parked until a tenant is created, in order."""
        return tuple(
            row.seq
            for row in self._parked.values()
            if row.tenant_id == tenant_id and row.reason == "unknown_tenant"
        )

    def __len__(self) -> int:
        return len(self._parked)


def parked_entry(unplaced: Unplaced, actor: str) -> Entry:
    """Build the platform's receipt of a message that can't be placed."""
    payload = {
        "reason": unplaced.reason,
        "why": unplaced.why[:500],
        "sender": unplaced.sender,
        "source": unplaced.source,
        "message_id": unplaced.message_id,
        "tenant": unplaced.tenant_id,
        "attributes": dict(unplaced.attributes),
        "size_bytes": len(unplaced.body),
        "body": base64.b64encode(unplaced.body).decode(),
    }
    return Entry(
        kind="received",
        actor=actor,
        payload=canonical.encode(payload),
        payload_type=PARKED_TYPE,
        idem="parked:" + _digest(unplaced.sender, unplaced.source, unplaced.message_id),
        trace=unplaced.trace,
    )


def unparked_entry(tenant_id: str, seqs: tuple[int, ...], actor: str) -> Entry:
    """Build the platform's receipt that says where parked messages went."""
    return Entry(
        kind="tenant",
        actor=actor,
        payload=canonical.encode({"event": "replayed", "tenant": tenant_id, "seqs": list(seqs)}),
        payload_type=UNPARKED_TYPE,
    )


def inbound_of(receipt: Receipt) -> Inbound | None:
    """Read a parked message back for its tenant; None once its payload is erased."""
    if receipt.payload is None:
        return None
    payload = cast("dict[str, Any]", canonical.decode(receipt.payload))
    return Inbound(
        tenant_id=payload["tenant"],
        source=payload["source"],
        message_id=payload["message_id"],
        body=base64.b64decode(payload["body"]),
        attributes=cast("Mapping[str, str]", payload["attributes"]),
        principal=payload["sender"],
        trace=receipt.fields.trace,
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
