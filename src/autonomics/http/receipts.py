"""Receipts: a page of a log, one of them, its relatives, its proof."""

from __future__ import annotations

import re
from typing import Final

from autonomics.actors.message import PLATFORM, ReceiptView
from autonomics.errors import DoorRefused, InvalidInput
from autonomics.http.exchange import TEXT, Answer, Exchange
from autonomics.http.route import OWNERS, Route
from autonomics.http.view import show_receipt

_RECEIPT_ID: Final = re.compile(r"([a-z0-9][a-z0-9._~-]{0,254})\.([0-9]{1,16})")
_SEQ_LIMIT: Final = 2**53 - 1


async def answer_page(exchange: Exchange) -> Answer:
    """Return a log's receipts after a seq; `next` is what to ask `after` for more, or null."""
    limit = exchange.whole("limit", exchange.settings.page_default, 1, exchange.settings.page_limit)
    after = exchange.whole("after", -1, -1, _SEQ_LIMIT)
    log = await _log_of(exchange)
    found = await exchange.control.receipts(log, after + 1, limit)
    return Answer(
        body={
            "receipts": [show_receipt(view) for view in found],
            "next": found[-1].seq if len(found) == limit else None,
        }
    )


async def _log_of(exchange: Exchange) -> str:
    log = exchange.query.get("log")
    if log is None:
        return (await exchange.tenant(exchange.named_tenant())).handle
    if log != PLATFORM or "tenant" in exchange.query:
        raise InvalidInput.expected("log", f"{PLATFORM}, and without tenant", log)
    if exchange.principal.tenant_id is not None:
        raise DoorRefused(
            f"a key of role {exchange.principal.role} may not read the platform's log",
            "role_may_not",
        )
    return PLATFORM


async def answer_receipt(exchange: Exchange) -> Answer:
    """Return one receipt."""
    return Answer(body=show_receipt(await _own_receipt(exchange)))


async def answer_related(exchange: Exchange) -> Answer:
    """Return the receipts of one signal's life, in order."""
    receipt = await _own_receipt(exchange)
    found = await exchange.control.related(receipt.id)
    return Answer(body={"receipts": [show_receipt(view) for view in found]})


async def answer_proof(exchange: Exchange) -> Answer:
    """Return the proof that one receipt is in its log, for other people's tools."""
    receipt = await _own_receipt(exchange)
    return Answer(body=await exchange.control.proof(receipt.id), media_type=TEXT)


async def _own_receipt(exchange: Exchange) -> ReceiptView:
    receipt_id = exchange.args["receipt_id"]
    found = _RECEIPT_ID.fullmatch(receipt_id)
    if found is not None and await _may_read(exchange, found[1]):
        view = await exchange.control.receipt(receipt_id)
        if view is not None:
            return view
    raise DoorRefused(f"there is no receipt {receipt_id[:80]!a}", "unknown_receipt")


async def _may_read(exchange: Exchange, log: str) -> bool:
    own = exchange.principal.tenant_id
    if own is None:
        return True
    view = await exchange.control.tenant(own)
    return view is not None and view.handle == log


ROUTES = (
    Route(
        method="GET",
        path="/v1/receipts",
        name="receipts",
        roles=OWNERS,
        answer=answer_page,
        about="A page of a tenant's log, or with log=platform of the platform's.",
        query=("tenant", "log", "after", "limit"),
    ),
    Route(
        method="GET",
        path="/v1/receipts/<receipt_id>",
        name="receipt",
        roles=OWNERS,
        answer=answer_receipt,
        about="One receipt with leaf and payload.",
    ),
    Route(
        method="GET",
        path="/v1/receipts/<receipt_id>/related",
        name="related",
        roles=OWNERS,
        answer=answer_related,
        about="The receipts of the same signal's life.",
    ),
    Route(
        method="GET",
        path="/v1/receipts/<receipt_id>/proof",
        name="proof",
        roles=OWNERS,
        answer=answer_proof,
        about="A C2SP tlog-proof of the receipt.",
    ),
)
