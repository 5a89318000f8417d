"""The queue in front of one incarnation: bounded for users, open for the runtime."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal, get_args

import attrs
import trio

from autonomics.errors import InvalidInput
from autonomics.runtime.message import Down
from autonomics.runtime.reply import ReplySlot

if TYPE_CHECKING:
    from autonomics.runtime.ref import Monitor

OnFull = Literal["refuse", "drop_oldest", "block"]


@attrs.frozen
class MailboxSpec:
    """How many user messages may wait, and what happens to one more.

    `refuse` tells the sender at once. `drop_oldest` makes room; a dropped call fails with
    Overloaded. `block` lets `call` and `cast_when_room` wait for room in order of arrival; a plain
    `cast` never waits, so it is refused.
    """

    capacity: int = 1024
    on_full: OnFull = "refuse"

    def __attrs_post_init__(self) -> None:
        if type(self.capacity) is not int or self.capacity < 1:
            raise InvalidInput.expected("capacity", "an integer of at least 1", self.capacity)
        if self.on_full not in get_args(OnFull):
            raise InvalidInput.expected("on_full", f"one of {get_args(OnFull)}", self.on_full)


@attrs.frozen
class MailboxStatistics:
    """Counters of one incarnation's mailbox.

    `depth` and `waiting_senders` are of now, `peak` is the greatest depth; `refused` and `dropped`
    count messages that ran full, `handled` those that reached a callback.
    """

    depth: int
    peak: int
    handled: int
    refused: int
    dropped: int
    waiting_senders: int


CALL: Final = 0
CAST: Final = 1
INFO: Final = 2

# kind, message, the caller's slot of a CALL. A bare tuple: this is made once per message, and a
# frozen class costs as much as the whole cast.
Envelope = tuple[int, object, ReplySlot | None]


class Mailbox:
    """A deque owned by one incarnation.

    Invariant: `depth` counts the CALL and CAST envelopes in the queue and never exceeds the
    capacity. INFO envelopes (Down, timers, exits of children) are exempt from the bound but keep
    their place in the order: what an actor sent before it died must be read before its Down.
    A stop request is no envelope at all; the incarnation holds it, and it overtakes everything.
    """

    __slots__ = (
        "_queue",
        "_sleeper",
        "_waiting",
        "depth",
        "dropped",
        "handled",
        "is_overloaded",
        "peak",
        "refused",
        "spec",
    )

    def __init__(self, spec: MailboxSpec) -> None:
        self.spec = spec
        self._queue: deque[Envelope] = deque()
        # Senders that wait for room. Their envelopes are moved into the queue on their behalf, so
        # a caller is not woken just to go to sleep again for the reply.
        self._waiting: deque[tuple[Envelope, ReplySlot]] = deque()
        self._sleeper: trio.lowlevel.Task | None = None
        self.depth = 0
        self.peak = 0
        self.handled = 0
        self.refused = 0
        self.dropped = 0
        self.is_overloaded = False

    @property
    def has_room(self) -> bool:
        """True when one more user message fits; then nobody waits for room either."""
        return self.depth < self.spec.capacity

    def put(self, envelope: Envelope) -> None:
        """Append; the caller has made sure that there is room."""
        self._queue.append(envelope)
        if envelope[0] != INFO:
            self.depth += 1
            if self.depth > self.peak:  # noqa: PLR1730 - max() would be a third of this method
                self.peak = self.depth
        self.wake()

    def put_when_room(self, envelope: Envelope, slot: ReplySlot) -> None:
        """Queue up for room; the slot of a cast is resolved when its message has moved in."""
        self._waiting.append((envelope, slot))

    def drop_oldest(self) -> Envelope:
        """Take out the oldest user message; the caller has made sure that there is one."""
        # Only Downs and the like can stand in front of it, so this scan is short.
        oldest = next(i for i, envelope in enumerate(self._queue) if envelope[0] != INFO)
        envelope = self._queue[oldest]
        del self._queue[oldest]
        self.depth -= 1
        self.dropped += 1
        return envelope

    def pop(self) -> Envelope | None:
        """Take the next message, or None; room that this makes goes to the first who waits."""
        if not self._queue:
            return None
        envelope = self._queue.popleft()
        if envelope[0] != INFO:
            self.depth -= 1
            self.is_overloaded = False
            if self._waiting:
                self._admit()
        self.handled += 1
        return envelope

    async def wait(self) -> None:
        """Sleep until something is put or `wake` is called; a message is never in flight here."""
        self._sleeper = trio.lowlevel.current_task()

        def give_up(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self._sleeper = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(give_up)

    def wake(self) -> None:
        """Let the owner look again."""
        if self._sleeper is not None:
            sleeper, self._sleeper = self._sleeper, None
            trio.lowlevel.reschedule(sleeper)

    def forget_down(self, monitor: Monitor) -> None:
        """Take the Down of one monitor out of the queue, if it is there."""
        for index, (_, message, _) in enumerate(self._queue):
            if isinstance(message, Down) and message.monitor is monitor:
                del self._queue[index]
                return

    def drain(self) -> int:
        """Forget everything; how many messages that were."""
        unread = len(self._queue)
        self._queue.clear()
        self.depth = 0
        return unread

    def iter_waiting(self) -> Iterator[ReplySlot]:
        """Yield the senders that wait for room and are still there, and forget them."""
        while self._waiting:
            slot = self._waiting.popleft()[1]
            if slot.is_open:
                yield slot

    def statistics(self) -> MailboxStatistics:
        """Read the counters."""
        return MailboxStatistics(
            depth=self.depth,
            peak=self.peak,
            handled=self.handled,
            refused=self.refused,
            dropped=self.dropped,
            waiting_senders=sum(slot.is_open for _, slot in self._waiting),
        )

    def _admit(self) -> None:
        # A slot that closed meanwhile (timeout, cancelled caller) leaves nothing behind: its
        # message was never accepted.
        while self._waiting and self.has_room:
            envelope, slot = self._waiting.popleft()
            if not slot.is_open:
                continue
            self.put(envelope)
            if envelope[0] == CAST:
                slot.resolve(None)
