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

OnFull = Literal["refuse", "drop_oldest", "drop_newest", "block"]


@attrs.frozen
class Shedding:
    """The policy of an actor whose messages may get lost, such as a log's or a metric's.

    From `wait_at` messages on, who can wait for room does: `call` and `cast_when_room`; what others
    send is let in. Where the actor takes a message and still has `drop_at` before it, it can't keep
    up: new messages are dropped from then on, until it finds fewer than `wait_at`. What comes
    between two such looks may fill the mailbox to its capacity; one more, and all that waits is
    thrown away, for it is old by then. The event `actor.flushed` tells how much that was.

    Whoever sent a cast hears nothing of all this; a call that is dropped or thrown away fails with
    Overloaded.

    Source: overload protection of OTP's logger (logger_olp), which ends dropping right below the
    mark where it began and so begins again with the next message.
    """

    wait_at: int = 10
    drop_at: int = 200

    def __attrs_post_init__(self) -> None:
        if type(self.wait_at) is not int or self.wait_at < 1:
            raise InvalidInput.expected("wait_at", "an integer of at least 1", self.wait_at)
        if type(self.drop_at) is not int or self.drop_at <= self.wait_at:
            raise InvalidInput.expected("drop_at", "an integer above wait_at", self.drop_at)


def _find_room(capacity: int, on_full: object) -> int:
    return on_full.wait_at if isinstance(on_full, Shedding) else capacity


@attrs.frozen
class MailboxSpec:
    """How many user messages may wait, and what happens to one more.

    `refuse` tells the sender at once. `drop_oldest` makes room; a dropped call fails with
    Overloaded. `drop_newest` drops the one more, of which only the sender of a call hears. `block`
    lets `call` and `cast_when_room` wait for room in order of arrival; a plain `cast` never waits,
    so it is refused. A `Shedding` does one after the other as the load grows.
    """

    capacity: int = 1024
    on_full: OnFull | Shedding = "refuse"
    room: int = attrs.field(
        default=attrs.Factory(
            lambda spec: _find_room(spec.capacity, spec.on_full), takes_self=True
        ),
        init=False,
        repr=False,
        eq=False,
    )
    """How many messages may wait before anything is different for their senders."""

    def __attrs_post_init__(self) -> None:
        if type(self.capacity) is not int or self.capacity < 1:
            raise InvalidInput.expected("capacity", "an integer of at least 1", self.capacity)
        if isinstance(self.on_full, Shedding):
            if self.capacity <= self.on_full.drop_at:
                raise InvalidInput.expected("capacity", "above drop_at", self.capacity)
        elif self.on_full not in get_args(OnFull):
            constraint = f"a Shedding or one of {get_args(OnFull)}"
            raise InvalidInput.expected("on_full", constraint, self.on_full)


@attrs.frozen
class MailboxStatistics:
    """Counters of one incarnation's mailbox.

    `depth` and `waiting_senders` are of now, `peak` is the greatest depth; `refused` and `dropped`
    count messages that met a full mailbox, `handled` those that reached a callback. `oldest_age_s`
    is how long the oldest message has been waiting at most: since the actor last looked without
    seeing it. So it is never too little, and too much by no more than the time that the actor takes
    for BATCH messages.
    """

    depth: int
    peak: int
    handled: int
    refused: int
    dropped: int
    waiting_senders: int
    oldest_age_s: float


