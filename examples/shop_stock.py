"""The service of all three examples: a supervised stock of goods that reports what runs low.

It knows nothing of the program that hosts it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from autonomics.runtime import Actor, Call, ReplyTo, Runtime, Setup, run_in_host
from autonomics.supervisors import ChildSpec, Supervisor


@attrs.frozen
class Take(Call[int]):
    """Take some pieces out; the reply is how many are left."""

    pieces: int


class Stock(Actor):
    """Holds ten pieces, and has the host order more when fewer than three are left."""

    def __init__(self, order: Callable[[int], Awaitable[str] | str]) -> None:
        self.order = order
        self.pieces = 10

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        """Answer a Take; more than there is crashes the actor, and its successor has ten again."""
        assert isinstance(message, Take)
        if message.pieces > self.pieces:
            raise LookupError(f"{message.pieces} pieces wanted, {self.pieces} there")
        self.pieces -= message.pieces
        if self.pieces < 3:
            print(await run_in_host(self.order, 10 - self.pieces))
        return self.pieces


def make_setup(order: Callable[[int], Awaitable[str] | str]) -> Setup:
    """Make the function that starts the tree; `order` belongs to the host."""

    async def setup(runtime: Runtime) -> None:
        stock = ChildSpec(id="stock", start=lambda: Stock(order), name="stock")
        await runtime.start(lambda: Supervisor([stock]), id="shop")

    return setup
