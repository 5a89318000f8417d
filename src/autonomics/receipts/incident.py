"""The evidence of one incident as files: proofs, what they say, and nothing that may not leave.

A payload leaves whole, with the salt that lets a stranger check it, only if every field of it is on
the allow-list. Of any other payload the listed fields are told, and nobody can check them: the
receipt's leaf, which is proven, commits to the whole.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from autonomics.errors import InvalidInput
from autonomics.receipts import canonical, verify
from autonomics.receipts.checkpoint import Checkpoint, contradicts, parse_checkpoint
from autonomics.receipts.leaf import format_time
from autonomics.receipts.log import Receipt
from autonomics.receipts.proof import format_proof

SCHEMA: Final = "autonomics.incident/1"

# By payload type: the fields that may leave, `*` for each item of a list. Free text, names of
# people and of resources, labels and what a recipe read are not here: any of them may be personal.
ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    kind: frozenset(paths.split())
    for kind, paths in {
        "autonomics.genesis/1": "log schema",
        "autonomics.epoch/1": "previous size",
        "autonomics.received/1": (
            "signal.kind signal.resource_type signal.severity signal.status signal.event_at"
            " signal.closed reason"
        ),
        "autonomics.decided/1": (
            "action_id answer closed code digest engine event_at now diagnosis.closed"
            " diagnosis.outcome diagnosis.score diagnosis.margin diagnosis.recipe.id"
            " diagnosis.recipe.version diagnosis.recipe.digest diagnosis.findings.*.name"
            " diagnosis.findings.*.required diagnosis.findings.*.truth diagnosis.findings.*.veto"
            " diagnosis.findings.*.weight verdicts.*.gate verdicts.*.ruling verdicts.*.code"
            " state.from state.to plan.calls.*.call"
        ),
        "autonomics.approval/1": "action_id approved",
        "autonomics.intent/1": "action_id digest plan.calls.*.call recipe.id recipe.version"
        " recipe.digest",
        "autonomics.outcome/1": "action_id attempts calls_done result",
        "autonomics.verified/1": "action_id result",
        "autonomics.rolled_back/1": "action_id result",
    }.items()
}

TEMPLATES: Final[Mapping[str, str]] = {
    "received": "A signal of kind {signal.kind} became durable.",
    "decided": (
        "Recipe {diagnosis.recipe.id} {diagnosis.recipe.version} gave the diagnosis"
        " {diagnosis.outcome}; the answer was {answer}, its code {code}."
    ),
    "approval": "A person or rule answered; approved: {approved}.",
    "intent": "Act {action_id} was about to be attempted.",
    "outcome": "Act {action_id} ended: {result}, calls done {calls_done}.",
    "verified": "The effect of act {action_id} was read back: {result}.",
    "rolled_back": "Act {action_id} was undone: {result}.",
    "erasure": "The payload of an earlier receipt was about to be erased.",
}
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,99}")
_FIELD: Final = re.compile(r"\{([a-z_.]+)\}")


@attrs.frozen
class _Told:
    """One receipt of the incident: what of its payload may be told, and whether that is all."""

    receipt: Receipt
    payload: Any
    is_whole: bool


def find_incident(receipts: Sequence[Receipt], seq: int) -> list[int]:
    """Seqs of what led to a receipt and of all that followed from it, in order.

    `receipts` is the log from its genesis; InvalidInput if it has no such receipt.
    """
    if not 0 <= seq < len(receipts):
        raise InvalidInput.expected("seq", f"of a receipt below {len(receipts)}", seq)
    found: set[int] = set()
    ahead = [seq]
    while ahead:
        current = ahead.pop()
        if current not in found:
            found.add(current)
            ahead.extend(receipts[current].fields.cause)
    for receipt in receipts[min(found) :]:
        if not found.isdisjoint(receipt.fields.cause):
            found.add(receipt.seq)
    return sorted(found)


def export_incident(
    receipts: Sequence[Receipt],
    checkpoint: bytes,
    seq: int,
    verifier: bytes,
    *,
    allowed: Mapping[str, frozenset[str]] = ALLOWED,
) -> Iterator[tuple[str, bytes]]:
    """(relative path, bytes) of each file; the same bytes for the same log, checkpoint and seq.

    `receipts` is the log from its genesis, at least up to the checkpoint's size. `verifier` is the
    content of `verify.py`. InvalidInput if log and checkpoint don't agree, or don't hold `seq`.
    """
    head = parse_checkpoint(checkpoint)
    receipts = receipts[: head.size]
    hashes = [receipt.leaf_hash for receipt in receipts]
    if problem := contradicts(head, hashes):
        raise InvalidInput.expected("receipts", f"the log of the checkpoint ({problem})", head)
    told = [_tell(receipts[found], allowed) for found in find_incident(receipts, seq)]
    yield "incident.json", canonical.encode(_describe(told, head, seq)) + b"\n"
    yield "narrative.md", _narrate(told, head, seq).encode()
    for item in told:
        shown = item.receipt
        if not item.is_whole:
            shown = attrs.evolve(shown, salt=None, payload=None)
        path = f"proofs/{item.receipt.seq:010d}.tlog-proof"
        yield path, format_proof(shown, hashes, checkpoint)
    yield "verify.py", verifier
    yield "checkpoint", checkpoint


def _tell(receipt: Receipt, allowed: Mapping[str, frozenset[str]]) -> _Told:
    payload = _read_payload(receipt.payload)
    if payload is None:
        return _Told(receipt, None, is_whole=False)
    paths = allowed.get(receipt.fields.payload_type, frozenset())
    kept = redact(payload, frozenset(tuple(path.split(".")) for path in paths))
    return _Told(receipt, kept, is_whole=kept == payload)


def _read_payload(payload: bytes | None) -> dict[str, Any] | None:
    """Read a payload in its canonical form; anything else has no fields that could be allowed."""
    try:
        value = verify.parse_canonical(payload or b"")
    except verify.Invalid:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def redact(value: object, allowed: frozenset[tuple[str, ...]]) -> Any:
    """Keep what an allowed path leads to; None for all else, and no key that leads to nothing."""
    if isinstance(value, dict):
        found = {
            key: redact(item, _below(allowed, key))
            for key, item in cast("dict[str, object]", value).items()
            if _below(allowed, key)
        }
        return found or None
    if isinstance(value, list):
        below = _below(allowed, "*")
        return [redact(item, below) for item in cast("list[object]", value)] if below else None
    return value if () in allowed else None


def _below(allowed: frozenset[tuple[str, ...]], key: str) -> frozenset[tuple[str, ...]]:
    return frozenset(path[1:] for path in allowed if path and path[0] == key)


def _describe(told: Sequence[_Told], head: Checkpoint, seq: int) -> dict[str, Any]:
    included = {item.receipt.seq for item in told}
    causes = {cause for item in told for cause in item.receipt.fields.cause}
    return {
        "schema": SCHEMA,
        "about": seq,
        "log": head.origin,
        "size": head.size,
        "root": base64.b64encode(head.root).decode(),
        "receipts": [_describe_receipt(item) for item in told],
        "causes_elsewhere": sorted(causes - included),
        "recipes": _list_recipes(told),
        "policies": _list_policies(told),
    }


def _describe_receipt(item: _Told) -> dict[str, Any]:
    return {
        "seq": item.receipt.seq,
        "leaf_hash": item.receipt.leaf_hash.hex(),
        "leaf": verify.parse_json(item.receipt.leaf),
        "payload": item.payload,
        "payload_is": _name_state(item),
    }


def _name_state(item: _Told) -> str:
    if item.receipt.payload is None:
        return "erased"
    return "whole, and proven" if item.is_whole else "redacted"


def _list_recipes(told: Sequence[_Told]) -> list[dict[str, str]]:
    found = {item.receipt.fields.recipe for item in told} - {None}
    named = [attrs.asdict(recipe) for recipe in found if recipe is not None]
    return sorted(named, key=lambda recipe: (recipe["id"], recipe["version"], recipe["digest"]))


def _list_policies(told: Sequence[_Told]) -> list[dict[str, Any]]:
    """Digest of the policy that stood in each decision, over its RFC 8785 form."""
    found: list[dict[str, Any]] = []
    for item in told:
        policy = (_read_payload(item.receipt.payload) or {}).get("policy")
        if item.receipt.fields.kind == "decided" and policy is not None:
            digest = hashlib.sha256(canonical.encode(policy)).hexdigest()
            found.append({"seq": item.receipt.seq, "digest": digest})
    return found


def _narrate(told: Sequence[_Told], head: Checkpoint, seq: int) -> str:
    root = base64.b64encode(head.root).decode()
    step = "python verify.py proofs/NUMBER.tlog-proof --vkey KEY"
    lines = [
        f"# Incident around receipt {seq}",
        "",
        f"Log `{head.origin}`, {head.size} receipts, root `{root}`.",
        "Order is the number of the receipt; times are claims.",
        "",
        *map(_narrate_receipt, told),
        "",
        f"Each receipt has a proof: `{step}`, with a key that you did not find here.",
        "",
    ]
    return "\n".join(lines)


def _narrate_receipt(item: _Told) -> str:
    fields = item.receipt.fields
    after = f" after {', '.join(map(str, fields.cause))}" if fields.cause else ""
    if item.receipt.payload is None:
        text = "Its payload is erased."
    else:
        template = TEMPLATES.get(fields.kind, "A receipt of this kind was written.")
        text = _FIELD.sub(lambda found: _show(item.payload, found[1]), template)
    return f"- {item.receipt.seq} `{fields.kind}` {format_time(fields.at)}{after}: {text}"


def _show(payload: Any, path: str) -> str:
    """Show a value where it can't be taken for more than a value: it may come from a stranger."""
    for name in path.split("."):
        payload = cast("dict[str, Any]", payload).get(name) if isinstance(payload, dict) else None
    if payload is None:
        return "(none told)"
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return text if _PLAIN.fullmatch(text) else f"`{json.dumps(text[:100]).replace('`', '?')}`"
