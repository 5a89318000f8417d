"""`backup`: a copy of the store, taken while it may go on."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import expect_store, read_settings
from autonomics.storage.data_folder import PAYLOAD_KEY_NAME, STORE_NAME


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Write and prove it."""
    from autonomics.storage.backup import back_up

    settings = read_settings(options)
    expect_store(settings)
    done = back_up(settings.data / STORE_NAME, options.out)
    if options.json:
        print_json(
            {
                "backup": str(options.out),
                "logs": done.logs,
                "receipts": done.receipts,
                "bytes": done.file_bytes,
            }
        )
        return
    print_text(f"Wrote {options.out}: {done.receipts} receipts of {done.logs} logs, verified.")
    print_text(f"The keys are not in it: keep copies of {PAYLOAD_KEY_NAME} and signing-key apart.")


COMMANDS = (Command(None, "write a copy of the store that verifies", add_arguments, run),)
