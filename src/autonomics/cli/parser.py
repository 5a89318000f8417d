"""A parser that says what is wrong in one line, and what may have been meant."""

from __future__ import annotations

import difflib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from autonomics.errors import CommandFailed

USAGE = 2


class CommandParser(ArgumentParser):
    """Parses the words after a command's name; CommandFailed with exit code 2 where it can't."""

    def __init__(self, prog: str, about: str) -> None:
        super().__init__(prog=prog, description=about, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Say it in one line."""
        raise CommandFailed(f"{message}; see {self.prog} --help", USAGE)

    def parse_words(self, words: Sequence[str]) -> Namespace:
        """Parse; an option that nobody knows is told before anything else that is wrong."""
        for word in words:
            if word == "--":
                break
            name = word.partition("=")[0]
            if name.startswith("--") and name not in self._option_string_actions:
                hint = did_you_mean(name, self._option_string_actions)
                raise CommandFailed(f"unknown option {name} of {self.prog}{hint}", USAGE)
        return self.parse_args(words)

    def add_data(self) -> None:
        """Add the options that every command with a data folder has."""
        self.add_argument(
            "--data", type=Path, metavar="DIR", help="the data folder (default: autonomics-data)"
        )
        self.add_argument("--config", type=Path, metavar="FILE", help="a file of settings, in TOML")

    def add_json(self, about: str = "print one JSON value") -> None:
        """Add `--json`."""
        self.add_argument("--json", action="store_true", help=about)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word; empty if none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a type of argument: an integer within bounds."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ArgumentTypeError(f"expected an integer from {low} to {high}, got {text!r}")
        return value

    return parse
