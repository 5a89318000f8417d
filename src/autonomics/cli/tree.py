"""`tree`: the supervisors and actors as they stand now, or one of them closely."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask

if TYPE_CHECKING:
    from autonomics.http.client import Client


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_argument(
        "path", nargs="?", metavar="PATH", help="one actor: what it does, and where it stands"
    )
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Draw it."""
    path = options.path

    async def read(client: Client) -> Any:
        if path is None:
            return await client.get("/v1/tree")
        return await client.get("/v1/tree/status", actor=path)

    found = ask(options, read)
    if options.json:
        print_json(found)
        return
    for line in draw(found) if path is None else describe(found):
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


def describe(status: Any) -> Iterator[str]:
    """Yield a line per fact that there is something to say about."""
    for name, value in status.items():
        if value and name != "stack":
            yield f"{name}: {_in_words(value)}"
    yield "stack, the innermost last:"
    for line in status["stack"]:
        yield f"  {line}"


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return ", ".join(f"{key} {told}" for key, told in pairs if told is not None)
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value)))
    return str(value)


COMMANDS = (
    Command(None, "draw the tree of supervisors and actors, or look at one", add_arguments, run),
)
