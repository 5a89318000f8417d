"""What may be sent to an actor, and what may not: the lines with an ignore are the wrong ones.

Never run; tests/test_types.py has both checkers read it with the ignores taken out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, assert_never, assert_type

import attrs

from autonomics.runtime import (
    NO_REPLY,
    Actor,
    ActorRef,
    Address,
    AnswersCall,
    Behaviour,
    Call,
    NamedRef,
    Question,
    ReplyTo,
    Runtime,
    Stop,
    TakesCast,
    Worker,
)

M = TypeVar("M")
R = TypeVar("R")


@attrs.frozen
class GetCount(Call[int]):
    pass


@attrs.frozen
class Describe(Call[str]):
    in_words: bool


@attrs.frozen
class FindOwner(Call[str | None]):
    pass


@attrs.frozen
class GetSecret(Call[bytes]):
    pass


@attrs.frozen
class Tick:
    pass


@attrs.frozen
class Reset:
    to: int


class Counter(Actor):
    def __init__(self, count: int = 0) -> None:
        self.count = count

    def handle_call(self, message: GetCount | Describe | FindOwner, reply_to: ReplyTo) -> object:
        match message:
            case GetCount():
                return self.count
            case Describe(in_words):
                assert_type(in_words, bool)
                return NO_REPLY
            case FindOwner():
                return None
            case _:
                assert_never(message)

    async def handle_cast(self, message: Tick | Reset) -> Stop | None:
        match message:
            case Tick():
                self.ref.cast(Reset(0))
                self.ref.cast("again")  # type: ignore[arg-type]
                await self.ref.call(GetSecret())  # type: ignore[arg-type]
            case Reset(to):
                assert_type(to, int)
            case _:
                assert_never(message)
        return None


class Stopwatch(Counter):
    """Takes what a Counter takes."""


class Widened(Counter):
    """Takes one thing more."""

    async def handle_cast(self, message: Tick | Reset | str) -> Stop | None:
        return None


class Narrowed(Counter):
    async def handle_cast(self, message: Tick) -> Stop | None:  # type: ignore[override]
        return None


class Open(Actor):
    """Says nothing of its messages, but that calls are calls."""

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        match message:
            case Describe(in_words):
                assert_type(in_words, bool)
            case _:
                pass
        return 1

    async def handle_cast(self, message: object) -> None:
        pass


class Untold(Actor):
    """Has none of the handlers."""


class Server(Worker):
    pass


async def call_a_counter(runtime: Runtime) -> None:
    ref = await runtime.start(Counter)
    assert_type(ref, ActorRef[Counter])
    assert_type(await ref.call(GetCount()), int)
    assert_type(await ref.call(Describe(in_words=True), 1.0), str)
    assert_type(await ref.call(FindOwner(), timeout_s=1.0), str | None)
    await ref.call(GetSecret())  # type: ignore[arg-type]
    await ref.call(Tick())  # type: ignore[arg-type]
    await ref.call("count")  # type: ignore[arg-type]
    take_text(await ref.call(GetCount()))  # type: ignore[arg-type]


async def cast_to_a_counter(runtime: Runtime) -> None:
    ref = await runtime.start(partial(Counter, 3))
    ref.cast(Tick())
    ref.cast(Reset(1))
    await ref.cast_when_room(Tick())
    ref.cast("tick")  # type: ignore[arg-type]
    ref.cast(GetCount())  # type: ignore[arg-type]
    ref.cast(Tick)  # type: ignore[arg-type]
    await ref.cast_when_room(3)  # type: ignore[arg-type]


async def start_in_other_ways(runtime: Runtime) -> None:
    assert_type(await runtime.start(lambda: Counter(3)), ActorRef[Counter])
    assert_type(await runtime.start_linked(Counter), ActorRef[Counter])
    take_counter(await runtime.start(Stopwatch))
    take_stopwatch(await runtime.start(Counter))  # type: ignore[arg-type]
    await runtime.start(int)  # type: ignore[type-var]


async def send_to_subclasses(
    stopwatch: ActorRef[Stopwatch], widened: ActorRef[Widened], counter: ActorRef[Counter]
) -> None:
    assert_type(await stopwatch.call(GetCount()), int)
    stopwatch.cast("tick")  # type: ignore[arg-type]
    widened.cast("tick")
    widened.cast(3)  # type: ignore[arg-type]
    take_counter(widened)
    take_stopwatch(counter)  # type: ignore[arg-type]


def take_counter(ref: ActorRef[Counter]) -> None: ...


def take_text(text: str) -> None: ...


def take_stopwatch(ref: ActorRef[Stopwatch]) -> None: ...


async def send_to_an_open_actor(ref: ActorRef[Open], untold: ActorRef[Untold]) -> None:
    assert_type(await ref.call(GetCount()), int)
    assert_type(await ref.call(GetSecret()), bytes)
    await ref.call(Tick())  # type: ignore[arg-type]
    ref.cast("anything")
    assert_type(await untold.call(GetCount()), int)
    untold.cast("anything")


async def send_to_a_worker(ref: ActorRef[Server], behaviour: ActorRef[Behaviour]) -> None:
    await ref.call(GetCount())  # type: ignore[misc, arg-type]
    ref.cast(Tick())  # type: ignore[misc, arg-type]
    await behaviour.call(GetCount())  # type: ignore[misc, arg-type]
    await ref.stop()
    ref.monitor()


async def send_to_an_address_without_class(ref: ActorRef, address: Address, name: NamedRef) -> None:
    assert_type(await ref.call(GetCount()), int)
    assert_type(await address.call(Describe(in_words=True)), str)
    assert_type(await name.call(GetSecret()), bytes)
    await ref.call("count")  # type: ignore[arg-type]
    ref.cast("anything")
    address.cast("anything")
    name.cast("anything")
    take_counter(ref)


async def send_to_a_name(runtime: Runtime, counter: ActorRef[Counter]) -> None:
    address = runtime.named("counter", Counter)
    assert_type(address, NamedRef[Counter])
    assert_type(address.resolve(), ActorRef[Counter])
    assert_type(await address.call(GetCount()), int)
    await address.call(GetSecret())  # type: ignore[arg-type]
    address.cast(Tick())
    address.cast("tick")  # type: ignore[arg-type]
    await runtime.named("server", Server).call(GetCount())  # type: ignore[misc, arg-type]
    runtime.named("number", int)  # type: ignore[type-var]
    either: Address[Counter] = address if runtime.is_stopping else counter
    assert_type(await either.call(GetCount()), int)
    await either.call(GetSecret())  # type: ignore[arg-type]


async def send_to_whoever_takes_it(
    counter: ActorRef[Counter],
    open_actor: ActorRef[Open],
    name: NamedRef[Counter],
    server: ActorRef[Server],
    listener: ActorRef[TakesCast[Tick]],
    counting: Address[AnswersCall[GetCount]],
) -> None:
    listener.cast(Tick())
    listener.cast(Reset(1))  # type: ignore[arg-type]
    assert_type(await counting.call(GetCount()), int)
    await counting.call(GetSecret())  # type: ignore[arg-type]
    tell(counter)
    tell(open_actor)
    tell(server)  # type: ignore[arg-type]
    assert_type(await ask_twice(counter, GetCount()), tuple[int, int])
    assert_type(await ask_twice(name, Describe(in_words=True)), tuple[str, str])
    await ask_twice(counter, GetSecret())  # type: ignore[misc]
    await ask_twice(server, GetCount())  # type: ignore[arg-type]


def tell(listener: ActorRef[TakesCast[Tick]]) -> None:
    listener.cast(Tick())


async def ask_twice(address: Address[AnswersCall[M]], message: Question[M, R]) -> tuple[R, R]:
    return await address.call(message), await address.call(message)


async def ask_any(ref: ActorRef, message: Call[R]) -> R:
    return await ref.call(message)


async def forward(ref: ActorRef[Counter], message: GetCount | Describe) -> int | str:
    return await ref.call(message)


async def pass_on(do: Callable[[Awaitable[int]], None], ref: ActorRef[Counter]) -> None:
    do(ref.call(GetCount()))
    do(ref.call(Describe(in_words=True)))  # type: ignore[arg-type]
