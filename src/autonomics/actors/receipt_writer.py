"""The receipt writer: the only one who appends to its log.

It keeps one commit under way and gathers meanwhile what comes next, so that a busy log costs one
fsync for many receipts. Two things can go wrong with a commit, and both are read off the ledger's
answer: a key that came before (the first receipt is the answer) and a store that went away. After
the latter nobody knows what is durable: whoever waits at a door is told so and may ask again with
the same key; what actors of the tenant gave is tried again until it is durable, each under its
idempotency key, so nothing is written twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import attrs

from autonomics.actors.ledger import Ledger
from autonomics.actors.ledger_message import (
    AppendBatch,
    BatchDone,
    OpenedLog,
    OpenLog,
    ReadLog,
    StaleEpoch,
)
from autonomics.actors.source import Source
from autonomics.actors.writer_message import (
    Append,
    Appended,
    AppendLater,
    AwaitDecision,
    Follow,
    IntentRefused,
    LogGrew,
    More,
    Page,
)
from autonomics.errors import (
    CallFailed,
    IdempotencyConflict,
    Overloaded,
    StoreUnavailable,
)
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import LogHead, Receipt, append, count_salts
from autonomics.receipts.store import Committed, Refused, make_batch
from autonomics.runtime import (
    NO_REPLY,
    Actor,
    Address,
    Continue,
    Down,
    MailboxSpec,
    Monitor,
    ReplyTo,
    TakesCast,
)
from autonomics.telemetry import declare, emit

PAGE = 256
KEPT = 4096
MAX_ENTRIES = 256
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 2.0

declare(
    "receipt_writer.waits",
    "A log can't be read or written now; what its tenant's actors gave is kept.",
    log="origin",
    reason="why",
)


@attrs.define(eq=False)
class _Group:
    """Entries that are appended together, and who wants to hear of it."""

    entries: tuple[Entry, ...]
    sender: Address | None = None
    waiting: list[ReplyTo] = attrs.Factory(list[ReplyTo])

    @property
    def generation(self) -> int | None:
        """The line generation of the group's intent."""
        found = [e.line_generation for e in self.entries if e.line_generation is not None]
        return found[0] if found else None

    @property
    def key(self) -> str | None:
        """The key under which a twin joins this group."""
        return self.entries[0].idem if len(self.entries) == 1 else None


@attrs.define
class _Follower:
    """Where a follower stands; `is_hungry` once it has asked for more."""

    address: Address[TakesCast[Page]]
    next_seq: int
    is_hungry: bool = True
    was_caught_up: bool = False


