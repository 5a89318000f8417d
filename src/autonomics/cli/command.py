"""One command: its name, what it says of itself, its options, and what it does."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import attrs

from autonomics.cli.parser import CommandParser


@attrs.frozen
class Command:
    """One command. `verb` is the second word, None where the first alone is the command.

    `run` returns the exit code; None counts as 0.
    """

    verb: str | None
    about: str
    add_arguments: Callable[[CommandParser], None]
    run: Callable[[Namespace], int | None]


@attrs.frozen
class Topic:
    """The first word of a command line; its module, which is imported only for it, has the rest."""

    word: str
    about: str
