"""The servers of the tree: one on a TCP port, one on the control socket of the data folder.

Both serve under hypercorn, and bind by themselves: so a taken port is one clear line, and the
socket's mode is right from its first moment on. A stop lets requests in flight be answered.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]
from quart_trio import QuartTrio

from autonomics.errors import CommandFailed
from autonomics.http.socket_path import is_serving, short_address
from autonomics.runtime import Worker
from autonomics.telemetry import declare, emit

BACKLOG = 256
KEEP_ALIVE_S = 30.0
DRAIN_S = 8.0

declare("http.serving", "A server takes requests.", address="URL, or path of the socket")
declare("http.closed", "A server takes no requests any more.", address="as in http.serving")


class Server(Worker):
    """One listening socket and the app behind it."""

    def __init__(self, make_app: Callable[[], QuartTrio], drain_s: float) -> None:
        self._make_app = make_app
        self._drain_s = drain_s
        self._stop = trio.Event()
        self.address: str | None = None
        """Where it can be reached; None until it serves."""

    async def request_stop(self) -> None:
        """Take no more requests, answer those in flight within the drain time, and return."""
        self._stop.set()

    def describe(self) -> object:
        """Show the address."""
        return {"address": self.address}

    async def serve_on(self, listener: socket.socket, started: Callable[[str], None]) -> None:
        """Serve until a stop is asked for; the listener is ours from here on."""
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.accesslog = None
        config.errorlog = None  # The guard has reported what hypercorn would print.
        config.include_server_header = False
        config.backlog = BACKLOG
        config.keep_alive_timeout = KEEP_ALIVE_S
        config.graceful_timeout = self._drain_s
        config.shutdown_timeout = self._drain_s
        app = cast("Any", self._make_app())
        async with trio.open_nursery() as nursery:
            binds = await nursery.start(
                partial(serve, app, config, shutdown_trigger=self._stop.wait, mode="asgi")
            )
            self.address = binds[0]
            started(binds[0])
        emit("http.closed", address=self.address)


class HttpServer(Server):
    """Serves on host and port; port 0 takes a free one, `on_bound` is told the URL."""

    def __init__(
        self,
        make_app: Callable[[], QuartTrio],
        *,
        host: str,
        port: int,
        drain_s: float = DRAIN_S,
        on_bound: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(make_app, drain_s)
        self._host = host
        self._port = port
        self._on_bound = on_bound

    async def run(self, started: Callable[[], None]) -> None:
        """Bind, serve, drain; CommandFailed where the address can't be had."""
        listener = await bind_tcp(self._host, self._port)

        def announce(url: str) -> None:
            emit("http.serving", address=url)
            if self._on_bound is not None:
                self._on_bound(url)
            started()

        await self.serve_on(listener, announce)


async def bind_tcp(host: str, port: int) -> socket.socket:
    """Bind the first address of a host; CommandFailed says in one line why it can't."""
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Inherited by what is accepted: without it a small answer waits for the peer's ACK.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
            # Two binds with SO_REUSEADDR may both succeed; it is listening that only one may.
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandFailed(f"can't listen on {shown}: {reason}") from None
    return listener


class ControlSocket(Server):
    """Serves on a unix socket that only the owner of the data folder can open."""

    def __init__(
        self, make_app: Callable[[], QuartTrio], *, path: Path, drain_s: float = DRAIN_S
    ) -> None:
        super().__init__(make_app, drain_s)
        self._path = path

    async def run(self, started: Callable[[], None]) -> None:
        """Bind, serve, drain, and take the file away again."""
        if await is_serving(self._path):
            raise CommandFailed(f"another process serves on {self._path}")
        listener = bind_unix(self._path)
        with removed_afterwards(self._path):

            def announce(_address: str) -> None:
                self.address = str(self._path)
                emit("http.serving", address=self.address)
                started()

            await self.serve_on(listener, announce)


def bind_unix(path: Path) -> socket.socket:
    """Bind a socket with mode 0600, in place of a stale one; nobody may be serving there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise CommandFailed(f"{path} is there and is no socket")
            path.unlink()
        # The mask holds for the process, and for the moment of the bind: nothing awaits here.
        mask = os.umask(0o177)
        try:
            with short_address(path) as address:
                listener.bind(address)
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CommandFailed(f"can't make the control socket {path}: {error.strerror}") from None
    except CommandFailed:
        listener.close()
        raise
    return listener


@contextmanager
def removed_afterwards(path: Path) -> Generator[None]:
    """Remove the socket file at the end, unless somebody has put another in its place."""
    made = path.lstat()
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            if path.lstat().st_ino == made.st_ino:
                path.unlink()
