"""`tree`: the supervisors and actors as they stand now."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask

if TYPE_CHECKING:
    from autonomics.http.client import Client


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Draw it."""

    async def read(client: Client) -> Any:
        return await client.get("/v1/tree")

    root = ask(options, read)
    if options.json:
        print_json(root)
        return
    for line in draw(root):
        print_text(line)


def draw(node: Any, lead: str = "", below: str = "") -> Iterator[str]:
    """Yield a line per node, each child one step further in."""
    notes = [str(node["state"])]
    if node["restarts"]:
        notes.append(f"restarts {node['restarts']}")
    if node["mailbox_depth"]:
        notes.append(f"mailbox {node['mailbox_depth']}")
    if node["held"]:
        notes.append("held")
    if node["last_exit"]:
        notes.append(f"last exit {node['last_exit'][:80]}")
    yield f"{lead}{node['id']}  ({node['kind']}: {', '.join(notes)})"
    children = node["children"]
    for place, child in enumerate(children):
        is_last = place == len(children) - 1
        yield from draw(
            child, below + ("└─ " if is_last else "├─ "), below + ("   " if is_last else "│  ")
        )


COMMANDS = (Command(None, "draw the tree of supervisors and actors", add_arguments, run),)
