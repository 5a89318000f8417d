"""The stock in a trio program: nothing lies between the program and the tree."""

from __future__ import annotations

import trio

from autonomics.errors import ActorDied
from autonomics.runtime import open_runtime
from shop_stock import Take, make_setup


async def order(pieces: int) -> str:
    """Order pieces, by whatever is awaited in trio."""
    await trio.lowlevel.checkpoint()
    return f"ordered {pieces}"


async def main() -> None:
    """Take what is there, ask for too much, and go on with the successor."""
    async with open_runtime(with_signals=True) as runtime:
        await make_setup(order)(runtime)
        stock = runtime.named("stock")
        print("left", await stock.call(Take(4)))
        print("left", await stock.call(Take(4)))
        try:
            await stock.call(Take(4))
        except ActorDied as error:
            print(error)
        await runtime.await_name("stock")
        print("left", await stock.call(Take(1)))
    print("stopped")


if __name__ == "__main__":
    trio.run(main)
