"""`demo`: the whole of it at work on this machine."""

from __future__ import annotations

from argparse import Namespace

from autonomics.cli.command import Command
from autonomics.cli.parser import CommandParser


def add_arguments(parser: CommandParser) -> None:
    """Add the demo's own options."""
    from autonomics.testing import demo

    demo.add_arguments(parser)


def run(options: Namespace) -> int:
    """Run it."""
    from autonomics.testing import demo

    return demo.run_demo(options)


COMMANDS = (Command(None, "see the whole of it work on this machine", add_arguments, run),)
