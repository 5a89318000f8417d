"""The stock inside an asyncio program: one loop, one thread."""

from __future__ import annotations

import asyncio

from autonomics.errors import ActorDied
from autonomics.runtime import open_in_asyncio
from shop_stock import Take, make_setup


async def order(pieces: int) -> str:
    """Order pieces, by whatever is awaited in asyncio."""
    await asyncio.sleep(0)
    return f"ordered {pieces}"


async def main() -> None:
    """Take what is there, ask for too much, and go on with the successor."""
    async with open_in_asyncio(make_setup(order)) as bridge:
        print("left", await bridge.call("stock", Take(4)))
        print("left", await bridge.call("stock", Take(4)))
        try:
            await bridge.call("stock", Take(4))
        except ActorDied as error:
            print(error)
        await bridge.run(bridge.runtime.await_name, "stock")
        print("left", await bridge.call("stock", Take(1)))
    print("stopped")


if __name__ == "__main__":
    asyncio.run(main())
