"""A signal from whoever waits for its decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from autonomics.actors.message import Decided, Inbound
from autonomics.gates.refusal import CATALOGUE, refusal_named
from autonomics.http.credential import read_idempotency_key
from autonomics.http.exchange import Answer, Exchange, Refused
from autonomics.http.problem import PROBLEMS, Problem, status_headers
from autonomics.http.route import EVERYBODY, Route
from autonomics.http.view import read_payload
from autonomics.receipts.leaf import decode_leaf

CHOSEN_SOURCE = "/v1/signals"
"""Source of a message whose sender chose its id."""

OWN_SOURCE = "/v1/signals#request"
"""Source of a message whose id we made: it can't meet one that was chosen."""

POLICY_RETRY_AFTER_S = 60

INPUTS = ("facts", "history", "hit", "matches", "policy")
"""What the decision was made of: it stands in the receipt, and would bury the answer here."""


async def answer_signal(exchange: Exchange) -> Answer | Refused:
    """Submit, wait for the decision, and answer as it went."""
    key = read_idempotency_key(exchange.headers)
    tenant_id = exchange.named_tenant()
    if not exchange.principal.may_act_for(tenant_id):
        tenant_id = (await exchange.tenant(tenant_id)).id
    body, _ = await exchange.json_text()
    inbound = Inbound(
        tenant_id=tenant_id,
        source=CHOSEN_SOURCE if key is not None else OWN_SOURCE,
        message_id=key if key is not None else exchange.new_id(),
        body=body,
        principal=exchange.principal.key_id,
        trace=exchange.trace,
        key_is_chosen=key is not None,
    )
    wait_s = exchange.settings.decision_wait_s
    decided = await exchange.control.submit_and_wait(inbound, wait_s)
    return _show(decided)


def _show(decided: Decided) -> Answer | Refused:
    payload = read_payload(decided.decision)
    decision = cast("dict[str, Any]", payload) if isinstance(payload, dict) else {}
    received = decided.accepted.receipt
    shown: dict[str, Any] = {
        "decision": {name: value for name, value in decision.items() if name not in INPUTS},
        "digest": decode_leaf(decided.decision.leaf).digest,
        "receipts": {"received": received.id, "decided": decided.decision.id},
        "duplicate": decided.accepted.duplicate,
    }
    headers = {"Receipt-Id": decided.decision.id}
    if decided.accepted.duplicate:
        headers["Idempotent-Replayed"] = "true"
    refusal = _refusal(decision)
    if refusal is not None:
        return Refused(_refusal_problem(refusal, shown, headers))
    return Answer(body=shown, headers=headers)


def _refusal(decision: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the verdict that refused an act.

    None where there was no act to refuse: a diagnosis that ends in "no" is a question answered.
    """
    code = decision.get("code")
    row = CATALOGUE.get(code) if isinstance(code, str) else None
    if decision.get("answer") != "refuse" or row is None or row.gate == "diagnosis":
        return None
    verdicts = cast("list[dict[str, Any]]", decision["verdicts"])
    return next((each for each in verdicts if each.get("code") == code), {"code": code})


def _refusal_problem(
    verdict: Mapping[str, Any], shown: Mapping[str, Any], headers: Mapping[str, str]
) -> Problem:
    """Answer with the catalogue's status, and the decision beside it."""
    row = refusal_named(verdict["code"])
    step = verdict.get("next", row.next.record())
    return Problem(
        code=row.code,
        status=row.status,
        title=PROBLEMS["refused"].title,
        detail=verdict.get("reason") or row.rule,
        next_step=step["step"],
        headers={**status_headers(row.status, POLICY_RETRY_AFTER_S), **headers},
        members=shown,
    )


ROUTES = (
    Route(
        method="POST",
        path="/v1/signals",
        name="signal",
        roles=EVERYBODY,
        answer=answer_signal,
        about="One signal; the answer is its decision.",
        query=("tenant",),
    ),
)
