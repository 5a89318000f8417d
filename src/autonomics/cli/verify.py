"""`verify`: the verifier that also travels in each bundle."""

from __future__ import annotations

from argparse import Namespace

from autonomics.cli.command import Command
from autonomics.cli.output import print_json_line, print_text
from autonomics.cli.parser import CommandParser
from autonomics.errors import CommandFailed


def add_arguments(parser: CommandParser) -> None:
    """Add the options, which are those of the `verify.py` in a bundle."""
    from autonomics.receipts import verify

    verify.add_options(parser)
    parser.add_json("print one line of JSON per log")


def run(options: Namespace) -> int:
    """Print a verdict per log; the exit code is the worst of them."""
    from autonomics.receipts import verify

    try:
        verdicts = verify.run_verify(options)
    except verify.Unusable as error:
        raise CommandFailed(str(error), verify.USAGE) from None
    for verdict in verdicts:
        if options.json:
            print_json_line({"verdict": verdict.name, **verdict._asdict()})
        else:
            print_text(verify.describe_verdict(verdict))
    return verify.worst_code(verdicts)


COMMANDS = (Command(None, "verify receipts offline", add_arguments, run),)
