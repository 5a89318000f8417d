"""A committed receipt as doors see it, and the id that names it."""

from __future__ import annotations

from autonomics.actors.message import PLATFORM, ReceiptView
from autonomics.errors import InvalidInput
from autonomics.receipts.log import Receipt


def view_receipt(log: str, receipt: Receipt) -> ReceiptView:
    """Show a receipt of the log with that short name."""
    return ReceiptView(
        id=f"{log}.{receipt.seq}",
        origin=receipt.origin,
        seq=receipt.seq,
        kind=receipt.fields.kind,
        leaf=receipt.leaf,
        leaf_hash=receipt.leaf_hash,
        salt=receipt.salt,
        payload=receipt.payload,
    )


def parse_receipt_id(text: str) -> tuple[str, int]:
    """Return the log's short name and the seq; InvalidInput for anything else."""
    log, dot, digits = text.rpartition(".")
    is_log = log == PLATFORM or (len(log) == 16 and set(log) <= set("0123456789abcdef"))
    if not dot or not is_log or not (digits.isascii() and digits.isdecimal()) or len(digits) > 15:
        raise InvalidInput.expected("receipt id", "<handle>.<seq> or platform.<seq>", text)
    return log, int(digits)


def origin_of(host: str, log: str) -> str:
    """Return the origin of the log with that short name."""
    return f"{host}/{log}" if log == PLATFORM else f"{host}/t/{log}"
