"""`init`: a data folder, and the first key to it."""

from __future__ import annotations

import shlex
from argparse import Namespace
from typing import Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import open_in_process, read_settings
from autonomics.config import Settings
from autonomics.errors import CommandFailed
from autonomics.storage.data_folder import KEY_NAME, STORE_NAME


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Make the folder, and print the first admin key this once."""
    import trio

    settings = read_settings(options)
    if settings.store != "sqlite":
        raise CommandFailed(
            f"a store of kind {settings.store} keeps no keys: set store to sqlite, or just serve"
        )
    for name in (KEY_NAME, STORE_NAME):
        if (settings.data / name).exists():
            raise CommandFailed(
                f"{settings.data} is a data folder already; nothing was changed (more admin keys:"
                f" `autonomics api-keys create --role admin --data {_quote(settings)}`)"
            )
    key = trio.run(_make, settings)
    step = f"autonomics serve --data {_quote(settings)}"
    if options.json:
        print_json({"data": str(settings.data), "admin_key": key, "next": step})
        return
    print_text(f"Made the data folder {settings.data}: signing key, store, first admin key.\n")
    print_text(f"  {key['secret']}\n")
    print_text("Keep the admin key now: it is shown this once, and only its hash is stored.")
    print_text(f"Next: {step}")


async def _make(settings: Settings) -> Any:
    from autonomics.http.client import open_client

    socket = settings.data / "no-server-in-a-new-folder"
    async with open_client(socket, start=lambda: open_in_process(settings)) as client:
        return await client.post("/v1/api-keys", {"role": "admin"})


def _quote(settings: Settings) -> str:
    return shlex.quote(str(settings.data))


COMMANDS = (Command(None, "make a data folder with its first admin key", add_arguments, run),)
