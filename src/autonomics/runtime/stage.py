"""Producers and consumers with demand: nothing is produced that nobody has asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Iterable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

import attrs

from autonomics.errors import InvalidInput
from autonomics.runtime.actor import Actor
from autonomics.runtime.callback import settle
from autonomics.runtime.incarnation import Incarnation
from autonomics.runtime.message import Continue, Down, Ignore, Refuse, Stop, bad_return
from autonomics.runtime.reason import NoProcess, Shutdown
from autonomics.runtime.ref import ActorRef, Address

T = TypeVar("T")
K = TypeVar("K")


@attrs.frozen
class _Ask:
    """A consumer has room for so many more."""

    consumer: Incarnation
    count: int


@attrs.frozen
class _Item:
    """What a consumer has asked for."""

    value: Any


@attrs.frozen
class FlowStatus:
    """What a snapshot shows of a producer.

    `wanted` items are asked for by `consumers`, `owed` were asked of the source and have not come,
    `kept` came when nobody wanted them any more.
    """

    consumers: int
    wanted: int
    owed: int
    kept: int


class Flow(Generic[K, T]):
    """Who wants how many, and what the source owes.

    Invariants: what is wanted is owed or kept, and something is kept only if nothing is wanted. So
    the source is asked for each item once, also if whoever wanted it has gone meanwhile.
    """

    def __init__(self) -> None:
        self._wants: dict[K, int] = {}
        self._wanted = 0
        self._owed = 0
        self._kept: deque[T] = deque()

    @property
    def owed(self) -> int:
        """How many the source may supply."""
        return self._owed

    @property
    def consumers(self) -> tuple[K, ...]:
        """Whoever has asked and not left, in the order of their first asking."""
        return tuple(self._wants)

    def ask(self, consumer: K, count: int) -> int:
        """Note that somebody wants so many more; how many the source is to be asked for."""
        self._wants[consumer] = self._wants.get(consumer, 0) + count
        self._wanted += count
        missing = max(0, self._wanted - len(self._kept) - self._owed)
        self._owed += missing
        return missing

    def leave(self, consumer: K) -> None:
        """Forget somebody; what the source owes them is for the others."""
        self._wanted -= self._wants.pop(consumer, 0)

    def supply(self, items: Iterable[T]) -> None:
        """Take items from the source; InvalidInput if they are more than it owes."""
        taken = tuple(islice(items, self._owed + 1))
        if len(taken) > self._owed:
            constraint = f"at most the {self._owed} that are asked for"
            raise InvalidInput.expected("the number of items", constraint, len(taken))
        self._owed -= len(taken)
        self._kept.extend(taken)

    def deliver(self) -> Iterator[tuple[K, T]]:
        """Yield each item that somebody wants, for whoever wants most; the first among equals."""
        while self._kept and self._wanted:
            consumer = max(self._wants, key=self._wants.__getitem__)
            self._wants[consumer] -= 1
            self._wanted -= 1
            yield consumer, self._kept.popleft()

    def status(self) -> FlowStatus:
        """Read the counters."""
        return FlowStatus(len(self._wants), self._wanted, self._owed, len(self._kept))


class Producer(Actor, Generic[T]):
    """Emits as many items as its consumers have asked for, and no more.

    Each item goes to one consumer, whoever has asked for most. What a consumer that dies had been
    sent is lost with it; what it had asked for beyond that is there for the others.

    A `handle_info` of its own leaves to this one what it doesn't know.

    Source: Elixir's GenStage with its DemandDispatcher, but for its buffer: a producer that gives
    more than it was asked for crashes.
    """

    _flow: Flow[Incarnation, T] | None = None

    def handle_demand(self, count: int) -> Iterable[T] | Stop | Awaitable[Iterable[T] | Stop]:
        """Answer with up to `owed` items, now that so many more are asked for.

        What does not exist yet is supplied later, by `supply`. Stop is the end of the stream: what
        was sent before is still consumed.
        """
        raise NotImplementedError(f"{type(self).__name__} produces nothing for {count} asked")

    @property
    def owed(self) -> int:
        """How many items are asked for and not yet supplied."""
        return self._flows().owed

    def supply(self, items: Iterable[T]) -> None:
        """Send items that were asked for before; InvalidInput if they are more than `owed`."""
        flow = self._flows()
        flow.supply(items)
        for consumer in flow.consumers:
            if not _is_served(consumer):
                flow.leave(consumer)
        for consumer, item in flow.deliver():
            consumer.inform(_Item(item))

    def describe(self) -> FlowStatus:
        """Read the counters."""
        return self._flows().status()

    async def handle_info(self, message: object) -> Stop | None:
        """Hear what consumers ask for, and of their ends."""
        match message:
            case _Ask(consumer, count):
                return await self._ask(consumer, count)
            case Down(ActorRef() as ref, tag=tag) if tag is _Ask:
                self._flows().leave(ref.incarnation)
                return None
            case _:
                return await settle(super().handle_info(message))

    async def _ask(self, consumer: Incarnation, count: int) -> Stop | None:
        flow = self._flows()
        if not _is_served(consumer):
            return None
        if consumer not in flow.consumers:
            consumer.ref.monitor(_Ask)
        missing = flow.ask(consumer, count)
        self.supply(())
        if not missing:
            return None
        answer = await settle(self.handle_demand(missing))
        if isinstance(answer, Stop):
            return answer
        if not isinstance(answer, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise bad_return("handle_demand", "items or Stop", answer)
        self.supply(answer)
        return None

    def _flows(self) -> Flow[Incarnation, T]:
        if self._flow is None:
            self._flow = Flow()
        return self._flow


def _is_served(consumer: Incarnation) -> bool:
    """Whether it takes what it is sent; of the end of one that does not, the Down may yet come."""
    return consumer.is_alive and consumer.asked is None


class Consumer(Actor, Generic[T]):
    """Asks a producer for `ask` items at first, and for more whenever `refill_at` are left.

    So there are never more than `ask` that it has asked for and has not consumed. It ends with its
    producer, for the same reason, when it has consumed what that had sent.

    An `init` of its own awaits this one; a `handle_info` of its own leaves to this one what it
    doesn't know.
    """

    def __init__(self, producer: Address, *, ask: int = 10, refill_at: int | None = None) -> None:
        if type(ask) is not int or ask < 1:
            raise InvalidInput.expected("ask", "an integer of at least 1", ask)
        if refill_at is None:
            refill_at = ask // 2
        if type(refill_at) is not int or not 0 <= refill_at < ask:
            raise InvalidInput.expected("refill_at", "an integer from 0 to below ask", refill_at)
        self._address = producer
        self._most = ask
        self._refill_at = refill_at
        self._left = 0

    def consume(self, item: T) -> Stop | Awaitable[Stop | None] | None:
        """Handle one item."""
        raise NotImplementedError(f"{type(self).__name__} consumes nothing, got {item!r}")

    async def init(self) -> Continue | Ignore | Refuse | None:
        """Ask for the first items; NoSuchActor if the producer is not there."""
        address = self._address
        ref = address if isinstance(address, ActorRef) else address.resolve()
        if not isinstance(ref.incarnation.behaviour, Producer):
            raise InvalidInput.expected("producer", "the address of a Producer", address)
        self._producer: Incarnation = ref.incarnation
        ref.monitor(_Item)
        self._refill()
        return None

    async def handle_info(self, message: object) -> Stop | None:
        """Consume what was asked for, and end with the producer."""
        match message:
            case _Item(value):
                stop = await settle(self.consume(value))
                if stop is not None:
                    return stop
                self._left -= 1
                if self._left <= self._refill_at:
                    self._refill()
                return None
            case Down(reason=reason, tag=tag) if tag is _Item:
                return Stop(Shutdown(reason) if isinstance(reason, NoProcess) else reason)
            case _:
                return await settle(super().handle_info(message))

    def _refill(self) -> None:
        # Past the bound of the mailbox, as what it leads to is: the demand is the bound.
        count = self._most - self._left
        self._left = self._most
        self._producer.inform(_Ask(self.incarnation, count))
