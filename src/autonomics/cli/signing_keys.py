"""`signing-keys`: what a stranger needs to check a log's checkpoints."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask, path_to

if TYPE_CHECKING:
    from autonomics.http.client import Client


def _add_show(parser: CommandParser) -> None:
    parser.add_argument("tenant", metavar="TENANT", help="whose log")
    parser.add_data()
    parser.add_json()


def _show(options: Namespace) -> None:
    async def read(client: Client) -> Any:
        return await client.get(path_to("tenants", options.tenant, "vkey"))

    vkey = str(ask(options, read)).strip()
    if options.json:
        print_json({"tenant": options.tenant, "vkey": vkey})
    else:
        print_text(vkey)


COMMANDS = (Command("show", "print the verifier key of a tenant's log", _add_show, _show),)
