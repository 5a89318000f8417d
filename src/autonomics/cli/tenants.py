"""`tenants`: who may be looked after, and on which price plan."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_table, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import ask, path_to

if TYPE_CHECKING:
    from autonomics.http.client import Client

PLAN = "evaluation"


def _quota(text: str) -> tuple[str, int]:
    name, _, limit = text.partition("=")
    if not name or not limit.isdecimal():
        raise ArgumentTypeError(f"expected NAME=LIMIT with a whole limit, got {text!r}")
    return name, int(limit)


def _add_create(parser: CommandParser) -> None:
    parser.add_argument("id", metavar="ID", help="letters, digits, dots, dashes, underscores")
    parser.add_argument("--name", help="its name for people (default: the id)")
    parser.add_argument("--plan", default=PLAN, help=f"its price plan (default: {PLAN})")
    parser.add_argument(
        "--quota",
        action="append",
        type=_quota,
        default=[],
        metavar="NAME=LIMIT",
        help="a quota that differs from the price plan's; may be given again",
    )
    parser.add_data()
    parser.add_json()


def _add_one(parser: CommandParser) -> None:
    parser.add_argument("id", metavar="ID", help="the tenant")
    _add_none(parser)


def _add_none(parser: CommandParser) -> None:
    parser.add_data()
    parser.add_json()


def _create(options: Namespace) -> None:
    body: dict[str, Any] = {"id": options.id, "price_plan": options.plan}
    if options.name is not None:
        body["name"] = options.name
    if options.quota:
        body["limits"] = dict(options.quota)

    async def create(client: Client) -> Any:
        return await client.post("/v1/tenants", body)

    made = ask(options, create)
    if options.json:
        print_json(made)
        return
    tenant = made["tenant"]
    print_text(f"Created tenant {tenant['id']} (log {tenant['handle']}, {tenant['price_plan']}).\n")
    print_text(f"  api key     {made['api_key']['secret']}")
    print_text(f"  push token  {made['push_token']['secret']}\n")
    print_text("Keep both now: they are shown this once, and only their hashes are stored.")
    if made["replayed"]:
        print_text(f"{made['replayed']} parked messages were handed to it.")


def _list(options: Namespace) -> None:
    async def read(client: Client) -> Any:
        return await client.get("/v1/tenants")

    found = ask(options, read)
    if options.json:
        print_json(found)
        return
    rows = [
        (row["id"], row["handle"], _state(row), row["price_plan"], row["created_at"], row["name"])
        for row in found["tenants"]
    ]
    print_table(("id", "log", "state", "price plan", "created at", "name"), rows)


def _show(options: Namespace) -> None:
    async def read(client: Client) -> Any:
        return await client.get(path_to("tenants", options.id))

    _print_tenant(ask(options, read), options)


def _print_tenant(tenant: Any, options: Namespace) -> None:
    if options.json:
        print_json(tenant)
        return
    print_text(f"{tenant['id']}  {tenant['name']}")
    for name in ("handle", "price_plan", "created_at"):
        print_text(f"  {name.replace('_', ' '):<12}{tenant[name]}")
    if tenant["account"] is not None:
        print_text(f"  {'account':<12}{tenant['account']}")
    print_text(f"  {'state':<12}{_state(tenant)}")
    for name, quota in tenant["quotas"].items():
        print_text(f"  quota {name}: {quota['used']} of {quota['limit']} used")


def _state(tenant: Any) -> str:
    return f"{tenant['state']}, quarantined" if tenant["quarantined"] else str(tenant["state"])


def _changing(verb: str) -> Command:
    def change(options: Namespace) -> None:
        async def post(client: Client) -> Any:
            return await client.post(path_to("tenants", options.id, verb))

        _print_tenant(ask(options, post), options)
        if verb == "activate" and not options.json:
            print_text(
                f"\nMake its keys with autonomics api-keys create --role tenant"
                f" --tenant {options.id}, and one with --role push."
            )

    return Command(verb, _VERBS[verb], _add_one, change)


_VERBS = {
    "activate": "let a pending tenant's acts through, once it has a contract",
    "suspend": "refuse a tenant's acts until it is resumed",
    "resume": "end a suspension",
    "close": "end a tenant for good; its log stays",
    "readmit": "end a quarantine now",
}

COMMANDS = (
    Command("create", "create a tenant; its two keys are printed once", _add_create, _create),
    Command("list", "list all tenants, oldest first", _add_none, _list),
    Command("show", "show a tenant with its quotas", _add_one, _show),
    *(_changing(verb) for verb in _VERBS),
)
