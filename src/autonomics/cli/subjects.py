"""`subjects`: the people whom payloads name."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_table, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask

if TYPE_CHECKING:
    from autonomics.http.client import Client


def _add_find(parser: CommandParser) -> None:
    parser.add_argument(
        "subject", metavar="SUBJECT", help="an e-mail address, or what a message names a user by"
    )
    parser.add_data()
    parser.add_json()


def _add_erase(parser: CommandParser) -> None:
    parser.add_argument(
        "--reason", required=True, help="why; it is kept for good, and may not name the person"
    )
    _add_find(parser)


def _find(options: Namespace) -> None:
    async def find(client: Client) -> Any:
        return await client.post("/v1/subjects/find", {"subject": options.subject})

    found = ask(options, find)
    if options.json:
        print_json(found)
    else:
        _print_rows(found["receipts"])


def _erase(options: Namespace) -> None:
    body = {"subject": options.subject, "reason": options.reason}

    async def erase(client: Client) -> Any:
        return await client.post("/v1/subjects/erase", body)

    done = ask(options, erase)
    if options.json:
        print_json(done)
        return
    _print_rows([*done["erased"], *done["kept"]])
    kept = f"; {len(done['kept'])} are kept" if done["kept"] else ""
    print_text(f"Erased {len(done['erased'])} payloads{kept}. Their receipts verify as before.")
    print_text("Backups of the store that were made before still have them: see data-at-rest.")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    print_table(
        ["receipt", "kind", "kept because"],
        [[row["receipt"], row["kind"], row["kept"]] for row in rows],
    )


COMMANDS = (
    Command("find", "print which receipts name a person", _add_find, _find),
    Command("erase", "erase each payload that names a person", _add_erase, _erase),
)
