"""`serve`: the control plane as a process, until it is told to stop."""

from __future__ import annotations

import os
import shlex
import signal
import sqlite3
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, cast

from autonomics.cli.command import Command
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import describe_start, read_settings
from autonomics.config import Settings
from autonomics.errors import CommandFailed, StartFailed
from autonomics.storage.data_folder import SOCKET_NAME, STORE_NAME
from autonomics.telemetry import Listener, declare, emit

if TYPE_CHECKING:
    import trio

    from autonomics.service import Parts

declare(
    "serve.ready",
    "The control plane takes requests.",
    url="where the HTTP server listens",
    data="the data folder",
    store="kind of the store",
    effectors="prefixes of the calls that are carried out",
    pid="id of the process",
)
declare(
    "serve.dry",
    "Some recipes only decide and never act: no effector is configured for their calls.",
    recipes="their ids",
)
declare(
    "serve.stopping",
    "No new requests are taken; those in flight are answered.",
    signal="name of the signal that asked for it",
)


def add_arguments(parser: CommandParser) -> None:
    """Add the options; their values are checked by the table of settings."""
    parser.add_argument("--host", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--port", help="port to bind; 0 takes a free one (default: 8080)")
    parser.add_argument("--store", metavar="KIND", help="sqlite (default), memory or stdout")
    parser.add_argument("--log-format", metavar="KIND", help="json, text, or auto (default)")
    parser.add_data()


def run(options: Namespace) -> int:
    """Serve; 0 after a stop that was asked for."""
    settings = read_settings(
        options,
        host=options.host,
        port=options.port,
        store=options.store,
        log_format=options.log_format,
    )
    _expect_guarded(settings)

    import trio

    from autonomics.integrations.log_sink import LogFormat, open_log_sink
    from autonomics.service import Doors, open_parts

    trio.run(_expect_free, settings)
    urls: list[str] = []
    log = _HeldLog(open_log_sink(sys.stderr, cast("LogFormat", settings.log_format)))
    with open_parts(settings, doors=Doors(on_bound=urls.append), write_event=log.write) as parts:
        return trio.run(_serve, parts, urls, log)


class _HeldLog:
    """Keeps lines back until the tree stands: a start that fails is told in one line, its cause."""

    def __init__(self, write: Listener) -> None:
        self._write = write
        self._held: list[tuple[str, Mapping[str, object]]] | None = []

    def write(self, event: str, fields: Mapping[str, object]) -> None:
        """Write an event, or keep it."""
        if self._held is None:
            self._write(event, fields)
        else:
            self._held.append((event, fields))

    def release(self) -> None:
        """Write what was kept, and all that comes."""
        held, self._held = self._held, None
        for event, fields in held or ():
            self._write(event, fields)


def _expect_guarded(settings: Settings) -> None:
    """Refuse an address that others reach while there is no key that anybody could have."""
    if settings.is_loopback or _has_admin_key(settings):
        return
    data = shlex.quote(str(settings.data))
    if settings.store != "sqlite":
        step = f"a store of kind {settings.store} begins without any key"
    elif (settings.data / STORE_NAME).exists():
        step = f"run `autonomics api-keys create --role admin --data {data}` first"
    else:
        step = f"run `autonomics init --data {data}` first"
    raise CommandFailed(f"may not listen on {settings.host} without an admin key: {step}")


def _has_admin_key(settings: Settings) -> bool:
    from autonomics.storage.sqlite_schema import check_header, open_for_reading

    path = settings.data / STORE_NAME
    if settings.store != "sqlite" or not check_header(path):
        return False
    sql = "SELECT 1 FROM api_key WHERE role = 'admin' AND revoked_at IS NULL LIMIT 1"
    try:
        with closing(open_for_reading(path)) as connection:
            return connection.execute(sql).fetchone() is not None
    except sqlite3.DatabaseError as error:
        raise CommandFailed(f"{path} is corrupted: {error}") from None


async def _expect_free(settings: Settings) -> None:
    """See that folder and port can be had before anything on disk is touched."""
    from autonomics.http.server import bind_tcp
    from autonomics.http.socket_path import is_serving

    if await is_serving(settings.data / SOCKET_NAME):
        raise CommandFailed(f"another server holds {settings.data}")
    listener = await bind_tcp(settings.host, settings.port)
    listener.close()


async def _serve(parts: Parts, urls: list[str], log: _HeldLog) -> int:
    import trio

    work = trio.CancelScope()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, work)
            with work:
                await _hold(parts, urls, log)
            nursery.cancel_scope.cancel()
    return 0


async def _obey(signals: AsyncIterator[int], work: trio.CancelScope) -> None:
    """Ask for an orderly stop at the first signal; at the second leave at once.

    Actors are shielded: to cancel who waits for the tree is to have the runtime stop it in order.
    What was acknowledged is on disk already: leaving at once loses answers, no receipts.
    """
    async for number in signals:
        if work.cancel_called:
            sys.stderr.write("autonomics: the second signal cut the stop short\n")
            sys.stderr.flush()
            os._exit(128 + number)
        emit("serve.stopping", signal=signal.Signals(number).name)
        work.cancel(reason="a signal asked for a stop")


async def _hold(parts: Parts, urls: list[str], log: _HeldLog) -> None:
    """Run the tree until cancelled; CommandFailed where it does not start, or ends by itself."""
    from autonomics.service import open_service

    try:
        async with open_service(parts) as service:
            log.release()
            _announce(parts, urls)
            reason = await service.root.wait_down()
    except StartFailed as error:
        raise describe_start(error) from None
    raise CommandFailed(f"the control plane ended by itself: {reason}")


def _announce(parts: Parts, urls: list[str]) -> None:
    settings = parts.settings
    if parts.dry:
        emit("serve.dry", recipes=list(parts.dry))
    emit(
        "serve.ready",
        url=urls[-1],
        data=str(settings.data),
        store=settings.store,
        effectors=["platform", *sorted(parts.effectors)],
        pid=os.getpid(),
    )


COMMANDS = (Command(None, "run the control plane until told to stop", add_arguments, run),)
