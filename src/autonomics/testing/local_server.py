"""The local cloud on a real port."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]

from autonomics.http.server import bind_tcp
from autonomics.testing.local_cloud import LocalCloud


@asynccontextmanager
async def serve_cloud(
    cloud: LocalCloud, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[str]:
    """Serve for the length of an `async with` block; gives the URL. Port 0 takes a free one.

    At its end nobody is waited for: a request that hangs by script would never be answered.
    """
    listener = await bind_tcp(host, port)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    app = cast("Any", cloud.app)
    async with trio.open_nursery() as nursery:
        binds: list[str] = await nursery.start(
            partial(serve, app, config, shutdown_trigger=trio.sleep_forever, mode="asgi")
        )
        yield binds[0]
        nursery.cancel_scope.cancel(reason="the cloud is no longer needed")
