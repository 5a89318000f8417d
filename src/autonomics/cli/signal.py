"""`signal`: hand a message over and see what is decided."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask
from autonomics.cli.story import tell_decision
from autonomics.errors import CommandFailed

if TYPE_CHECKING:
    from autonomics.http.client import Client


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_argument("tenant", metavar="TENANT", help="the tenant that it is about")
    parser.add_argument("file", metavar="FILE", help="a file with a JSON object; - reads stdin")
    parser.add_argument("--key", metavar="KEY", help="an Idempotency-Key: once is enough")
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Submit and print; a refusal is an answer too."""
    content = _read(options.file)
    headers = {} if options.key is None else {"Idempotency-Key": options.key}

    async def submit(client: Client) -> Any:
        from autonomics.http.client import describe_problem

        reply = await client.ask(
            "POST",
            "/v1/signals",
            query={"tenant": options.tenant},
            content=content,
            headers=headers,
        )
        body: object = reply.body
        answer = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
        if "receipts" not in answer:
            raise CommandFailed(describe_problem(reply))
        return answer

    answer = ask(options, submit)
    if options.json:
        print_json(answer)
        return
    for line in tell_decision(answer["decision"]):
        print_text(line)
    receipts = answer["receipts"]
    again = ", the first answer to a message that came before" if answer["duplicate"] else ""
    print_text(f"receipts    {receipts['received']}, {receipts['decided']}{again}")
    print_text(f"Next: autonomics explain {receipts['decided']}")


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandFailed(f"can't read {name}: {(error.strerror or '').lower()}") from None


COMMANDS = (Command(None, "submit a signal and print the decision", add_arguments, run),)
