# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportCallIssue=false
"""otpylib: a gen_server per asyncio task; callers are processes, as it wants them to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from otpylib import gen_server, process, supervisor
from otpylib.module import GEN_SERVER, SUPERVISOR, OTPModule
from otpylib.runtime.backends.asyncio_backend.backend import AsyncIOBackend

from bench.case import Run
from bench.peer import Peer, on_asyncio

CROWD = 100
RING = 1_000
TENANT_ACTORS = 4
TIMEOUT_S = 5.0


class Echo(metaclass=OTPModule, behavior=GEN_SERVER, version="1.0.0"):
    async def init(self, argument: object) -> object:
        return argument

    async def handle_call(self, message: object, _caller: object, state: object) -> object:
        return gen_server.Reply(message), state

    async def handle_cast(self, message: object, state: object) -> object:
        if isinstance(state, Hop) and isinstance(message, int):
            if message:
                await gen_server.cast(state.following, message - 1)
            else:
                state.done.set()
        return gen_server.NoReply(), state

    async def handle_info(self, message: object, state: object) -> object:
        return gen_server.NoReply(), state

    async def terminate(self, reason: object, state: object) -> None:
        pass


class Hop:
    def __init__(self, following: str, done: asyncio.Event) -> None:
        self.following, self.done = following, done


class Tenant(metaclass=OTPModule, behavior=SUPERVISOR, version="1.0.0"):
    async def init(self, argument: object) -> object:
        specs = [supervisor.child_spec(id=f"{i}", module=Echo) for i in range(TENANT_ACTORS)]
        return specs, supervisor.options()

    async def terminate(self, reason: object, state: object) -> None:
        pass


class Root(metaclass=OTPModule, behavior=SUPERVISOR, version="1.0.0"):
    async def init(self, n: int) -> object:
        specs = [supervisor.child_spec(id=f"{i}", module=Tenant) for i in range(n)]
        return specs, supervisor.options()

    async def terminate(self, reason: object, state: object) -> None:
        pass


@asynccontextmanager
async def open_runtime() -> AsyncGenerator[None]:
    backend = AsyncIOBackend()
    await backend.initialize()
    process.use_runtime(backend)
    try:
        yield
    finally:
        await backend.shutdown()


async def inside(work: Callable[[], Awaitable[None]], count: int = 1) -> None:
    """Carry out work in as many processes, and wait for them."""
    left = count
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def body() -> None:
        nonlocal left
        try:
            await work()
        except BaseException as error:
            if not done.done():
                done.set_exception(error)
            raise
        left -= 1
        if not left and not done.done():
            done.set_result(None)

    for _ in range(count):
        await process.spawn(body)
    await done


async def call(n: int) -> None:
    for number in range(n):
        await gen_server.call("echo", number, TIMEOUT_S)


async def cast(n: int) -> None:
    for number in range(n):
        await gen_server.cast("echo", number)
    await call(1)


async def start(module: type, argument: object = None, name: str | None = None) -> None:
    await module.start_link(init_arg=argument, name=name)
    await asyncio.Event().wait()


@asynccontextmanager
async def open_clients(
    n: int, *, client: Callable[[int], Awaitable[None]], clients: int = 1
) -> AsyncGenerator[Run]:
    async with open_runtime():
        await process.spawn(partial(start, Echo, None, "echo"))
        while process.whereis("echo") is None:  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0)
        yield partial(inside, partial(client, n // clients), clients)


@asynccontextmanager
async def open_ring(n: int) -> AsyncGenerator[Run]:
    async with open_runtime():
        done = asyncio.Event()

        async def set_up() -> None:
            for index in range(RING):
                hop = Hop(f"hop-{(index + 1) % RING}", done)
                await gen_server.start(Echo, hop, f"hop-{index}")

        await inside(set_up)

        async def run() -> None:
            await gen_server.cast("hop-0", n)
            await done.wait()

        yield partial(inside, run)


@asynccontextmanager
async def open_spawn(n: int) -> AsyncGenerator[Run]:
    async with open_runtime():

        async def run() -> None:
            for _ in range(n):
                await gen_server.start(Echo)

        yield partial(inside, run)


@asynccontextmanager
async def open_tree_start(n: int) -> AsyncGenerator[Run]:
    async with open_runtime():

        async def run() -> None:
            await Root.start_link(init_arg=n)

        yield partial(inside, run)


PEER = Peer(
    name="otpylib",
    distribution="otpylib",
    handler="async def",
    host="task",
    measures={
        "call1": on_asyncio(partial(open_clients, client=call)),
        "call100": on_asyncio(partial(open_clients, client=call, clients=CROWD)),
        "cast1": on_asyncio(partial(open_clients, client=cast)),
        "cast100": on_asyncio(partial(open_clients, client=cast, clients=CROWD)),
        "ring": on_asyncio(open_ring),
        "spawn": on_asyncio(open_spawn),
        "tree_start": on_asyncio(open_tree_start),
    },
    most={"spawn": 2_000, "tree_start": 1_000},
    absent={
        "call1_plain": "handlers are async def",
        "cast1_room": "mailboxes have no bound",
        "crash": "its supervisors restart nothing: they expect Down with five fields, it has four",
        "tree_stop": "a supervisor's stop does not wait for its children",
    },
)
