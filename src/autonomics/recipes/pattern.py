"""Regular expressions of recipes, in linear time: google-re2 and nothing else.

The standard library's engine backtracks: `(a+)+$` on 26 characters takes it seconds, and a recipe
or a signal may come from anyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from autonomics.errors import InvalidRecipe

MAX_PATTERN = 1000


class Pattern:
    """A compiled pattern; equal to another of the same text."""

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    @property
    def group_names(self) -> frozenset[str]:
        """Give the names of the pattern's groups."""
        return frozenset(self._compiled.groupindex)

    def is_found_in(self, text: str) -> bool:
        """Say whether the pattern occurs anywhere in the text."""
        return self._compiled.search(text) is not None

    def extract(self, text: str) -> Mapping[str, str]:
        """Give the named groups of the first occurrence; empty without one."""
        found = self._compiled.search(text)
        if found is None:
            return {}
        groups: dict[str, str | None] = found.groupdict()
        return {name: value for name, value in groups.items() if value is not None}


def compile_pattern(text: str) -> Pattern:
    """Compile a pattern; raise InvalidRecipe if re2 rejects it or is not installed."""
    if not text or len(text) > MAX_PATTERN:
        raise InvalidRecipe.expected("pattern", f"1 to {MAX_PATTERN} characters", text)
    try:
        # The wheel brings no stubs.
        re2: Any = import_module("re2")
    except ImportError as error:
        raise InvalidRecipe(
            "expected google-re2 to be installed for a recipe with a pattern: "
            "pip install 'autonomics[server]'"
        ) from error
    options = re2.Options()
    options.log_errors = False
    try:
        return Pattern(text, re2.compile(text, options))
    except re2.error as error:
        raise InvalidRecipe.expected(
            "pattern", f"one that re2 accepts ({error.args[0]!r})", text
        ) from error
