"""What machines, event managers, keys, aliases and hosts take; see actors.py."""

from __future__ import annotations

from enum import Enum
from typing import assert_type

import attrs

from autonomics.runtime import (
    Actor,
    ActorRef,
    AddHandler,
    Alias,
    Answer,
    AsyncioBridge,
    Call,
    CallHandler,
    DuplicateRegistry,
    EventHandler,
    EventManager,
    Initial,
    Keep,
    KeyedRef,
    NamedRef,
    Notify,
    Replied,
    ReplyTo,
    Request,
    RequestCollection,
    Runtime,
    StateEvent,
    StateMachine,
    SyncNotify,
    ThreadPortal,
    UniqueRegistry,
    WhichHandlers,
    Worker,
    open_alias,
    send_request,
)


@attrs.frozen
class GetCount(Call[int]):
    pass


@attrs.frozen
class GetSecret(Call[bytes]):
    pass


@attrs.frozen
class Push:
    pass


class Counter(Actor):
    async def handle_call(self, message: GetCount, reply_to: ReplyTo) -> object:
        return 1

    async def handle_cast(self, message: Push) -> None:
        pass


class Server(Worker):
    pass


class At(Enum):
    SHUT = 1
    AJAR = 2


class Door(StateMachine[At, int, GetCount | Push]):
    states = At

    def begin(self) -> Initial[At, int]:
        return Initial(At.SHUT, data=0)

    def handle_event(self, event: StateEvent, state: At, data: int) -> Answer[At, int]:
        return Keep()


class Gate(StateMachine[At, int]):
    """Says nothing of its messages."""

    states = At


async def send_to_a_machine(runtime: Runtime, gate: ActorRef[Gate]) -> None:
    door = await runtime.start(Door)
    assert_type(await door.call(GetCount()), int)
    await door.call(GetSecret())  # type: ignore[arg-type]
    door.cast(Push())
    door.cast("push")  # type: ignore[arg-type]
    assert_type(await gate.call(GetSecret()), bytes)
    gate.cast("push")


async def send_to_an_event_manager(manager: ActorRef[EventManager]) -> None:
    manager.cast(Notify("news"))
    manager.cast("news")  # type: ignore[arg-type]
    await manager.call(SyncNotify("news"))
    await manager.call(AddHandler("id", EventHandler()))
    assert_type(await manager.call(CallHandler("id", GetCount())), int)
    assert_type(len(await manager.call(WhichHandlers())), int)
    await manager.call(GetCount())  # type: ignore[arg-type]


async def send_requests(counter: ActorRef[Counter], server: ActorRef[Server]) -> None:
    request = send_request(counter, GetCount())
    assert_type(request, Request[int])
    assert_type(await request.wait(), int)
    send_request(counter, GetSecret())  # type: ignore[misc]
    send_request(server, GetCount())  # type: ignore[arg-type]
    requests = RequestCollection[str, int]()
    requests.send("a", counter, GetCount())
    requests.send("a", counter, GetSecret())  # type: ignore[arg-type]
    requests.send(1, counter, GetCount())  # type: ignore[arg-type]
    async for response in requests.receive():
        if isinstance(response, Replied):
            assert_type(response.reply, int)


async def send_to_a_key(registry: UniqueRegistry[str], many: DuplicateRegistry[str]) -> None:
    address = registry.address("key", Counter)
    assert_type(address, KeyedRef[Counter])
    assert_type(await address.call(GetCount()), int)
    await address.call(GetSecret())  # type: ignore[arg-type]
    address.cast("push")  # type: ignore[arg-type]
    assert_type(await registry.address("key").call(GetSecret()), bytes)
    many.cast("key", "anything")


async def send_to_an_alias(alias: Alias[Counter]) -> None:
    alias.cast(Push())
    alias.cast("push")  # type: ignore[arg-type]
    assert_type(await alias.call(GetCount()), int)
    open_alias().cast("anything")


async def send_from_asyncio(
    bridge: AsyncioBridge, counter: ActorRef[Counter], name: NamedRef[Counter]
) -> None:
    assert_type(await bridge.call(counter, GetCount()), int)
    assert_type(await bridge.call(name, GetCount()), int)
    assert_type(await bridge.call("counter", GetSecret()), bytes)
    await bridge.call(counter, GetSecret())  # type: ignore[misc]
    await bridge.call(name, GetSecret())  # type: ignore[misc]
    bridge.cast("counter", "anything")
    bridge.cast(counter, Push())
    bridge.cast(counter, "push")  # type: ignore[misc]


def send_from_a_thread(
    portal: ThreadPortal, counter: ActorRef[Counter], server: ActorRef[Server]
) -> None:
    assert_type(portal.call(counter, GetCount()), int)
    assert_type(portal.call("counter", GetSecret()), bytes)
    portal.call(counter, GetSecret())  # type: ignore[misc]
    portal.call(server, GetCount())  # type: ignore[arg-type]
    portal.cast("counter", "anything")
    portal.cast(counter, Push())
    portal.cast(counter, "push")  # type: ignore[misc]
