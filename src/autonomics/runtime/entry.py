"""Entries under keys: each belongs to one incarnation and is gone when that has ended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar, cast

import attrs

from autonomics.errors import InvalidInput, NoSuchActor, Overloaded
from autonomics.runtime.context import CURRENT
from autonomics.runtime.incarnation import Incarnation
from autonomics.runtime.ref import ActorRef

V = TypeVar("V")

Key = str | tuple[str, ...]
"""Strings alone: 1, 1.0 and True would be one key in Python and are three on the BEAM."""


@attrs.frozen
class Entry(Generic[V]):
    """What an actor has put under a key."""

    ref: ActorRef
    value: V


@attrs.define(eq=False)
class _Holdings:
    """The entries of one incarnation, by key, oldest first; `number` counts the owners."""

    number: int
    ids: dict[Key, list[int]] = attrs.field(factory=dict[Key, list[int]])


class EntryTable(Generic[V]):
    """Finds entries by key, in the order they were added, and by owner.

    Invariant: an entry is in `_rows` under its key exactly if its id is among its owner's holdings.
    So the end of an owner removes by id what it still holds, however late that comes, and can't
    remove what a successor has put under the same key meanwhile.
    """

    def __init__(self, ended: Callable[[ActorRef, list[tuple[Key, int]]], None]) -> None:
        self._ended = ended
        self._rows: dict[Key, dict[int, Entry[V]]] = {}
        self._holdings: dict[Incarnation, _Holdings] = {}
        self._ids = itertools.count()
        self._owners = itertools.count()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def keys(self) -> Iterator[Key]:
        """Yield the keys that have entries, in the order of their first ones."""
        return iter(self._rows)

    def keys_of(self, owner: Incarnation) -> Iterator[Key]:
        """Yield the key of each entry of one owner."""
        holdings = self._holdings.get(owner)
        if holdings is not None:
            for key, ids in holdings.ids.items():
                yield from itertools.repeat(key, len(ids))

    def entries(self, key: Key) -> tuple[Entry[V], ...]:
        """List what is under a key, oldest first."""
        rows = self._rows.get(key)
        return () if rows is None else tuple(rows.values())

    def number(self, owner: Incarnation) -> int:
        """Read an owner's number: consecutive, kept for as long as it has an entry."""
        return self._holdings[owner].number

    def add(self, key: Key, owner: Incarnation, value: V) -> None:
        """Put an entry behind all others; NoSuchActor if the owner has ended."""
        if not owner.is_alive:
            raise NoSuchActor(f"{owner.path} is not alive: {owner.exit_reason!r}")
        holdings = self._holdings.get(owner)
        if holdings is None:
            holdings = self._holdings[owner] = _Holdings(next(self._owners))
            owner.traces[self] = partial(self._bury, owner)
        id_ = next(self._ids)
        holdings.ids.setdefault(key, []).append(id_)
        self._rows.setdefault(key, {})[id_] = Entry(owner.ref, value)
        self._size += 1

    def replace(self, key: Key, owner: Incarnation, change: Callable[[V], V]) -> tuple[V, V] | None:
        """Change the value of an owner's oldest entry; the new and the old, None if it has none."""
        holdings = self._holdings.get(owner)
        if holdings is None or key not in holdings.ids:
            return None
        rows, id_ = self._rows[key], holdings.ids[key][0]
        old = rows[id_]
        rows[id_] = new = Entry(old.ref, change(old.value))
        return new.value, old.value

    def remove(self, key: Key, owner: Incarnation) -> int:
        """Remove all that an owner has under a key; how many entries that was."""
        removed = 0
        while self.remove_latest(key, owner):
            removed += 1
        return removed

    def remove_latest(self, key: Key, owner: Incarnation) -> bool:
        """Remove an owner's latest entry under a key; False if there is none."""
        holdings = self._holdings.get(owner)
        if holdings is None or key not in holdings.ids:
            return False
        ids = holdings.ids[key]
        self._drop(key, ids.pop())
        if not ids:
            del holdings.ids[key]
        if not holdings.ids:
            del self._holdings[owner]
            owner.traces.pop(self, None)
        return True

    def _drop(self, key: Key, id_: int) -> None:
        rows = self._rows[key]
        del rows[id_]
        if not rows:
            del self._rows[key]
        self._size -= 1

    def _bury(self, owner: Incarnation) -> None:
        holdings = self._holdings.pop(owner, None)
        if holdings is None:
            return
        for key, ids in holdings.ids.items():
            for id_ in ids:
                self._drop(key, id_)
        self._ended(owner.ref, [(key, len(ids)) for key, ids in holdings.ids.items()])


def check_key(key: object) -> None:
    """Raise InvalidInput unless it is a string or a tuple of strings, and not empty."""
    if not _is_key(key):
        raise InvalidInput.expected("key", "a non-empty string or tuple of strings", key)


def _is_key(key: Any) -> bool:
    parts = cast("tuple[object, ...]", key) if isinstance(key, tuple) else (key,)
    return key not in ("", ()) and all(isinstance(part, str) for part in parts)


def show_key(key: Key) -> str:
    """Write a key as one word, for people."""
    return key if isinstance(key, str) else "/".join(key)


def own_or(ref: ActorRef | None, what: str) -> Incarnation:
    """Find the incarnation that is meant: the current actor's unless another is named."""
    incarnation = CURRENT.get() if ref is None else ref.incarnation
    if incarnation is None:
        raise InvalidInput(f"{what} means the actor that calls it; elsewhere say which one")
    return incarnation


def cast_to(refs: Iterable[ActorRef], message: object) -> int:
    """Send to each; who has no room is passed over. How many took it."""
    taken = 0
    for ref in refs:
        try:
            ref.cast(message)
        except Overloaded:
            continue
        taken += 1
    return taken
