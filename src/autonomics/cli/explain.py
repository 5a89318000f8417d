"""`explain`: the story of the signal that a receipt belongs to."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask, path_to
from autonomics.cli.story import tell_story

if TYPE_CHECKING:
    from autonomics.http.client import Client


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_argument("receipt", metavar="RECEIPT", help="the id of any receipt of it")
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Print the story: what came, what was decided and why, what was done, how it ended."""

    async def read(client: Client) -> Any:
        return await client.get(path_to("receipts", options.receipt, "related"))

    found = ask(options, read)
    if options.json:
        print_json(found)
        return
    for line in tell_story(found["receipts"]):
        print_text(line)


COMMANDS = (Command(None, "tell the story of a signal", add_arguments, run),)
