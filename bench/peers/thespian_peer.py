# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""thespian on its simpleSystemBase: synchronous, in one process, one caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from thespian.actors import Actor, ActorAddress, ActorSystem

from bench.peer import Peer, on_threads

RING = 1_000
TIMEOUT = timedelta(seconds=5)


class Echo(Actor):
    count = 0

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: N802
        if isinstance(message, str):
            self.count += 1
        elif isinstance(message, int):
            self.send(sender, message)


class Runner(Actor):
    following: ActorAddress

    def receiveMessage(self, message: object, sender: ActorAddress) -> None:  # noqa: N802
        if isinstance(message, ActorAddress):
            self.following = message
        elif isinstance(message, int) and message:
            self.send(self.following, message - 1)


def call(system: ActorSystem, echo: ActorAddress, n: int) -> None:
    for number in range(n):
        system.ask(echo, number, TIMEOUT)


def cast(system: ActorSystem, echo: ActorAddress, n: int) -> None:
    for _ in range(n):
        system.tell(echo, "count")
    system.ask(echo, 0, TIMEOUT)


@contextmanager
def open_system() -> Iterator[ActorSystem]:
    system = ActorSystem("simpleSystemBase")
    try:
        yield system
    finally:
        system.shutdown()


@contextmanager
def open_clients(
    n: int, *, client: Callable[[ActorSystem, ActorAddress, int], None]
) -> Iterator[Callable[[], None]]:
    with open_system() as system:
        yield partial(client, system, system.createActor(Echo), n)


@contextmanager
def open_ring(n: int) -> Iterator[Callable[[], None]]:
    with open_system() as system:
        runners = [system.createActor(Runner) for _ in range(RING)]
        for runner, following in zip(runners, runners[1:] + runners[:1], strict=True):
            system.tell(runner, following)
        # tell returns once all that follows from it is done: there are no other threads.
        yield partial(system.tell, runners[0], n)


@contextmanager
def open_spawn(n: int) -> Iterator[Callable[[], None]]:
    with open_system() as system:

        def run() -> None:
            for _ in range(n):
                system.createActor(Echo)

        yield run


PEER = Peer(
    name="thespian (simpleSystemBase)",
    distribution="thespian",
    handler="def",
    host="object",
    measures={
        "call1_plain": on_threads(partial(open_clients, client=call)),
        "cast1": on_threads(partial(open_clients, client=cast)),
        "ring": on_threads(open_ring),
        "spawn": on_threads(open_spawn),
    },
    absent={
        "call1": "handlers are plain def: see call1_plain",
        "call100": "one caller only",
        "cast1_room": "mailboxes have no bound",
        "cast100": "one caller only",
        "crash": "no supervisor",
        "tree_start": "no supervisor",
        "tree_stop": "no supervisor",
    },
)
