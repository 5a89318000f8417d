"""`api-keys`: the keys of people and services."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_table, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask, path_to

if TYPE_CHECKING:
    from autonomics.http.client import Client

ROLES = ("admin", "tenant", "push")


def _add_create(parser: CommandParser) -> None:
    parser.add_argument("--role", choices=ROLES, required=True, help="what the key may do")
    parser.add_argument("--tenant", metavar="ID", help="whose it is, for tenant and push keys")
    _add_none(parser)


def _add_revoke(parser: CommandParser) -> None:
    parser.add_argument("id", metavar="ID", help="the key's id: the part after aut_")
    _add_none(parser)


def _add_none(parser: CommandParser) -> None:
    parser.add_data()
    parser.add_json()


def _create(options: Namespace) -> None:
    body = {"role": options.role}
    if options.tenant is not None:
        body["tenant"] = options.tenant

    async def create(client: Client) -> Any:
        return await client.post("/v1/api-keys", body)

    key = ask(options, create)
    if options.json:
        print_json(key)
        return
    whose = "" if key["tenant"] is None else f" of {key['tenant']}"
    print_text(f"Made {key['role']} key {key['id']}{whose}.\n\n  {key['secret']}\n")
    print_text("Keep it now: it is shown this once, and only its hash is stored.")


def _list(options: Namespace) -> None:
    async def read(client: Client) -> Any:
        return await client.get("/v1/api-keys")

    found = ask(options, read)
    if options.json:
        print_json(found)
        return
    names = ("id", "role", "tenant", "created_at", "revoked_at")
    rows = [[row[name] for name in names] for row in found["api_keys"]]
    print_table([name.replace("_", " ") for name in names], rows)


def _revoke(options: Namespace) -> None:
    async def delete(client: Client) -> Any:
        return await client.delete(path_to("api-keys", options.id))

    key = ask(options, delete)
    if options.json:
        print_json(key)
    else:
        print_text(f"Key {key['id']} is revoked since {key['revoked_at']}.")


COMMANDS = (
    Command("create", "make a key; it is printed once", _add_create, _create),
    Command("list", "list all keys without their secrets", _add_none, _list),
    Command("revoke", "revoke a key at once", _add_revoke, _revoke),
)
