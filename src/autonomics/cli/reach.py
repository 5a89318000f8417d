"""The way to a control plane: the server that holds the data folder, or one in this process."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from autonomics.cli.parser import USAGE
from autonomics.config import Settings, load_settings
from autonomics.errors import CommandFailed, DataFolderBusy, InvalidConfig, StartFailed
from autonomics.storage.data_folder import KEY_NAME, SOCKET_NAME, STORE_NAME

if TYPE_CHECKING:
    from autonomics.http.client import AsgiApp, Client

    Deed = Callable[[Client], Awaitable[Any]]

T = TypeVar("T")

PATIENCE_S: Final = 5.0
RETRY_S: Final = 0.05


def read_settings(options: Namespace, **others: object) -> Settings:
    """Return the settings under the options of a command; what is wrong with them is usage."""
    given = {"data": options.data, **others}
    try:
        return load_settings(given, config=options.config)
    except InvalidConfig as error:
        raise CommandFailed(str(error), USAGE) from None


def path_to(what: str, name: str, *rest: str) -> str:
    """Return the path of one thing below `/v1`; CommandFailed for what can be nobody's name.

    A slash would be read as two segments and dots as a step up, however they are quoted.
    """
    if "/" in name or name in ("", ".", ".."):
        raise CommandFailed(f"there is none named {name!a} among the {what.replace('-', ' ')}")
    return "/".join(("/v1", what, quote(name, safe=""), *rest))


def ask(options: Namespace, deed: Deed) -> Any:
    """Run `deed` with a client on the control plane of the data folder, and return its result.

    While a server holds the folder it is asked; else the folder is opened here for the time of it.
    The folder has to be there: only `init` and `serve` make one.
    """
    import trio

    return trio.run(_ask, read_settings(options), deed)


def ask_server(options: Namespace, deed: Deed) -> Any:
    """Run `deed` with a client on the server that holds the folder; CommandFailed if none does."""
    import trio

    return trio.run(_ask_server, read_settings(options), deed)


async def _ask_server(settings: Settings, deed: Deed) -> Any:
    from autonomics.http.client import open_client

    async with open_client(settings.data / SOCKET_NAME) as client:
        return await deed(client)


async def _ask(settings: Settings, deed: Deed) -> Any:
    async with AsyncExitStack() as stack:
        return await deed(await enter_patiently(stack, lambda: _open(settings)))


async def enter_patiently(
    stack: AsyncExitStack, open_way: Callable[[], AbstractAsyncContextManager[T]]
) -> T:
    """Enter; another process that holds the folder is about to serve, or soon done with it."""
    import trio

    deadline = trio.current_time() + PATIENCE_S
    while True:
        try:
            return await stack.enter_async_context(open_way())
        except DataFolderBusy:
            if trio.current_time() >= deadline:
                raise
        await trio.sleep(RETRY_S)


@asynccontextmanager
async def _open(settings: Settings) -> AsyncGenerator[Client]:
    from autonomics.http.client import open_client

    socket = settings.data / SOCKET_NAME

    @asynccontextmanager
    async def start() -> AsyncGenerator[AsgiApp]:
        expect_store(settings)
        async with open_in_process(settings) as app:
            yield app

    async with open_client(socket, start=start) as client:
        yield client


def expect_store(settings: Settings) -> None:
    """Refuse a folder that holds nothing that could be opened without a server."""
    data = settings.data
    if not (data / KEY_NAME).exists():
        raise CommandFailed(f"there is no data folder at {data}: run `autonomics init` first")
    if settings.store != "sqlite":
        raise CommandFailed(
            f"no server runs on {data}, and a store of kind {settings.store} lives only in one"
        )
    if not (data / STORE_NAME).exists():
        raise CommandFailed(f"no server runs on {data}, and there is no {STORE_NAME} in it")


@asynccontextmanager
async def open_in_process(settings: Settings) -> AsyncGenerator[AsgiApp]:
    """Open the folder in this process, without doors; the app's requests are an operator's."""
    from autonomics.http.app import SOCKET_PRINCIPAL, create_app
    from autonomics.service import open_parts, open_service

    with open_parts(settings) as parts:
        try:
            async with open_service(parts) as service:
                yield create_app(service.control, principal=SOCKET_PRINCIPAL)
        except StartFailed as error:
            raise describe_start(error) from None


def describe_start(error: StartFailed) -> CommandFailed:
    """Say in one line why a tree did not come up."""
    from autonomics.service import find_cause

    cause = find_cause(error)
    if isinstance(cause, CommandFailed):
        return cause
    return CommandFailed(str(error if cause is None else cause) or type(cause).__name__)
