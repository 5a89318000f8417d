"""People: where they are named, and to erase it. They stand in bodies, never in a URL or a log."""

from __future__ import annotations

from typing import Any

from autonomics.actors.message import NamedIn
from autonomics.errors import DoorRefused
from autonomics.http.exchange import Answer, Exchange
from autonomics.http.route import ADMINS, Route


async def answer_find(exchange: Exchange) -> Answer:
    """Return which receipts name a person."""
    texts = await exchange.texts("subject")
    found = await exchange.control.find_subject(texts["subject"])
    return Answer(body={"receipts": [_show(named) for named in _expect_some(found)]})


async def answer_erase(exchange: Exchange) -> Answer:
    """Erase each payload that names a person; what is kept is told with its reason."""
    texts = await exchange.texts("subject", "reason")
    by = exchange.principal.key_id
    found = await exchange.control.erase_subject(texts["subject"], texts["reason"], by)
    _expect_some(found)
    return Answer(
        body={
            "erased": [_show(named) for named in found if named.kept is None],
            "kept": [_show(named) for named in found if named.kept is not None],
        }
    )


def _expect_some(found: tuple[NamedIn, ...]) -> tuple[NamedIn, ...]:
    if not found:
        raise DoorRefused("no payload names this subject", "unknown_subject")
    return found


def _show(named: NamedIn) -> dict[str, Any]:
    return {"receipt": named.receipt_id, "kind": named.kind, "kept": named.kept}


ROUTES = (
    Route(
        method="POST",
        path="/v1/subjects/find",
        name="find_subject",
        roles=ADMINS,
        answer=answer_find,
        about="Which payloads name a person: subject.",
    ),
    Route(
        method="POST",
        path="/v1/subjects/erase",
        name="erase_subject",
        roles=ADMINS,
        answer=answer_erase,
        about="Erase each payload that names a person: subject, reason.",
    ),
)
