"""The ledger: the store's one committing writer, and the front that outlives the disk.

Many logs wait for one commit: while the writer is busy with a commit, batches gather in the front
and go out together with the next one. If the disk fails, the writer dies with it; the front
answers `StoreUnavailable` at once until a new writer has opened the store. Its spec starts it with
growing spacing and outside the budget, so nothing below the ledger is restarted.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

import attrs

from autonomics.actors.ledger_message import (
    AppendBatch,
    BatchDone,
    PutSignature,
    SaveCheckpoints,
    SignHead,
    StaleEpoch,
    StoreQuestion,
    StoreTrouble,
)
from autonomics.errors import (
    InvalidInput,
    LedgerError,
    LogForked,
    StoreUnavailable,
)
from autonomics.receipts.checkpoint import checkpoint_of, sign_checkpoint
from autonomics.receipts.log import LogHead
from autonomics.receipts.signer import Signer
from autonomics.receipts.store import (
    Batch,
    BatchResult,
    Commit,
    Committed,
    Fence,
    Store,
    deployment_idem_key,
)
from autonomics.runtime import (
    NO_REPLY,
    Actor,
    ActorRef,
    Address,
    Down,
    ExitReason,
    MailboxSpec,
    NoProcess,
    ReplyTo,
    Shutdown,
    TakesCast,
)
from autonomics.telemetry import declare, emit

MAX_BATCHES = 256
SIGNED_AT_ONCE = 64

declare(
    "ledger.store_opened",
    "The store is open and takes commits.",
    epoch="number of this opening",
)
declare(
    "ledger.store_lost",
    "The store can't take commits; it is opened anew with growing spacing.",
    reason="why",
)
declare(
    "ledger.forked",
    "A checkpoint would contradict the log or an earlier checkpoint; it was not signed.",
    error="what contradicts what",
)

RandomBytes = Callable[[int], bytes]


@attrs.frozen
class _Write:
    batches: tuple[Batch, ...]


@attrs.frozen
class _Written:
    results: tuple[BatchResult, ...]


@attrs.frozen
class _Ask:
    token: int
    question: StoreQuestion[Any]


@attrs.frozen
class _Answer:
    token: int
    value: object


@attrs.frozen
class _WriterUp:
    writer: ActorRef[StoreWriter]
    epoch: int


class StoreWriter(Actor):
    """Owns the open store. Any error of the disk ends it: a second fsync may lie."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=100_000)

    def __init__(
        self,
        store: Store,
        *,
        random_bytes: RandomBytes,
        front: Address[TakesCast[_WriterUp | _Written | _Answer]],
    ) -> None:
        self._store = store
        self._random_bytes = random_bytes
        self._front = front
        self._fence = Fence(0, 0)

    async def init(self) -> None:
        """Open the store, which raises its epoch, and tell the front."""
        self._fence = await self._store.open()
        await deployment_idem_key(self._store, self._random_bytes(32))
        self._front.cast(_WriterUp(self.ref, self._fence.epoch))

    async def handle_cast(self, message: _Write | _Ask) -> None:
        """Commit, or answer a question."""
        match message:
            case _Write(batches):
                result = await self._store.commit(Commit(self._fence, batches))
                self._fence = result.fence
                self._front.cast(_Written(result.results))
            case _Ask(token, question):
                answer = await self._put(question)
                if question.writes:
                    self._fence = await self._store.fence()
                self._front.cast(_Answer(token, answer))
            case _:
                raise TypeError(f"expected a commit or a question, got {message!r}")

    async def _put(self, question: StoreQuestion[Any]) -> object:
        try:
            return await question.put(self._store)
        except StoreUnavailable:
            raise  # this store can't go on, so neither can its writer
        except (LedgerError, InvalidInput) as error:
            return error

    async def terminate(self, reason: ExitReason) -> None:
        """Close the store."""
        await self._store.close()


