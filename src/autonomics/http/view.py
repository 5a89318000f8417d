"""What doors show, as JSON values."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

import attrs

from autonomics.actors.message import (
    Health,
    KeyView,
    LineView,
    NewKey,
    ReceiptView,
    TenantView,
)
from autonomics.receipts.leaf import format_time
from autonomics.runtime import ActorStatus
from autonomics.supervisors import TreeNode

REPR_LIMIT = 500


def show_receipt(view: ReceiptView) -> dict[str, Any]:
    """Show a receipt: the leaf's fields beside its text, for it is the text that is hashed.

    `payload_base64` stands there only where the JSON would not give the stored bytes back.
    """
    leaf = view.leaf.decode()
    shown: dict[str, Any] = {
        "id": view.id,
        "origin": view.origin,
        "seq": view.seq,
        "kind": view.kind,
        "fields": json.loads(leaf),
        "leaf": leaf,
        "leaf_hash": view.leaf_hash.hex(),
        "salt": None if view.salt is None else view.salt.hex(),
        "payload": read_payload(view),
        "erased": view.payload is None,
    }
    if view.payload is not None and not _is_compact(shown["payload"], view.payload):
        shown["payload_base64"] = base64.b64encode(view.payload).decode()
    return shown


def read_payload(view: ReceiptView) -> Any:
    """Return the payload as a JSON value; None if it is erased or no JSON."""
    if view.payload is None:
        return None
    try:
        return json.loads(view.payload, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def _is_compact(value: Any, payload: bytes) -> bool:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return text.encode() == payload
    except (UnicodeEncodeError, RecursionError):
        return False


def show_tenant(view: TenantView) -> dict[str, Any]:
    """Show a tenant with its quotas as limit and use."""
    return {
        "id": view.id,
        "name": view.name,
        "handle": view.handle,
        "state": view.state,
        "price_plan": view.price_plan,
        "created_at": format_time(view.created_at),
        "account": view.account,
        "quarantined": view.quarantined,
        "quotas": {
            name: {"limit": limit, "used": used} for name, (used, limit) in view.quotas.items()
        },
    }


def show_new_key(key: NewKey) -> dict[str, Any]:
    """Show a key with its secret, this once."""
    return {"id": key.id, "secret": key.secret, "role": key.role, "tenant": key.tenant_id}


def show_key(key: KeyView) -> dict[str, Any]:
    """Show a key without its secret."""
    return {
        "id": key.id,
        "role": key.role,
        "tenant": key.tenant_id,
        "created_at": format_time(key.created_at),
        "revoked_at": _time(key.revoked_at),
    }


def show_line(view: LineView) -> dict[str, Any]:
    """Show the latch."""
    stops = [
        {"scope": stop.scope, "reason": stop.reason, "by": stop.by, "at": format_time(stop.at)}
        for stop in view.stops
    ]
    return {"generation": view.generation, "stopped": view.stopped, "stops": stops}


def show_health(health: Health) -> dict[str, Any]:
    """Show everything that `/health` knows."""
    return {
        "status": health.readiness,
        "store": health.store,
        "line": show_line(health.line),
        "tenants": health.tenants,
        "tenants_quarantined": health.tenants_quarantined,
        "receipts": health.receipts,
        "uptime_s": round(health.uptime_s, 3),
        "version": health.version,
        "effectors": list(health.effectors),
        "dry_recipes": list(health.dry),
    }


def show_tree(node: TreeNode) -> dict[str, Any]:
    """Show a tree; an exit reason and a detail that is no JSON become text."""
    return {
        "id": node.id,
        "path": node.path,
        "name": node.name,
        "kind": node.kind,
        "state": node.state,
        "restarts": node.restarts,
        "restarts_left": node.restarts_left,
        "mailbox_depth": node.mailbox_depth,
        "held": node.is_held,
        "last_exit": None if node.last_exit is None else repr(node.last_exit)[:REPR_LIMIT],
        "detail": show_value(node.detail),
        "children": [show_tree(child) for child in node.children],
    }


def show_status(status: ActorStatus) -> dict[str, Any]:
    """Show one actor, in the words of the tree where that has them."""
    in_hand = status.in_hand
    return {
        "path": status.path,
        "name": status.name,
        "kind": status.kind,
        "type": status.type,
        "state": status.state,
        "age_s": None if status.age_s is None else round(status.age_s, 3),
        "stop_asked": None if status.stop_asked is None else repr(status.stop_asked)[:REPR_LIMIT],
        "suspended": status.is_suspended,
        "mailbox": {
            **attrs.asdict(status.mailbox),
            "oldest_age_s": round(status.mailbox.oldest_age_s, 3),
        },
        "in_hand": None
        if in_hand is None
        else {
            "kind": in_hand.kind,
            "message": show_value(in_hand.message),
            "client": in_hand.client,
        },
        "stack": list(status.stack),
        "waits_for": list(status.waits_for),
        "pending_replies": status.pending_replies,
        "monitors": list(status.monitors),
        "monitored_by": list(status.monitored_by),
        "links": list(status.links),
        "timers_s": [round(left_s, 3) for left_s in status.timers],
        "keys": [key if isinstance(key, str) else list(key) for key in status.keys],
        "detail": show_value(status.detail),
    }


def show_value(value: object) -> Any:
    """Show any value: JSON as it is, containers by their members, all else as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case Mapping():
            rows = cast("Mapping[object, object]", value)
            return {str(key): show_value(item) for key, item in rows.items()}
        case list() | tuple() | set() | frozenset():
            return [show_value(item) for item in cast("Iterable[object]", value)]
        case datetime():
            return value.isoformat()
        case _:
            return repr(value)[:REPR_LIMIT]


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)
