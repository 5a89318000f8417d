"""One leaf, schema `autonomics.receipt/1`: what is hashed, and nothing but that.

A key without a value is left out; null would give one leaf two forms. The rules for reading stand
in `verify.parse_leaf`, the one place that decides what a leaf is.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import attrs

from autonomics.errors import InvalidInput, NotCanonical
from autonomics.receipts import verify

SCHEMA: Final = verify.LEAF_SCHEMA

# What the writer may record. A verifier accepts further kinds, so that old ones can read new logs.
KINDS: Final[dict[str, str]] = {
    "genesis": "the log begins",
    "epoch": "the store was opened again",
    "received": "a signal is durable",
    "decided": "a decision, also a refusal",
    "approval": "a person or rule answered",
    "intent": "an act is about to be attempted",
    "outcome": "how the attempt ended",
    "verified": "the effect was read back",
    "rolled_back": "the act was undone",
    "gate": "a gate changed",
    "line": "the line was stopped or cleared",
    "restart": "a supervisor restarted a child",
    "tenant": "a tenant's life",
    "entitlement": "an entitlement changed",
    "usage": "metered use",
    "key": "a key was made, changed or revoked",
    "erasure": "a payload is about to be erased; `ref` names its receipt",
    "seal": "the log ends",
}


@attrs.frozen
class RecipeRef:
    """Which recipe decided: its id, version and content digest (64 hex digits)."""

    id: str
    version: str
    digest: str


@attrs.frozen(kw_only=True)
class Leaf:
    """The fields of a receipt. `at` is a claim; `seq` is the order."""

    log: str
    seq: int
    prev: bytes
    epoch: int
    at: datetime
    kind: str
    actor: str
    cause: tuple[int, ...] = ()
    idem: str | None = None
    recipe: RecipeRef | None = None
    digest: str | None = None
    commit: bytes
    payload_type: str
    trace: str | None = None
    ref: int | None = None


@lru_cache(maxsize=64)  # all leaves of an append have one time, and this is half of a leaf
def format_time(at: datetime) -> str:
    """RFC 3339 in UTC with microseconds; InvalidInput for a naive datetime."""
    if at.tzinfo is None:
        raise InvalidInput.expected("at", "an aware datetime", at)
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


_quote = json.encoder.encode_basestring


def encode_leaf(leaf: Leaf) -> bytes:
    """Write the canonical bytes; NotCanonical if they exceed 8 KiB or break a field's form.

    The text is laid out in key order by hand: it equals RFC 8785 (a property test holds it to
    that) at a third of the cost of sorting a dict, on the hottest path of the ledger.
    """
    causes = ",".join(map(str, leaf.cause))
    digest = "" if leaf.digest is None else f'"digest":{_quote(leaf.digest)},'
    idem = "" if leaf.idem is None else f'"idem":{_quote(leaf.idem)},'
    recipe = "" if leaf.recipe is None else f'"recipe":{_encode_recipe(leaf.recipe)},'
    ref = "" if leaf.ref is None else f'"ref":{leaf.ref},'
    trace = "" if leaf.trace is None else f'"trace":{_quote(leaf.trace)},'
    text = (
        f'{{"actor":{_quote(leaf.actor)},"cause":[{causes}],"commit":"{leaf.commit.hex()}",'
        f'{digest}"epoch":{leaf.epoch},{idem}"kind":{_quote(leaf.kind)},"log":{_quote(leaf.log)},'
        f'"payload_type":{_quote(leaf.payload_type)},"prev":"{leaf.prev.hex()}",{recipe}{ref}'
        f'"seq":{leaf.seq},{trace}"ts":"{format_time(leaf.at)}","v":"{SCHEMA}"}}'
    )
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise NotCanonical.expected("leaf", "free of lone surrogates", text) from None
    if len(data) > verify.MAX_LEAF_BYTES:
        raise NotCanonical.expected("leaf", f"at most {verify.MAX_LEAF_BYTES} bytes", len(data))
    return data


def _encode_recipe(recipe: RecipeRef) -> str:
    return (
        f'{{"digest":{_quote(recipe.digest)},"id":{_quote(recipe.id)},'
        f'"version":{_quote(recipe.version)}}}'
    )


def decode_leaf(data: bytes) -> Leaf:
    """Read stored bytes; NotCanonical for an unknown `v` or key, or any other form."""
    try:
        fields = verify.parse_leaf(data)
    except verify.Invalid as error:
        raise NotCanonical.expected("leaf", f"{SCHEMA} ({error.reason})", data) from None
    return _from_fields(fields)


def _from_fields(fields: dict[str, Any]) -> Leaf:
    recipe = fields.get("recipe")
    return Leaf(
        log=fields["log"],
        seq=fields["seq"],
        prev=bytes.fromhex(fields["prev"]),
        epoch=fields["epoch"],
        at=datetime.fromisoformat(fields["ts"]),
        kind=fields["kind"],
        actor=fields["actor"],
        cause=tuple(fields["cause"]),
        idem=fields.get("idem"),
        recipe=RecipeRef(**recipe) if recipe is not None else None,
        digest=fields.get("digest"),
        commit=bytes.fromhex(fields["commit"]),
        payload_type=fields["payload_type"],
        trace=fields.get("trace"),
        ref=fields.get("ref"),
    )
