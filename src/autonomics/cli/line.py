"""`line`: the stop-the-line latch."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import USAGE, CommandParser
from autonomics.cli.reach import ask
from autonomics.errors import CommandFailed

if TYPE_CHECKING:
    from autonomics.http.client import Client

SCOPE_HELP = "line, tenant:<id>, recipe:<id> or resource:<name> (default: line)"
QUESTIONS = (
    ("root_cause", "why it had to be stopped"),
    ("fix", "what was done about it"),
    ("prevention", "what keeps it from coming back"),
)


def _add_status(parser: CommandParser) -> None:
    parser.add_data()
    parser.add_json()


def _add_stop(parser: CommandParser) -> None:
    parser.add_argument("--scope", default="line", help=SCOPE_HELP)
    parser.add_argument("--reason", required=True, help="why")
    _add_status(parser)


def _add_clear(parser: CommandParser) -> None:
    parser.add_argument("--scope", default="line", help=SCOPE_HELP)
    for name, about in QUESTIONS:
        parser.add_argument(_option(name), help=f"{about}; asked for on a terminal if not given")
    _add_status(parser)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _status(options: Namespace) -> None:
    async def read(client: Client) -> Any:
        return await client.get("/v1/line")

    _print_line(ask(options, read), options)


def _stop(options: Namespace) -> None:
    body = {"scope": options.scope, "reason": options.reason}

    async def stop(client: Client) -> Any:
        return await client.post("/v1/line/stop", body)

    _print_line(ask(options, stop), options)


def _clear(options: Namespace) -> None:
    body = {"scope": options.scope, **_read_answers(options)}

    async def clear(client: Client) -> Any:
        return await client.post("/v1/line/clear", body)

    _print_line(ask(options, clear), options)


def _read_answers(options: Namespace) -> dict[str, str]:
    """Take the three texts from the options, and what is missing from whoever sits there."""
    answers: dict[str, str | None] = {name: getattr(options, name) for name, _ in QUESTIONS}
    missing = [_option(name) for name, text in answers.items() if not (text or "").strip()]
    if missing and not sys.stdin.isatty():
        raise CommandFailed(f"to clear a stop takes {', '.join(missing)}", USAGE)
    for name, about in QUESTIONS:
        while not (answers[name] or "").strip():
            print(f"{name.replace('_', ' ')} ({about}): ", end="", file=sys.stderr, flush=True)
            line = sys.stdin.readline()
            if not line:
                raise CommandFailed(f"the stop stands: {_option(name)} was not given", USAGE)
            answers[name] = line.strip()
    return {name: text.strip() for name, text in answers.items() if text is not None}


def _print_line(line: Any, options: Namespace) -> None:
    if options.json:
        print_json(line)
        return
    state = "stopped" if line["stopped"] else "running"
    print_text(f"The line is {state} (generation {line['generation']}).")
    for stop in line["stops"]:
        print_text(f"  {stop['scope']}: {stop['reason']} (by {stop['by']} at {stop['at']})")


COMMANDS = (
    Command("status", "print whether the line is stopped, where and why", _add_status, _status),
    Command("stop", "stop the line: no new act in the scope", _add_stop, _stop),
    Command("clear", "clear a stop: takes root cause, fix and prevention", _add_clear, _clear),
)
