"""The stock in a synchronous program: the tree has a thread of its own."""

from __future__ import annotations

from autonomics.errors import ActorDied
from autonomics.runtime import open_in_thread
from shop_stock import Take, make_setup


def order(pieces: int) -> str:
    """Order pieces, by whatever blocks; it has a thread for that."""
    return f"ordered {pieces}"


def main() -> None:
    """Take what is there, ask for too much, and go on with the successor."""
    with open_in_thread(make_setup(order)) as portal:
        print("left", portal.call("stock", Take(4)))
        print("left", portal.call("stock", Take(4)))
        try:
            portal.call("stock", Take(4))
        except ActorDied as error:
            print(error)
        portal.run(portal.runtime.await_name, "stock")
        print("left", portal.call("stock", Take(1)))
    print("stopped")


if __name__ == "__main__":
    main()
