"""`receipts`: a log, receipt by receipt, once or as it grows."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_json_line, print_text
from autonomics.cli.parser import CommandParser, whole
from autonomics.cli.reach import ask, ask_server
from autonomics.cli.story import summarise

if TYPE_CHECKING:
    from autonomics.http.client import Client

PAGE = 500
POLL_S = 0.3
PLATFORM = "platform"


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_argument(
        "tenant", metavar="TENANT", help=f"whose log; {PLATFORM} names the house's own"
    )
    parser.add_argument(
        "--after", type=whole(-1, 2**53 - 1), default=-1, metavar="SEQ", help="begin after this one"
    )
    parser.add_argument(
        "--limit", type=whole(1, 2**53 - 1), metavar="N", help="print at most so many"
    )
    parser.add_argument("--follow", action="store_true", help="go on as the log grows; Ctrl-C ends")
    parser.add_data()
    parser.add_json("print one JSON value; with --follow one line of JSON per receipt")


def run(options: Namespace) -> None:
    """Print, and follow if asked to."""
    if options.follow:
        ask_server(options, lambda client: _follow(client, options))
        return

    async def read(client: Client) -> Any:
        found: list[Any] = []
        after: int | None = options.after
        while after is not None:
            page = await _read_page(client, options, after, _left(options, len(found)))
            found += page["receipts"]
            after = page["next"]
            if options.limit is not None and len(found) >= options.limit:
                break
        return {"receipts": found, "next": after}

    page = ask(options, read)
    if options.json:
        print_json(page)
        return
    for receipt in page["receipts"]:
        _print(receipt)


async def _follow(client: Client, options: Namespace) -> None:
    import trio

    after, count = options.after, 0
    while options.limit is None or count < options.limit:
        page = await _read_page(client, options, after, _left(options, count))
        for receipt in page["receipts"]:
            if options.json:
                print_json_line(receipt)
            else:
                _print(receipt)
            after, count = receipt["seq"], count + 1
        if page["next"] is None:
            await trio.sleep(POLL_S)


async def _read_page(client: Client, options: Namespace, after: int, limit: int) -> Any:
    name = "log" if options.tenant == PLATFORM else "tenant"
    query: dict[str, str | int | None] = {name: options.tenant, "after": after, "limit": limit}
    return await client.get("/v1/receipts", **query)


def _left(options: Namespace, count: int) -> int:
    return PAGE if options.limit is None else min(PAGE, options.limit - count)


def _print(receipt: Any) -> None:
    shown = f"{receipt['fields']['ts']}  {receipt['id']}  {receipt['kind']}"
    text = summarise(receipt)
    print_text(f"{shown}: {text}" if text else shown)


COMMANDS = (Command(None, "print a log's receipts, or follow them", add_arguments, run),)