# As many may wait for room without anybody minding: no search for those that have given up, and
# no bound for those who send without waiting.
FEW: Final = 64

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
    _is_dropping = False
    _peak = 0
    _removed = 0
    _since_s = 0.0
    _looks: deque[tuple[int, float]] | None = None
    # Senders that wait for room. Their envelopes are moved into the queue on their behalf, so a
    # caller is not woken just to go to sleep again for the reply.
    _waiting: deque[tuple[Envelope, ReplyTo]] | None = None
    _sweep_at = FEW

    def __init__(self, spec: MailboxSpec, now_s: Callable[[], float]) -> None:
        self.spec = spec
        self.now_s = now_s
        self.limit: int = spec.room
        """Length of the queue at which there is no room for a user's message."""

    @property
    def depth(self) -> int:
        """How many user messages wait."""
        return 0 if self.queue is None else len(self.queue) - self.infos

    @property
    def has_room(self) -> bool:
        """True when one more user message fits; then nobody waits for room either."""
        return self.queue is None or len(self.queue) < self.limit

    def find_room(self) -> bool:
        """Look again where there seemed to be no room: those who wait may have given up."""
        if not self._waiting:
            return False
        self._forget_closed()
        self._set_limit()
        return self.has_room

    @property
    def policy(self) -> OnFull:
        """What happens now to a message that finds no room."""
        on_full = self.spec.on_full
        if isinstance(on_full, Shedding):
            return "drop_newest" if self._is_dropping else "block"
        return on_full

    @property
    def is_lenient(self) -> bool:
        """Whoever can't wait is let in beyond the room, up to the capacity."""
        return isinstance(self.spec.on_full, Shedding) and not self._is_dropping

    @property
    def is_crowded(self) -> bool:
        """Too many wait for room for one more who would not sleep meanwhile."""
        return self._waiting is not None and len(self._waiting) >= max(FEW, self.spec.capacity)

    def put(self, envelope: Envelope, now_s: float | None = None) -> None:
        """Append a user's message; the caller has made sure that there is room."""
        queue = self.queue
        if queue is None:
            queue = self.queue = deque()
            self._since_s = self.now_s() if now_s is None else now_s
        if self.sleeper is not None:
            self.wake(now_s)  # before the message is there, for this may raise
        queue.append(envelope)

    def put_info(self, message: object) -> None:
        """Append a message of the runtime, whatever the bound."""
        self.put((INFO, message, None, None))  # first, for this may raise
        self.infos += 1
        self._set_limit()

    def put_when_room(self, envelope: Envelope, slot: ReplyTo) -> None:
        """Queue up for room; the slot of a cast is filled when its message has moved in."""
        if self._waiting is None:
            self._waiting = deque()
        elif len(self._waiting) >= self._sweep_at:
            # An actor that takes nothing for long must not keep what senders have given up.
            self._waiting = deque(entry for entry in self._waiting if entry[1].is_open)
            self._sweep_at = max(FEW, 2 * len(self._waiting))
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
        self._remove(oldest)
        self.dropped += 1
        return envelope

    def flush(self) -> list[Envelope]:
        """Take out all user messages; those of the runtime stay."""
        queue = self.queue
        assert queue is not None
        self._note_peak(len(queue))
        flushed = [envelope for envelope in queue if envelope[0]]
        self.queue = deque(envelope for envelope in queue if not envelope[0])
        self.dropped += len(flushed)
        self._looks = None
        if not self.queue:
            self._since_s = self.now_s()
        self._relieve()
        return flushed

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
            trio.lowlevel.reschedule(self.sleeper)  # first: it raises in a foreign thread
            self.sleeper = None
            self._since_s = self.now_s() if now_s is None else now_s

    def look(self) -> None:
        """Note what time it is with the messages that are here now; once in a while suffices.

        A clock reading per message would cost a third of a cast. From these looks follows how long
        the oldest message has been here at most.
        """
        if self._looks is None:
            self._looks = deque()
        self._forget_looks()
        self._looks.append((self._taken + len(self.queue or ()), self.now_s()))

    def forget_down(self, monitor: Monitor) -> None:
        """Take the Down of one monitor out of the queue, if it is there."""
        for index, (_, message, _, _) in enumerate(self.queue or ()):
            if isinstance(message, Down) and message.monitor is monitor:
                self._remove(index)
                self._forget_info()
                return

    def drain(self) -> int:
        """Forget everything; how many messages that were."""
        if not self.queue:
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
        self.limit = -1 if self._waiting else self.spec.room + self.infos

    @property
    def _taken(self) -> int:
        return self.handled + self._removed

    def _remove(self, index: int) -> None:
        assert self.queue is not None
        del self.queue[index]
        # From further behind, it may have come after a look; then the look counts one too many,
        # which makes the oldest message look older and never younger.
        if index == 0:
            self._removed += 1

    def _forget_looks(self) -> None:
        # What was looked at before the oldest message came: it has come since.
        while self._looks and self._looks[0][0] <= self._taken:
            # It may have fallen asleep since, and been woken by the oldest that is here now.
            self._since_s = max(self._since_s, self._looks.popleft()[1])

    def _oldest_age_s(self) -> float:
        if not self.queue:
            return 0.0
        self._forget_looks()
        return self.now_s() - self._since_s

    def _relieve(self) -> None:
        room = self.spec.room
        if isinstance(self.spec.on_full, Shedding):
            self._judge(self.spec.on_full)
        self._forget_closed()
        waiting = self._waiting
        # An overload is over when half of the queue is empty, or each message taken would end one
        # and begin the next. Senders are let in then, not one by one: so each sends several
        # messages before it has to wait again, instead of sleeping once for each.
        if self.depth <= room // 2:
            self.is_overloaded = False
            while waiting and self.depth < room:
                envelope, slot = waiting.popleft()
                if slot.is_open:
                    self.put(envelope)
                    if envelope[0] == CAST:
                        slot.reply(None)
            self.is_congested = bool(waiting)
        self._set_limit()

    def _forget_closed(self) -> None:
        # A slot that closed meanwhile (timeout, cancelled caller) leaves nothing behind: its
        # message was never accepted.
        while self._waiting and not self._waiting[0][1].is_open:
            self._waiting.popleft()

    def _judge(self, policy: Shedding) -> None:
        if self.depth >= policy.drop_at and not self._is_dropping:
            self._is_dropping = True
            self.is_overloaded = False  # what happens now is another matter, and worth an event
        elif self.depth < policy.wait_at:
            self._is_dropping = False

    def give_up(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        """Stop sleeping, as trio's abort function; no message is ever in flight here."""
        self.sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED
