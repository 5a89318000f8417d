"""`restore`: a backup in the store's place, once it is proven and nothing is known beyond it."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_text
from autonomics.cli.parser import CommandParser
from autonomics.cli.reach import read_settings
from autonomics.errors import CommandFailed, InvalidInput

if TYPE_CHECKING:
    from autonomics.receipts.checkpoint import Checkpoint


def add_arguments(parser: CommandParser) -> None:
    """Add the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what `backup` has written")
    parser.add_argument(
        "--known",
        type=Path,
        action="append",
        default=[],
        metavar="CHECKPOINT",
        help="a checkpoint that somebody holds: a backup that ends before it is refused; again",
    )
    parser.add_data()
    parser.add_json()


def run(options: Namespace) -> None:
    """Hold the folder, prove the backup, and put it in place."""
    from autonomics.integrations.key_vault_file import load_key_vault
    from autonomics.storage.backup import restore
    from autonomics.storage.data_folder import open_data_folder
    from autonomics.storage.seal import Sealer

    settings = read_settings(options)
    known = [_read_checkpoint(path) for path in options.known]
    if not settings.data.is_dir():
        raise CommandFailed(
            f"there is no data folder at {settings.data}: make it, with the keys put back in it"
        )
    with open_data_folder(settings.data) as folder:
        if not folder.signing_key_path.exists():
            raise CommandFailed(f"put {folder.signing_key_path} back from its own backup first")
        sealer = Sealer(load_key_vault(folder.payload_key_path))
        done = restore(
            options.file,
            folder.store_path,
            sealer,
            journal=folder.erasures_path,
            known=known,
            now=datetime.now(UTC),
        )
    if options.json:
        print_json(
            {
                "restored": str(options.file),
                "logs": done.logs,
                "receipts": done.receipts,
                "erased_again": done.erased,
                "standing": done.standing,
            }
        )
        return
    print_text(f"Restored {done.receipts} receipts of {done.logs} logs, verified.")
    if done.erased:
        print_text(f"{done.erased} payloads that had been erased since were erased again.")
    if done.standing != "none":
        print_text(f"What stood here is kept as {folder.store_path.name}.replaced.")
    if done.standing == "unreadable":
        print_text("It can't be read, so what it knew of the logs was not compared.")


def _read_checkpoint(path: Path) -> Checkpoint:
    from autonomics.receipts.checkpoint import parse_checkpoint

    try:
        return parse_checkpoint(path.read_bytes())
    except InvalidInput as error:
        raise CommandFailed(f"{path}: {error}") from None


COMMANDS = (Command(None, "put a backup in the store's place", add_arguments, run),)