class Ledger(Actor):
    """The front: takes batches and questions, groups commits, signs what has grown."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=100_000)

    def __init__(self, *, signer: Signer, checkpoint_every_s: float) -> None:
        self._signer = signer
        self._checkpoint_every_s = checkpoint_every_s
        self._writer: ActorRef[StoreWriter] | None = None
        self._epoch = 0
        self._waiting: list[AppendBatch] = []
        self._committing: list[AppendBatch] = []
        self._asked: dict[int, ReplyTo | None] = {}
        self._tokens = count()
        self._grown: dict[str, LogHead] = {}
        self._trouble = "the store is not open yet"

    async def init(self) -> None:
        """Sign what has grown, from now on; the writer announces itself."""
        self.send_every(self._checkpoint_every_s, "sign")

    async def handle_call(
        self, message: StoreTrouble | SignHead | StoreQuestion[Any], reply_to: ReplyTo
    ) -> object:
        """Pass a question on to the writer."""
        match message:
            case StoreTrouble():
                return self._trouble
            case SignHead(origin):
                self._ask(PutSignature(origin, self._signer), reply_to)
            case StoreQuestion():
                self._ask(message, reply_to)
            case _:
                raise TypeError(f"expected a question to the store, got {message!r}")
        return NO_REPLY

    def _ask(self, question: StoreQuestion[Any], reply_to: ReplyTo | None) -> None:
        if self._writer is None:
            if reply_to is not None:
                reply_to.fail(StoreUnavailable(self._trouble))
            return
        token = next(self._tokens)
        self._asked[token] = reply_to
        self._writer.cast(_Ask(token, question))

    async def handle_cast(self, message: AppendBatch | _WriterUp | _Written | _Answer) -> None:
        """Take a batch, or what the writer says."""
        match message:
            case AppendBatch():
                self._take(message)
            case _WriterUp(writer, epoch):
                writer.monitor("writer")
                self._writer, self._epoch, self._trouble = writer, epoch, ""
                emit("ledger.store_opened", epoch=epoch)
            case _Written(results):
                self._finish(results)
            case _Answer(token, value):
                self._settle(self._asked.pop(token), value)
            case _:
                raise TypeError(f"expected a batch, got {message!r}")

    def _take(self, batch: AppendBatch) -> None:
        if self._writer is None:
            batch.sender.cast(BatchDone(StoreUnavailable(self._trouble)))
        elif batch.epoch != self._epoch:
            batch.sender.cast(BatchDone(StaleEpoch()))
        else:
            self._waiting.append(batch)
            self._commit_waiting()

    def _commit_waiting(self) -> None:
        if self._committing or not self._waiting or self._writer is None:
            return
        self._committing = self._waiting[:MAX_BATCHES]
        del self._waiting[:MAX_BATCHES]
        self._writer.cast(_Write(tuple(item.batch for item in self._committing)))

    def _finish(self, results: tuple[BatchResult, ...]) -> None:
        done, self._committing = self._committing, []
        for item, result in zip(done, results, strict=True):
            if isinstance(result, Committed):
                self._grown[item.batch.origin] = result.head
            item.sender.cast(BatchDone(result))
        self._commit_waiting()

    def _settle(self, reply_to: ReplyTo | None, value: object) -> None:
        if isinstance(value, LogForked):
            emit("ledger.forked", error=str(value))
        if reply_to is None:
            return
        if isinstance(value, LedgerError | InvalidInput):
            reply_to.fail(value)
        else:
            reply_to.reply(value)

    async def handle_info(self, message: object) -> None:
        """Sign on time; mourn the writer."""
        match message:
            case "sign":
                await self._sign_grown()
            case Down(tag="writer", ref=ref, reason=reason) if ref == self._writer:
                self._lose_writer(reason)
            case _:
                pass

    async def _sign_grown(self) -> None:
        """Sign some of what has grown, and come back for the rest: commits must not wait for it."""
        if self._writer is None:
            return
        notes: list[bytes] = []
        for origin in sorted(self._grown)[:SIGNED_AT_ONCE]:
            head = self._grown.pop(origin)
            notes.append(await sign_checkpoint(checkpoint_of(head), self._signer))
        if notes:
            self._ask(SaveCheckpoints(tuple(notes)), None)
        if self._grown:
            self.send_after(0.0, "sign")

    def _lose_writer(self, reason: ExitReason | NoProcess) -> None:
        why = f"the store can't take writes now: {reason}"
        self._writer = None
        self._trouble = why
        if not isinstance(reason, Shutdown):  # else the tree is being stopped, and nothing is lost
            emit("ledger.store_lost", reason=why)
        lost = BatchDone(StoreUnavailable(why))
        for item in (*self._committing, *self._waiting):
            item.sender.cast(lost)
        self._committing, self._waiting = [], []
        for reply_to in self._asked.values():
            self._settle(reply_to, StoreUnavailable(why))
        self._asked.clear()
