"""The queue in front of one incarnation: bounded for users, open for the runtime."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal, get_args

import attrs
import trio

from autonomics.errors import InvalidInput
from autonomics.runtime.message import Down
from autonomics.runtime.reply import ReplyTo

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
    count messages that ran full, `handled` those that reached a callback. `oldest_age_s` is how
    long the oldest message has been waiting at most: since the actor last looked without seeing it.
    """

    depth: int
    peak: int
    handled: int
    refused: int
    dropped: int
    waiting_senders: int
    oldest_age_s: float


INFO: Final = 0
CALL: Final = 1
CAST: Final = 2

# kind, message, the caller's slot of a CALL, trace. A bare tuple: this is made once per message,
# and a frozen class costs as much as the whole cast.
Envelope = tuple[int, object, ReplyTo | None, object]


class Mailbox:
    """A queue owned by one incarnation.

    Invariant: without its INFO envelopes the queue never exceeds the capacity. These (Down, timers,
    exits of children) are exempt from the bound but keep their place in the order: what an actor
    sent before it died must be read before its Down. A stop request is no envelope at all; the
    incarnation holds it, and it overtakes everything.
    """

    # Defaults of the class, not fields set one by one: most actors never need most of these.
    queue: deque[Envelope] | None = None
    """Made at the first message: an empty deque is half the size of an idle actor."""
    infos: int = 0
    sleeper: trio.lowlevel.Task | None = None
    """The owner's task while it sleeps here; then the queue is empty."""
    handled: int = 0
    refused: int = 0
    dropped: int = 0
    is_overloaded: bool = False
    is_congested: bool = False
    """There is something to do when a message is taken: end an overload, admit who waits."""
    _peak = 0
    _since_s = 0.0
    _looks: list[tuple[int, float]] | None = None
    # Senders that wait for room. Their envelopes are moved into the queue on their behalf, so a
    # caller is not woken just to go to sleep again for the reply.
    _waiting: deque[tuple[Envelope, ReplyTo]] | None = None

    def __init__(self, spec: MailboxSpec, now_s: Callable[[], float]) -> None:
        self.spec = spec
        self.now_s = now_s
        self.limit: int = spec.capacity
        """Length of the queue at which there is no room for a user's message."""

    @property
    def depth(self) -> int:
        """How many user messages wait."""
        return 0 if self.queue is None else len(self.queue) - self.infos

    @property
    def has_room(self) -> bool:
        """True when one more user message fits; then nobody waits for room either."""
        return self.queue is None or len(self.queue) < self.limit

    def put(self, envelope: Envelope, now_s: float | None = None) -> None:
        """Append a user's message; the caller has made sure that there is room."""
        queue = self.queue
        if queue is None:
            queue = self.queue = deque()
        queue.append(envelope)
        if self.sleeper is not None:
            self.wake(now_s)

    def put_info(self, message: object) -> None:
        """Append a message of the runtime, whatever the bound."""
        self.infos += 1
        self._set_limit()
        self.put((INFO, message, None, None))

    def put_when_room(self, envelope: Envelope, slot: ReplyTo) -> None:
        """Queue up for room; the slot of a cast is filled when its message has moved in."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((envelope, slot))
        self.is_congested = True
        self._set_limit()

    def drop_oldest(self) -> Envelope:
        """Take out the oldest user message; the caller has made sure that there is one."""
        queue = self.queue
        assert queue is not None
        self._note_peak(len(queue))
        # Only Downs and the like can stand in front of it, so this scan is short.
        oldest = next(i for i, envelope in enumerate(queue) if envelope[0])
        envelope = queue[oldest]
        del queue[oldest]
        self.dropped += 1
        return envelope

    def pop(self) -> Envelope | None:
        """Take the next message, or None; room that this makes goes to the first who waits."""
        queue = self.queue
        if not queue:
            return None
        # The greatest depth always shows itself to a pop, so a put need not look.
        length = len(queue)
        if length > self._peak:
            self._note_peak(length)
        envelope = queue.popleft()
        self.handled += 1
        if not envelope[0]:
            self._forget_info()
        elif self.is_congested:
            self._relieve()
        return envelope

    def wake(self, now_s: float | None = None) -> None:
        """Let the owner look again."""
        if self.sleeper is not None:
            sleeper, self.sleeper = self.sleeper, None
            self._since_s = self.now_s() if now_s is None else now_s
            trio.lowlevel.reschedule(sleeper)

    def look(self) -> None:
        """Note what time it is with the messages that are here now; once in a while suffices.

        A clock reading per message would cost a third of a cast. From these looks follows how long
        the oldest message has been here at most.
        """
        if self._looks is None:
            self._looks = []
        self._forget_looks()
        self._looks.append((self.handled + len(self.queue or ()), self.now_s()))

    def forget_down(self, monitor: Monitor) -> None:
        """Take the Down of one monitor out of the queue, if it is there."""
        for index, (_, message, _, _) in enumerate(self.queue or ()):
            if isinstance(message, Down) and message.monitor is monitor:
                assert self.queue is not None
                del self.queue[index]
                self._forget_info()
                return

    def drain(self) -> int:
        """Forget everything; how many messages that were."""
        if self.queue is None:
            return 0
        unread = len(self.queue)
        self._note_peak(unread)
        self.queue.clear()
        self.infos = 0
        self._set_limit()
        return unread

    def iter_waiting(self) -> Iterator[ReplyTo]:
        """Yield the senders that wait for room and are still there, and forget them."""
        while self._waiting:
            slot = self._waiting.popleft()[1]
            if slot.is_open:
                yield slot

    def statistics(self) -> MailboxStatistics:
        """Read the counters."""
        self._note_peak(len(self.queue or ()))
        return MailboxStatistics(
            depth=self.depth,
            peak=self._peak,
            handled=self.handled,
            refused=self.refused,
            dropped=self.dropped,
            waiting_senders=sum(slot.is_open for _, slot in self._waiting or ()),
            oldest_age_s=self._oldest_age_s(),
        )

    def _note_peak(self, length: int) -> None:
        self._peak = max(self._peak, length - self.infos)

    def _forget_info(self) -> None:
        self.infos -= 1
        self._set_limit()

    def _set_limit(self) -> None:
        # While senders wait there is no room for anybody else, who would overtake them.
        self.limit = -1 if self._waiting else self.spec.capacity + self.infos

    def _forget_looks(self) -> None:
        # What was looked at before the oldest message came: it has come since.
        while self._looks and self._looks[0][0] <= self.handled:
            self._since_s = self._looks.pop(0)[1]

    def _oldest_age_s(self) -> float:
        if not self.queue:
            return 0.0
        self._forget_looks()
        return self.now_s() - self._since_s

    def _relieve(self) -> None:
        self.is_overloaded = False
        # Senders are let in when half of the queue is empty, not one by one: then each sends
        # several messages before it has to wait again, instead of sleeping once for each.
        if self._waiting and self.depth > self.spec.capacity // 2:
            return
        while self._waiting and self.depth < self.spec.capacity:
            envelope, slot = self._waiting.popleft()
            # A slot that closed meanwhile (timeout, cancelled caller) leaves nothing behind: its
            # message was never accepted.
            if slot.is_open:
                self.put(envelope)
                if envelope[0] == CAST:
                    slot.reply(None)
        self.is_congested = bool(self._waiting)
        self._set_limit()

    def give_up(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        """Stop sleeping, as trio's abort function; no message is ever in flight here."""
        self.sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED
