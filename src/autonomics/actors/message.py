"""What doors and actors say to each other: values that are frozen, and calls that name their reply.

A receipt id is `<log>.<seq>`: the log's short name (a tenant's handle, or `platform`) and the
leaf's index in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

Role = Literal["operator", "admin", "tenant", "push"]
Readiness = Literal["ready", "starting", "store_unavailable", "line_stopped"]

PLATFORM = "platform"


@attrs.frozen
class Principal:
    """Who is asking: `operator` came through the control socket, all others with a key."""

    key_id: str
    role: Role
    tenant_id: str | None = None

    def may_act_for(self, tenant_id: str) -> bool:
        """Tell whether this principal may read and submit for that tenant."""
        return self.role in ("operator", "admin") or self.tenant_id == tenant_id


@attrs.frozen
class Inbound:
    """One message about a tenant, authenticated and bounded by the door that received it.

    `body` is the JSON text as received (UTF-8); `source` and `message_id` name the message for
    deduplication; `key_is_chosen` says that the caller chose the id (an Idempotency-Key), so that
    the same id with another body is a conflict rather than a redelivery.
    """

    tenant_id: str
    source: str
    message_id: str
    body: bytes
    attributes: Mapping[str, str] = attrs.field(factory=dict[str, str])
    published_at: datetime | None = None
    principal: str = ""
    trace: str | None = None
    key_is_chosen: bool = False


@attrs.frozen
class ReceiptView:
    """A committed receipt as doors show it; `payload` is None once erased."""

    id: str
    origin: str
    seq: int
    kind: str
    leaf: bytes
    leaf_hash: bytes
    salt: bytes | None
    payload: bytes | None


@attrs.frozen
class Accepted:
    """The durable `received` receipt of a message; `duplicate` when it had come before."""

    receipt: ReceiptView
    duplicate: bool


@attrs.frozen
class Decided:
    """A message's `decided` receipt beside its `received` one."""

    accepted: Accepted
    decision: ReceiptView


@attrs.frozen
class Parked:
    """A message kept in the platform's log because nobody could decide it yet."""

    receipt: ReceiptView
    duplicate: bool


ParkReason = Literal["unreadable", "unknown_tenant"]


@attrs.frozen
class Unplaced:
    """A message to park: `sender` is the key id, the bounds on parking count per sender."""

    reason: ParkReason
    why: str
    sender: str
    source: str
    message_id: str
    body: bytes
    tenant_id: str | None = None
    attributes: Mapping[str, str] = attrs.field(factory=dict[str, str])
    trace: str | None = None


@attrs.frozen
class TenantView:
    """A tenant as doors show it; a quota is what is used of it and its limit."""

    id: str
    name: str
    handle: str
    state: str
    price_plan: str
    created_at: datetime
    account: str | None = None
    """The procurement account that it came from, if a marketplace brought it."""

    quarantined: bool = False
    quotas: Mapping[str, tuple[int, int]] = attrs.field(factory=dict[str, tuple[int, int]])


@attrs.frozen
class QuotaView:
    """A quota as doors show it; `used` is None where nobody can tell now."""

    limit: int
    ceiling: int
    used: int | None = None


@attrs.frozen(kw_only=True)
class EntitlementView:
    """What a tenant has bought: `recipes` are exact ids, `area.*` or `*`.

    `known_recipes` are the ids of all recipes there are here, bought or not.
    """

    tenant_id: str
    state: str
    price_plan: str
    recipes: tuple[str, ...]
    is_current: bool
    quotas: Mapping[str, QuotaView]
    known_recipes: tuple[str, ...] = ()


@attrs.frozen
class NewKey:
    """A key just made: `secret` is shown once and kept nowhere."""

    id: str
    secret: str
    role: Role
    tenant_id: str | None


@attrs.frozen
class KeyView:
    """A key without its secret."""

    id: str
    role: Role
    tenant_id: str | None
    created_at: datetime
    revoked_at: datetime | None = None


@attrs.frozen
class TenantCreated:
    """A new tenant, its two keys, and how many parked messages were replayed into its log."""

    tenant: TenantView
    api_key: NewKey
    push_token: NewKey
    replayed: int


@attrs.frozen
class SignedUp:
    """The tenant of a marketplace account, and the platform's receipt of its first coming."""

    tenant: TenantView
    receipt: ReceiptView
    duplicate: bool


@attrs.frozen
class Stop:
    """One open stop of the line."""

    scope: str
    reason: str
    by: str
    at: datetime


@attrs.frozen
class LineView:
    """The stop-the-line latch: `generation` rises with each stop and each clearing."""

    generation: int
    stopped: bool
    stops: tuple[Stop, ...] = ()


@attrs.frozen
class NamedIn:
    """A receipt whose payload names a person; `kept` says why it may not be erased, None if it may.

    It is what was found before an erasure, which has ended all payloads that are not kept.
    """

    receipt_id: str
    kind: str
    kept: str | None = None


@attrs.frozen
class Health:
    """What `/health` shows."""

    readiness: Readiness
    store: str
    line: LineView
    tenants: int
    tenants_quarantined: int
    receipts: int
    uptime_s: float
    version: str
    effectors: tuple[str, ...] = ()
    dry: tuple[str, ...] = ()
