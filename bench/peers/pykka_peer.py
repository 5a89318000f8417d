# mypy: ignore-errors
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""pykka: a thread per actor, plain def handlers, unbounded mailboxes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pykka

from bench.peer import Peer, on_threads

CROWD = 100
RING = 1_000
TIMEOUT_S = 5.0


class Echo(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: object) -> object:
        self.count += 1
        return message


class Runner(pykka.ThreadingActor):
    def __init__(self, done: threading.Event) -> None:
        super().__init__()
        self.done = done

    def on_receive(self, message: object) -> None:
        if not isinstance(message, int):
            self.next = message
        elif message:
            self.next.tell(message - 1)
        else:
            self.done.set()


def call(ref: pykka.ActorRef, n: int) -> None:
    for number in range(n):
        ref.ask(number, timeout=TIMEOUT_S)


def cast(ref: pykka.ActorRef, n: int) -> None:
    for number in range(n):
        ref.tell(number)
    ref.ask(0)


@contextmanager
def open_clients(
    n: int, *, client: Callable[[pykka.ActorRef, int], None], clients: int = 1
) -> Iterator[Callable[[], None]]:
    ref = Echo.start()

    def run() -> None:
        if clients == 1:
            client(ref, n)
            return
        crowd = [threading.Thread(target=client, args=(ref, n // clients)) for _ in range(clients)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()

    yield run
    ref.stop()


@contextmanager
def open_ring(n: int) -> Iterator[Callable[[], None]]:
    done = threading.Event()
    refs = [Runner.start(done) for _ in range(RING)]
    for ref, following in zip(refs, refs[1:] + refs[:1], strict=True):
        ref.ask(following)

    def run() -> None:
        refs[0].tell(n)
        done.wait()

    yield run
    pykka.ActorRegistry.stop_all()


@contextmanager
def open_spawn(n: int) -> Iterator[Callable[[], None]]:
    def run() -> None:
        for _ in range(n):
            Echo.start()

    yield run
    pykka.ActorRegistry.stop_all()


PEER = Peer(
    name="pykka",
    distribution="pykka",
    handler="def",
    host="thread",
    measures={
        "call1_plain": on_threads(partial(open_clients, client=call)),
        "call100": on_threads(partial(open_clients, client=call, clients=CROWD)),
        "cast1": on_threads(partial(open_clients, client=cast)),
        "cast100": on_threads(partial(open_clients, client=cast, clients=CROWD)),
        "ring": on_threads(open_ring),
        "spawn": on_threads(open_spawn),
    },
    most={"spawn": 1_000},
    absent={
        "call1": "handlers are plain def: see call1_plain",
        "cast1_room": "mailboxes have no bound",
        "crash": "no supervisor",
        "tree_start": "no supervisor",
        "tree_stop": "no supervisor",
    },
)
