"""`mcp`: an agent's way in, as a command in its client's configuration."""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from autonomics.cli.command import Command
from autonomics.cli.parser import USAGE, CommandParser
from autonomics.cli.reach import describe_start, enter_patiently, expect_store, read_settings
from autonomics.config import Settings, is_guarded_url
from autonomics.errors import CommandFailed, StartFailed
from autonomics.storage.data_folder import SOCKET_NAME

if TYPE_CHECKING:
    import httpx2
    import trio

    from autonomics.cli.stdio import StdioLines

PATH = "/mcp"


def add_arguments(parser: CommandParser) -> None:
    """Add the options; there is none for a key, which others could read off the process list."""
    parser.add_argument(
        "--url",
        help="a server elsewhere; its key is AUTONOMICS_API_KEY (default: the data folder's)",
    )
    parser.add_argument(
        "--tenant", metavar="ID", help="the tenant to ask for, on this machine's own data folder"
    )
    parser.add_data()


def run(options: Namespace) -> int:
    """Carry messages between stdin, stdout and a control plane; 0 once the client has left."""
    settings = read_settings(options, tenant=options.tenant)
    url = None if options.url is None else _expect_url(options.url, settings)

    import trio

    from autonomics.cli.stdio import claimed_stdio

    with claimed_stdio() as lines:
        return trio.run(_run, settings, url, lines)


def _expect_url(url: str, settings: Settings) -> str:
    """Return the URL without the path that all servers have; what can't be right is usage."""
    if not is_guarded_url(url):
        raise CommandFailed(
            f"expected --url to be an https URL without a query, or http to this machine,"
            f" got {url!r}",
            USAGE,
        )
    if settings.tenant is not None:
        raise CommandFailed(
            "a tenant (--tenant, AUTONOMICS_TENANT) does not go with --url: there the key says"
            " whose it is",
            USAGE,
        )
    if settings.api_key is None:
        raise CommandFailed("--url needs a key: set AUTONOMICS_API_KEY", USAGE)
    return url.rstrip("/").removesuffix(PATH)


async def _run(settings: Settings, url: str | None, lines: StdioLines) -> int:
    import trio

    from autonomics.http.mcp_bridge import Bridge

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, nursery.cancel_scope)
            async with _open(settings, url) as client:
                await Bridge(lines, client).run()
            nursery.cancel_scope.cancel()
    return 0


async def _obey(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel(reason="a signal asked for a stop")


@asynccontextmanager
async def _open(settings: Settings, url: str | None) -> AsyncGenerator[httpx2.AsyncClient]:
    """Open the way: to the URL, to who serves the data folder, or to a service of our own."""
    from autonomics.http.mcp_bridge import open_way

    async with AsyncExitStack() as stack:
        if url is not None:
            way = open_way(url=url, api_key=settings.api_key)
        else:
            await enter_patiently(stack, lambda: _open_service(settings))
            way = open_way(socket=settings.data / SOCKET_NAME, tenant_id=settings.tenant)
        yield await stack.enter_async_context(way)


@asynccontextmanager
async def _open_service(settings: Settings) -> AsyncGenerator[None]:
    """Serve the folder in this process, unless somebody does.

    On its control socket, so that other clients and commands find it as they find any server.
    """
    from autonomics.http.socket_path import is_serving

    if await is_serving(settings.data / SOCKET_NAME):
        yield
        return
    expect_store(settings)
    if find_spec("mcp") is None:
        raise CommandFailed("this command needs mcp: install it with pip install 'autonomics[mcp]'")
    from autonomics.integrations.log_sink import LogFormat, open_log_sink
    from autonomics.service import Doors, open_parts, open_service

    write = open_log_sink(sys.stderr, cast("LogFormat", settings.log_format))
    doors = Doors(on_port=False)
    with open_parts(settings, doors=doors, write_event=write) as parts:
        try:
            async with open_service(parts):
                yield
        except StartFailed as error:
            raise describe_start(error) from None


COMMANDS = (Command(None, "speak MCP on stdin and stdout, for agents", add_arguments, run),)