class ReceiptWriter(Actor):
    """Appends to one log, feeds those who follow it, and answers when a decision is there.

    `open_signals` bounds the undecided signals; None for a log whose messages nobody decides.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=4096)

    def __init__(
        self,
        origin: str,
        *,
        ledger: Address[Ledger],
        source: Source,
        open_signals: int | None,
    ) -> None:
        self._origin = origin
        self._ledger = ledger
        self._source = source
        self._open_signals = open_signals
        self._opened: OpenedLog | None = None
        self._known = 0
        self._kept: deque[Receipt] = deque(maxlen=KEPT)
        self._undecided: set[int] = set()
        self._waiting: deque[_Group] = deque()
        self._committing: list[_Group] = []
        self._next_head: LogHead | None = None
        self._committing_receipts: list[Receipt] = []
        self._one_at_a_time = 0
        self._decision_waits: dict[int, list[ReplyTo]] = {}
        self._followers: list[_Follower] = []
        self._retry_s = FIRST_RETRY_S
        self._ledger_monitor: Monitor | None = None

    async def init(self) -> Continue:
        """Return at once; the log is read in the next step."""
        return Continue("open")

    async def handle_continue(self, message: object) -> None:
        """Find out where the log stands."""
        await self._reopen()

    def describe(self) -> object:
        """Show how much is waiting."""
        return {"receipts": self._known, "undecided": len(self._undecided)}

    # Requests

    async def handle_call(self, message: Append | AwaitDecision, reply_to: ReplyTo) -> object:
        """Take entries, or a wait for a decision."""
        match message:
            case Append(entries):
                self._take(entries, reply_to)
            case AwaitDecision(seq):
                decision = None if seq in self._undecided else await self._find_decision(seq)
                if decision is not None:
                    return decision
                self._decision_waits.setdefault(seq, []).append(reply_to)
            case _:
                raise TypeError(f"expected entries to append, got {message!r}")
        return NO_REPLY

    async def handle_cast(self, message: AppendLater | BatchDone | LogGrew | Follow | More) -> None:
        """Take entries from an actor of the tenant, the ledger's answer, or a follower's wish."""
        match message:
            case AppendLater(sender, entries):
                self._waiting.append(_Group(entries, sender))
                self._commit_waiting()
            case BatchDone(result):
                await self._finish(result)
            case LogGrew():
                if self._opened is not None and not self._committing:
                    await self._reopen()  # else the commit under way will tell
            case Follow(follower, start):
                self._followers = [f for f in self._followers if f.address != follower]
                self._followers.append(_Follower(follower, start))
                await self._feed()
            case More(follower):
                for known in self._followers:
                    if known.address == follower:
                        known.is_hungry = True
                await self._feed()
            case _:
                raise TypeError(f"expected entries to append, got {message!r}")

    async def handle_info(self, message: object) -> None:
        """Try again to open the log; outlive a ledger that died."""
        match message:
            case "reopen" if self._opened is None:
                await self._reopen()
            case Down(tag="ledger"):
                groups, self._committing = self._committing, []
                self._survive(groups, StoreUnavailable("the ledger is being restarted"))
            case _:
                pass

    def _take(self, entries: tuple[Entry, ...], reply_to: ReplyTo) -> None:
        if len(entries) == 1 and entries[0].idem is not None:
            # A twin joins the pending append: asking the store would find nothing yet.
            for group in (*self._committing, *self._waiting):
                if group.key == entries[0].idem:
                    group.waiting.append(reply_to)
                    return
        if self._open_signals is not None and any(e.kind == "received" for e in entries):
            on_the_way = (*self._committing, *self._waiting)
            pending = sum(e.kind == "received" for g in on_the_way for e in g.entries)
            held = len(self._undecided) + pending
            if held >= self._open_signals:
                why = f"{self._origin} may not take another signal: undecided signals"
                reply_to.fail(Overloaded(f"{why} (limit={self._open_signals}, used={held})"))
                return
        if self._opened is None:
            reply_to.fail(StoreUnavailable(f"{self._origin} can't be written now"))
            return
        self._waiting.append(_Group(entries, waiting=[reply_to]))
        self._commit_waiting()

    # Committing

    def _commit_waiting(self) -> None:
        if self._committing or not self._waiting or self._opened is None:
            return
        self._committing = self._choose()
        entries = [entry for group in self._committing for entry in group.entries]
        opened = self._opened
        if not entries and opened.head.size > 0:  # the genesis is there by now
            self._committing = []
            self._commit_waiting()
            return
        salts = [
            self._source.random_bytes(32)
            for _ in range(count_salts(opened.head, entries, opened.epoch))
        ]
        after, receipts = append(
            opened.head, entries, self._source.clock(), salts, opened.idem_key, epoch=opened.epoch
        )
        batch = make_batch(opened.head, after, entries, receipts, opened.idem_key)
        self._next_head, self._committing_receipts = after, receipts
        self._ledger.cast(AppendBatch(self.ref, batch, opened.epoch))

    def _choose(self) -> list[_Group]:
        """Take groups that may share a batch: of one line generation, or a lone one."""
        chosen = [self._waiting.popleft()]
        if self._one_at_a_time:
            self._one_at_a_time -= 1
            return chosen
        generation, size = chosen[0].generation, len(chosen[0].entries)
        while self._waiting and size + len(self._waiting[0].entries) <= MAX_ENTRIES:
            other = self._waiting[0].generation
            if generation is not None and other is not None and other != generation:
                break
            generation = generation if other is None else other
            size += len(self._waiting[0].entries)
            chosen.append(self._waiting.popleft())
        return chosen

    async def _finish(self, result: object) -> None:
        groups, self._committing = self._committing, []
        match result:
            case Committed(head):
                self._accept(groups, head)
            case Refused(IdempotencyConflict(), seq) if len(groups) == 1 and seq is not None:
                await self._answer_duplicate(groups[0], seq)
            case Refused() if len(groups) > 1:
                # One of them is the reason; alone, it will be known which.
                self._put_back(groups)
                self._one_at_a_time = len(groups)
            case Refused(error):
                await self._resolve_fenced(groups[0], str(error))
            case StaleEpoch():
                self._put_back(groups)
                await self._reopen()
            case StoreUnavailable():
                self._survive(groups, result)
            case _:
                raise TypeError(f"expected the ledger's answer, got {result!r}")
        self._commit_waiting()
        await self._feed()

    def _accept(self, groups: Sequence[_Group], head: LogHead) -> None:
        assert self._opened is not None
        assert self._next_head == head, "the store stands where the batch led"
        self._opened = attrs.evolve(self._opened, head=head)
        receipts = self._committing_receipts
        self._note(receipts)
        position = len(receipts) - sum(len(group.entries) for group in groups)
        for group in groups:
            own = tuple(receipts[position : position + len(group.entries)])
            position += len(own)
            for place, reply_to in enumerate(group.waiting):
                reply_to.reply(Appended(own, duplicate=place > 0))

    async def _answer_duplicate(self, group: _Group, seq: int) -> None:
        if group.waiting:
            try:
                first = await self._ledger.call(ReadLog(self._origin, seq, 1))
            except (CallFailed, StoreUnavailable) as error:
                self._fail(group, StoreUnavailable(str(error)))
                return
            for reply_to in group.waiting:
                reply_to.reply(Appended(tuple(first), duplicate=True))

    async def _resolve_fenced(self, group: _Group, why: str) -> None:
        before = self._opened
        await self._reopen()
        if self._opened is None:
            self._let_go([group], StoreUnavailable(why))
        elif before is None or self._opened.head != before.head:
            self._put_back([group])  # our head was old; now it is not
        elif group.generation is None:
            raise RuntimeError(f"{self._origin} is where its writer thinks, yet refused: {why}")
        elif group.sender is not None:
            group.sender.cast(IntentRefused(group.entries, why))

    def _survive(self, groups: list[_Group], error: StoreUnavailable) -> None:
        """Go on without the store for a while, and try again to open the log."""
        self._opened = None
        self._let_go(groups, error)
        self.send_after(self._retry_s, "reopen")

    def _let_go(self, groups: list[_Group], error: StoreUnavailable) -> None:
        """Nobody knows what of this is durable: tell the doors, keep what the tenant's own said."""
        lost = [*groups, *self._waiting]
        self._waiting = deque(group for group in lost if group.sender is not None)
        self._one_at_a_time = len(self._waiting)
        for group in lost:
            self._fail(group, error)
            group.waiting.clear()

    @staticmethod
    def _fail(group: _Group, error: StoreUnavailable) -> None:
        for reply_to in group.waiting:
            reply_to.fail(error)

    def _put_back(self, groups: list[_Group]) -> None:
        self._waiting.extendleft(reversed(groups))

    # Reading

    async def _reopen(self) -> None:
        """Read the head, and whatever was committed without our hearing of it."""
        if self._ledger_monitor is not None:
            self._ledger_monitor.cancel(flush=True)
        self._ledger_monitor = self._ledger.monitor("ledger")
        try:
            opened = await self._ledger.call(OpenLog(self._origin))
            while self._known < opened.head.size:
                self._note(await self._ledger.call(ReadLog(self._origin, self._known, PAGE)))
        except (CallFailed, StoreUnavailable) as error:
            emit("receipt_writer.waits", log=self._origin, reason=str(error))
            self._survive([], StoreUnavailable(str(error)))
            self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)
            return
        self._opened = opened
        self._retry_s = FIRST_RETRY_S
        if opened.head.size == 0:
            # No log is ever empty: a group without entries brings the genesis alone.
            self._waiting.appendleft(_Group(()))
        self._commit_waiting()
        await self._feed()

    def _note(self, receipts: Sequence[Receipt]) -> None:
        """Take note of committed receipts: what is undecided, and who waited for a decision."""
        for receipt in receipts:
            self._known = receipt.seq + 1
            self._kept.append(receipt)
            match receipt.fields.kind:
                case "received" if self._open_signals is not None:
                    self._undecided.add(receipt.seq)
                case "decided":
                    for seq in receipt.fields.cause:
                        self._undecided.discard(seq)
                        for reply_to in self._decision_waits.pop(seq, ()):
                            reply_to.reply(receipt)
                case "erasure" if receipt.fields.ref is not None:
                    self._forget(receipt.fields.ref)
                case _:
                    pass

    def _forget(self, seq: int) -> None:
        """Let go of a payload that was erased; a signal without one is not decided any more."""
        self._undecided.discard(seq)
        place = seq - self._kept[0].seq
        if place >= 0:
            self._kept[place] = attrs.evolve(self._kept[place], salt=None, payload=None)

    async def _feed(self) -> None:
        """Give each hungry follower its next page."""
        if self._followers:
            self._followers = [f for f in self._followers if _is_alive(f.address)]
        for follower in self._followers:
            is_behind = follower.next_seq < self._known
            if not follower.is_hungry or not (is_behind or not follower.was_caught_up):
                continue
            page = await self._read(follower.next_seq) if is_behind else ()
            if page is None or self._opened is None:
                return  # comes again with the next page or the next opening
            follower.next_seq += len(page)
            follower.is_hungry = False
            follower.was_caught_up = follower.next_seq >= self._known
            follower.address.cast(Page(page, follower.was_caught_up))

    async def _read(self, start: int) -> tuple[Receipt, ...] | None:
        first_kept = self._kept[0].seq if self._kept else self._known
        if start >= first_kept:
            # Index arithmetic: kept receipts are gap-free.
            stop = min(start + PAGE, self._known)
            return tuple(self._kept[seq - first_kept] for seq in range(start, stop))
        try:
            return tuple(await self._ledger.call(ReadLog(self._origin, start, PAGE)))
        except (CallFailed, StoreUnavailable):
            return None

    async def _find_decision(self, seq: int) -> Receipt | None:
        start = seq + 1
        while start < self._known:
            page = await self._read(start)
            if not page:
                return None
            for receipt in page:
                if receipt.fields.kind == "decided" and seq in receipt.fields.cause:
                    return receipt
            start += len(page)
        return None


def _is_alive(address: Address) -> bool:
    return address.is_alive()
