"""What is said to a receipt writer, and what it says to those who follow its log."""

from __future__ import annotations

import attrs

from autonomics.receipts.entry import Entry
from autonomics.receipts.log import Receipt
from autonomics.runtime import Address, Call, TakesCast


@attrs.frozen
class Appended:
    """The durable receipts, in the order of the entries.

    `duplicate` means that an idempotency key had led to a receipt already: `receipts` holds that
    one alone, and nothing was written.
    """

    receipts: tuple[Receipt, ...]
    duplicate: bool = False


@attrs.frozen
class Append(Call[Appended]):
    """Append entries in one commit, all or none; the reply comes when they are durable.

    Raises Overloaded when the log holds too many undecided signals and `entries` brings another;
    StoreUnavailable, which leaves open whether the entries are durable: ask again with their key.
    """

    entries: tuple[Entry, ...]


@attrs.frozen
class AppendLater:
    """Cast of an actor of the same tenant: append in one commit, and never give up.

    Every entry needs an idempotency key, so that a repeated attempt writes nothing twice. Whoever
    follows the log sees the receipts; a stale line generation comes back as `IntentRefused`.
    """

    sender: Address
    entries: tuple[Entry, ...]


@attrs.frozen
class IntentRefused:
    """Cast to the sender of an intent: it was planned under another generation of the line."""

    entries: tuple[Entry, ...]
    why: str


@attrs.frozen
class LogGrew:
    """Cast to a receipt writer: somebody else has written to its log, as an erasure does."""


@attrs.frozen
class AwaitDecision(Call[Receipt]):
    """Ask for the `decided` receipt of a `received` one; the reply comes once it is durable."""

    seq: int


@attrs.frozen
class Follow:
    """Cast: send me the log from `start` on, page by page, and what is committed from then on."""

    follower: Address[TakesCast[Page]]
    start: int = 0


@attrs.frozen
class More:
    """Cast of a follower that has worked through its page: it gets the next one when there is."""

    follower: Address[TakesCast[Page]]


@attrs.frozen
class Page:
    """Cast to a follower: receipts in seq order, gap-free. `caught_up` if these are the last."""

    receipts: tuple[Receipt, ...]
    caught_up: bool
