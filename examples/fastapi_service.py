"""The stock in a FastAPI service on uvicorn: opened and closed by the service's lifespan.

`uvicorn --app-dir examples fastapi_service:app` serves it as well.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal, NoReturn, TypeVar, cast

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request

from autonomics.errors import ActorDied
from autonomics.runtime import AsyncioBridge, open_in_asyncio
from shop_stock import Deliver, Take, make_setup, stand_in_line

R = TypeVar("R")


async def order(pieces: int) -> str:
    """Order pieces, by whatever is awaited in asyncio."""
    await asyncio.sleep(0)
    return f"ordered {pieces}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Have a tree as long as requests are served."""
    try:
        async with open_in_asyncio(make_setup(order)) as bridge:
            app.state.shop = bridge
            yield
    except ActorDied:
        # By itself uvicorn would serve on without the tree.
        app.state.exit_status = 1
        signal.raise_signal(signal.SIGTERM)
        raise


app = FastAPI(lifespan=lifespan)
app.state.exit_status = 0


def get_shop(request: Request) -> AsyncioBridge:
    """Find the way into the tree."""
    return cast("AsyncioBridge", request.app.state.shop)


Shop = Annotated[AsyncioBridge, Depends(get_shop)]


@app.post("/take/{pieces}")
async def take(pieces: int, shop: Shop) -> dict[str, int]:
    """Take some pieces out."""
    return {"left": await shop.call("stock", Take(pieces))}


@app.post("/deliver/{pieces}", status_code=202)
async def deliver(pieces: int, shop: Shop) -> None:
    """Put some pieces in."""
    shop.cast("stock", Deliver(pieces))


@app.get("/wait/{pieces}")
async def wait(pieces: int, shop: Shop, request: Request) -> dict[str, int]:
    """Wait for so many pieces; who hangs up waits no longer."""
    waiting = shop.run(stand_in_line, shop.runtime, pieces)
    return {"there": await run_while_connected(request, waiting)}


async def run_while_connected(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """Cancel the work when the client hangs up: FastAPI by itself would go on with it."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(cancel_at_hang_up(request, task))
    try:
        return await task
    except asyncio.CancelledError:
        if watch.done():
            raise HTTPException(499, "the client has hung up") from None
        raise
    finally:
        watch.cancel()


async def cancel_at_hang_up(request: Request, task: asyncio.Task[Any]) -> None:
    """Read what else the server has to say about the request, until it says that."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()


def leave(_number: int, _frame: object) -> NoReturn:
    """End the program in order; for SIGTERM."""
    raise SystemExit(app.state.exit_status)


def main(port: int = 8000, loop: Literal["asyncio", "uvloop"] = "asyncio") -> None:
    """Serve until SIGTERM or SIGINT; the status is 1 if the tree was lost."""
    # When all is done uvicorn raises the signal that stopped it again, which would be a killed
    # process to whoever looks at its status.
    signal.signal(signal.SIGTERM, leave)
    # Who still waits when the service stops would hold it up for ever, without a limit.
    uvicorn.run(app, port=port, loop=loop, timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main(int(sys.argv[1]), "uvloop" if "uvloop" in sys.argv else "asyncio")
