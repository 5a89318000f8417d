"""A TOML table that is read strictly: every key of the right type, and none that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from typing import TypeVar, cast

from autonomics.errors import InvalidRecipe

T = TypeVar("T")


class Table:
    """One table with its place in the file, for messages."""

    def __init__(self, rows: Mapping[str, object], place: str) -> None:
        self._rows = rows
        self._asked: set[str] = set()
        self.place = place

    def name(self, key: str) -> str:
        """Give the full name of a key."""
        return f"{self.place}.{key}" if self.place else key

    def fail(self, key: str, constraint: str, value: object) -> InvalidRecipe:
        """Build the error for a key."""
        error = InvalidRecipe.expected(self.name(key), constraint, value)
        return InvalidRecipe(str(error))

    def _take(self, key: str, kind: type[T], constraint: str, default: T | None) -> T:
        self._asked.add(key)
        if key not in self._rows:
            if default is None:
                raise InvalidRecipe(f"expected {self.name(key)} to be there: {constraint}")
            return default
        value = self._rows[key]
        if type(value) is not kind:
            raise self.fail(key, constraint, value)
        return value

    def has(self, key: str) -> bool:
        """Say whether the key is there."""
        return key in self._rows

    def allow(self, *keys: str) -> None:
        """Let keys be there, read or not."""
        self._asked.update(keys)

    def peek(self, key: str) -> object:
        """Look at a value of any type; None if it isn't there."""
        self._asked.add(key)
        return self._rows.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """Take a text."""
        return self._take(key, str, "a text", default)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Take true or false."""
        return self._take(key, bool, "true or false", default)

    def count(self, key: str, default: int | None = None, least: int = 0) -> int:
        """Take an integer of at least `least`."""
        value = self._take(key, int, f"an integer >= {least}", default)
        if value < least:
            raise self.fail(key, f"an integer >= {least}", value)
        return value

    def decimal(self, key: str, default: Decimal | None = None) -> Decimal:
        """Take a number."""
        self._asked.add(key)
        value = self._rows.get(key, default)
        if type(value) is int:
            return Decimal(value)
        if not isinstance(value, Decimal) or not value.is_finite():
            raise self.fail(key, "a number", value)
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Take one of a few texts."""
        value = self.text(key, default)
        if value not in choices:
            near = get_close_matches(value, choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidRecipe(f"{self.fail(key, f'one of {list(choices)}', value)}{hint}")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Take a list of texts that are not empty."""
        if key not in self._rows and default is not None:
            self._asked.add(key)
            return default
        values = cast("list[object]", self._take(key, list, "a list of texts", None))
        if not all(isinstance(value, str) and value for value in values):
            raise self.fail(key, "a list of texts that are not empty", values)
        return tuple(cast("list[str]", values))

    def items(self, key: str) -> list[object]:
        """Take a list of anything; none is an empty one."""
        empty: list[object] = []
        return self._take(key, list, "a list", empty)

    def table(self, key: str) -> Table:
        """Take a table; none is an empty one."""
        empty: dict[str, object] = {}
        return Table(self._take(key, dict, "a table", empty), self.name(key))

    def tables(self, key: str) -> Iterator[Table]:
        """Take a list of tables; none is an empty one."""
        for place, row in enumerate(self.items(key)):
            if not isinstance(row, dict):
                raise self.fail(f"{key}[{place}]", "a table", row)
            yield Table(cast("dict[str, object]", row), self.name(f"{key}[{place}]"))

    def entries(self) -> list[tuple[str, object]]:
        """Take all keys, of any name."""
        self._asked.update(self._rows)
        return list(self._rows.items())

    def end(self) -> None:
        """Raise InvalidRecipe if a key is left over."""
        for key in self._rows:
            if key not in self._asked:
                near = get_close_matches(key, self._asked, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                known = sorted(self._asked)
                raise InvalidRecipe(
                    f"expected keys of {self.place or 'the recipe'} to be among {known}, "
                    f"got {key!r}{hint}"
                )
