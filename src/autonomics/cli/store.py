"""`store`: the file that the receipts are in."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import expect_store, read_settings

PROGRESS_EVERY_S = 1.0


def _add_migrate(parser: CommandParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="prove the file, say what would be done, do nothing"
    )
    parser.add_data()
    parser.add_json()


def _migrate(options: Namespace) -> None:
    """Hold the folder, so that nobody serves it meanwhile, and bring its file forward."""
    from autonomics.integrations.key_vault_file import KEY_BYTES, KeyVaultFile, open_key_vault
    from autonomics.storage.data_folder import open_data_folder
    from autonomics.storage.seal import Sealer
    from autonomics.storage.sqlite_migration import migrate
    from autonomics.storage.sqlite_schema import SCHEMA_VERSION, read_version

    settings = read_settings(options)
    expect_store(settings)
    with open_data_folder(settings.data) as folder:
        is_new = read_version(folder.store_path) == SCHEMA_VERSION
        fresh = os.urandom(KEY_BYTES)
        # A key is made only for a file that gets its first one; a lost key has to be put back.
        vault = (
            KeyVaultFile(fresh)
            if options.dry_run or is_new
            else open_key_vault(folder.payload_key_path, fresh)
        )
        done = migrate(
            folder.store_path, Sealer(vault), dry_run=options.dry_run, progress=_say_progress()
        )
    shown = {
        "store": str(settings.data / "ledger.sqlite"),
        "before": done.before,
        "after": done.after,
        "dry_run": options.dry_run,
        "logs": done.logs,
        "receipts": done.receipts,
        "payloads": done.payloads,
        "bytes": done.file_bytes,
    }
    if options.json:
        print_json(shown)
        return
    what = (
        f"{done.receipts} receipts of {done.logs} logs, {done.payloads} payloads,"
        f" {done.file_bytes} bytes"
    )
    if done.before == done.after:
        print_text(f"The store has schema {done.after} already, and is whole: {what}.")
    elif options.dry_run:
        print_text(f"The store would go from schema {done.before} to {done.after}: {what}.")
        print_text(f"It is whole, and nothing was changed. It takes {done.file_bytes} free bytes.")
    else:
        print_text(f"The store went from schema {done.before} to {done.after}: {what}.")


def _say_progress() -> Callable[[str, int, int], None]:
    """Write a line on stderr at most once a second."""
    said_at = time.monotonic()

    def say(step: str, done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= PROGRESS_EVERY_S:
            said_at = time.monotonic()
            print(f"{step}: {done} of {total}", file=sys.stderr, flush=True)

    return say


COMMANDS = (Command("migrate", "bring an earlier version's file forward", _add_migrate, _migrate),)
