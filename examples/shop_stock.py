"""The service of all examples: a supervised stock of goods that reports what runs low.

It knows nothing of the program that hosts it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from autonomics.runtime import (
    NO_REPLY,
    Actor,
    Call,
    ExitReason,
    ReplyTo,
    Runtime,
    Setup,
    run_in_host,
)
from autonomics.supervisors import ChildSpec, Supervisor

PATIENCE_S = 30

Order = Callable[[int], Awaitable[str] | str]
"""Orders pieces; a function of the host."""


@attrs.frozen
class Take(Call[int]):
    """Take some pieces out; the reply is how many are left."""

    pieces: int


@attrs.frozen
class AwaitPieces(Call[int]):
    """Wait until there are so many pieces; the reply is how many there are."""

    pieces: int


@attrs.frozen
class Deliver:
    """Put some pieces in."""

    pieces: int


class Stock(Actor):
    """Holds ten pieces, and has the host order more when fewer than three are left."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.pieces = 10
        self.waiting: list[tuple[int, ReplyTo]] = []

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        """Answer a call; to take more than there is crashes it, and its successor has ten again."""
        if isinstance(message, AwaitPieces):
            self.waiting.append((message.pieces, reply_to))
            self.serve_waiting()
            return NO_REPLY
        assert isinstance(message, Take)
        if message.pieces > self.pieces:
            raise LookupError(f"{message.pieces} pieces wanted, {self.pieces} there")
        self.pieces -= message.pieces
        if self.pieces < 3:
            tell(await run_in_host(self.order, 10 - self.pieces))
        return self.pieces

    def handle_cast(self, message: object) -> None:
        """Take in what is delivered."""
        assert isinstance(message, Deliver)
        self.pieces += message.pieces
        self.serve_waiting()

    def serve_waiting(self) -> None:
        """Answer those who have waited for as many as there are now."""
        for wanted, reply_to in self.waiting:
            if wanted <= self.pieces:
                reply_to.reply(self.pieces)
        self.waiting = [entry for entry in self.waiting if entry[1].is_wanted]

    async def terminate(self, reason: ExitReason) -> None:
        """Lock up."""
        tell(f"locked up with {self.pieces} left")


async def stand_in_line(runtime: Runtime, pieces: int) -> int:
    """Wait until there are so many pieces, for a while; for a host to run."""
    tell(f"somebody waits for {pieces}")
    try:
        return await runtime.named("stock").call(AwaitPieces(pieces), PATIENCE_S)
    finally:
        tell("and is gone")


def make_setup(order: Order) -> Setup:
    """Make the function that starts the tree."""

    async def setup(runtime: Runtime) -> None:
        stock = ChildSpec(id="stock", start=lambda: Stock(order), name="stock")
        await runtime.start(lambda: Supervisor([stock]), id="shop")

    return setup


def tell(what: object) -> None:
    """Print a line at once and in one piece, whatever thread or process it comes from."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()
