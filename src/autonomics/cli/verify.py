"""`verify`: the verifier that also travels in each bundle."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from autonomics.cli.command import Command
from autonomics.cli.output import print_json_line, print_text
from autonomics.cli.parser import CommandParser
from autonomics.errors import CommandFailed


def add_arguments(parser: CommandParser) -> None:
    """Add the options, which are those of the `verify.py` in a bundle."""
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="a bundle's folder, receipts as .jsonl, or a proof"
    )
    parser.add_argument(
        "--vkey", action="append", default=[], metavar="KEY", help="a log's verifier key; repeats"
    )
    parser.add_argument(
        "--known-checkpoint", type=Path, metavar="FILE", help="a checkpoint that you kept"
    )
    parser.add_json("print one line of JSON per log")


def run(options: Namespace) -> int:
    """Print a verdict per log; the exit code is the worst of them."""
    from autonomics.receipts import verify

    try:
        kept = options.known_checkpoint
        known = None if kept is None else kept.read_bytes()
        verdicts = verify.verify_path(options.path, verify.gather_trust(options.vkey, known))
    except (verify.Unusable, OSError) as error:
        raise CommandFailed(str(error), verify.USAGE) from None
    for verdict in verdicts:
        if options.json:
            print_json_line({"verdict": verdict.name, **verdict._asdict()})
        else:
            print_text(verify.describe_verdict(verdict))
    return verify.worst_code(verdicts)


COMMANDS = (Command(None, "verify receipts offline", add_arguments, run),)
