"""Registries: who is to be found under which key, and with which value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar, overload

import attrs
import trio

from autonomics.errors import AlreadyRegistered, InvalidInput, NoSuchActor
from autonomics.runtime.actor import Behaviour
from autonomics.runtime.callback import settle
from autonomics.runtime.entry import (
    Entry,
    EntryTable,
    Key,
    cast_to,
    check_key,
    own_or,
    show_key,
)
from autonomics.runtime.host import Runtime
from autonomics.runtime.indirect import IndirectRef
from autonomics.runtime.message import AlreadyStarted, Refuse
from autonomics.runtime.ref import A_co, ActorRef, Address

B = TypeVar("B", bound=Behaviour)
V = TypeVar("V")


@attrs.frozen
class Registered(Generic[V]):
    """To a listener's `handle_info`: an actor has put a value under a key."""

    registry: Registry[V] = attrs.field(repr=False)
    key: Key
    ref: ActorRef
    value: V


@attrs.frozen
class Unregistered(Generic[V]):
    """To a listener's `handle_info`: an actor has nothing more under a key, or has ended."""

    registry: Registry[V] = attrs.field(repr=False)
    key: Key
    ref: ActorRef


class Registry(Generic[V]):
    """What unique and duplicate keys have in common.

    It is a table in memory without a task of its own: it can't crash alone and needs no place in
    the tree. An entry is gone before anybody can hear that its owner has ended. An actor registers
    itself; who is none, or acts for another, names the owner.
    """

    def __init__(self, runtime: Runtime, *, listeners: Iterable[Address] = ()) -> None:
        self.runtime = runtime
        self._table: EntryTable[V] = EntryTable(self._owner_ended)
        # A dict as an ordered set.
        self._listeners: dict[Address, None] = {}
        for listener in listeners:
            self.listen(listener)

    def lookup(self, key: Key) -> tuple[Entry[V], ...]:
        """List the entries under a key, oldest first."""
        return tuple(entry for entry in self._table.entries(key) if entry.ref.is_alive())

    def keys(self, owner: ActorRef | None = None) -> tuple[Key, ...]:
        """List the keys of one actor, one for each of its entries."""
        return tuple(self._table.keys_of(own_or(owner, "keys()")))

    def count(self) -> int:
        """Count the entries."""
        return len(self._table)

    def unregister(self, key: Key, owner: ActorRef | None = None) -> None:
        """Remove what one actor has under a key; nothing of any other's."""
        self._remove(key, own_or(owner, "unregister()").ref)

    async def dispatch(
        self, key: Key, do: Callable[[Sequence[Entry[V]]], object], *, parallel: bool = False
    ) -> None:
        """Call `do`, plain or async, with the entries under a key, once for each partition.

        It is not called at all where there are none. In parallel, errors come as a group.
        """
        await trio.lowlevel.checkpoint()
        shares = self._share(self.lookup(key))
        if parallel:
            async with trio.open_nursery() as nursery:
                for share in shares:
                    nursery.start_soon(_run, do, share)
        else:
            for share in shares:
                await _run(do, share)

    def cast(self, key: Key, message: object) -> int:
        """Cast to all under a key; who has no room is passed over. How many took it."""
        return cast_to((entry.ref for entry in self.lookup(key)), message)

    def listen(self, listener: Address | None = None) -> None:
        """Have the current actor, or another, told of every change from now on.

        A named listener is told for as long as the registry is there, whoever has the name.
        """
        address = own_or(None, "listen()").ref if listener is None else listener
        if isinstance(address, ActorRef):
            address.incarnation.traces[self] = partial(self.unlisten, address)
        self._listeners[address] = None

    def unlisten(self, listener: Address | None = None) -> None:
        """Tell it no more; fine if it was not told."""
        address = own_or(None, "unlisten()").ref if listener is None else listener
        if isinstance(address, ActorRef):
            address.incarnation.traces.pop(self, None)
        self._listeners.pop(address, None)

    def _share(self, entries: tuple[Entry[V], ...]) -> list[tuple[Entry[V], ...]]:
        return [entries] if entries else []

    def _add(self, key: Key, value: V, ref: ActorRef) -> None:
        self._table.add(key, ref.incarnation, value)
        self._tell(Registered(self, key, ref, value))

    def _remove(self, key: Key, ref: ActorRef) -> None:
        if self._table.remove(key, ref.incarnation):
            self._tell(Unregistered(self, key, ref))

    def _owner_ended(self, ref: ActorRef, ended: list[tuple[Key, int]]) -> None:
        for key, _ in ended:
            self._tell(Unregistered(self, key, ref))

    def _tell(self, message: Registered[V] | Unregistered[V]) -> None:
        for listener in self._listeners:
            with suppress(NoSuchActor):
                ref = listener if isinstance(listener, ActorRef) else listener.resolve()
                if ref.is_alive():  # it may be the one that is ending
                    ref.incarnation.inform(message)


class UniqueRegistry(Registry[V]):
    """At most one entry under a key, which can therefore be an address."""

    def register(self, key: Key, value: V, owner: ActorRef | None = None) -> None:
        """Put a value under a key.

        Raises AlreadyRegistered when anybody has the key, also oneself, and NoSuchActor when the
        owner has ended.
        """
        check_key(key)
        ref = own_or(owner, "register()").ref
        for entry in self._table.entries(key):
            if entry.ref.is_alive():
                path = entry.ref.path
                raise AlreadyRegistered(f"the key {key!r} belongs to {path}", entry.ref)
            # Its owner has ended, and the clean-up after it has not come to us yet.
            self._remove(key, entry.ref)
        self._add(key, value, ref)

    def claim(self, key: Key, value: V) -> Refuse | None:
        """Register the current actor from its `init`, to return what this returns if not None.

        Whoever has the key already stays; the starter is told AlreadyStarted with its path.
        """
        taken = self.whereis(key)
        if taken is not None:
            return Refuse(AlreadyStarted(show_key(key), taken.path))
        self.register(key, value)
        return None

    def whereis(self, key: Key) -> ActorRef | None:
        """Find the actor that has the key now."""
        for entry in self._table.entries(key):
            if entry.ref.is_alive():
                return entry.ref
        return None

    def update_value(
        self, key: Key, change: Callable[[V], V], owner: ActorRef | None = None
    ) -> tuple[V, V] | None:
        """Change the value of one's own entry; the new and the old, or None if one has none."""
        return self._table.replace(key, own_or(owner, "update_value()"), change)

    @overload
    def address(self, key: Key) -> KeyedRef: ...

    @overload
    def address(self, key: Key, actor: type[B]) -> KeyedRef[B]: ...

    def address(self, key: Key, actor: type[Behaviour] | None = None) -> KeyedRef[Any]:
        """Address whoever has the key at the time of use; `actor` as for `Runtime.named`."""
        check_key(key)
        return KeyedRef(self.runtime, show_key(key), self, key)


class DuplicateRegistry(Registry[V]):
    """Any number of entries under a key, also of one actor.

    The entries of one actor are in one of the `partitions`, and with one callback for each
    partition `dispatch` can serve them in parallel.
    """

    def __init__(
        self, runtime: Runtime, *, partitions: int = 1, listeners: Iterable[Address] = ()
    ) -> None:
        if type(partitions) is not int or partitions < 1:
            raise InvalidInput.expected("partitions", "an integer of at least 1", partitions)
        super().__init__(runtime, listeners=listeners)
        self._partitions = partitions

    def register(self, key: Key, value: V, owner: ActorRef | None = None) -> None:
        """Put one more value under a key; NoSuchActor when the owner has ended."""
        check_key(key)
        self._add(key, value, own_or(owner, "register()").ref)

    def _share(self, entries: tuple[Entry[V], ...]) -> list[tuple[Entry[V], ...]]:
        shares: dict[int, list[Entry[V]]] = {}
        for entry in entries:
            number = self._table.number(entry.ref.incarnation)
            shares.setdefault(number % self._partitions, []).append(entry)
        return [tuple(share) for share in shares.values()]


@attrs.frozen
class KeyedRef(IndirectRef[A_co]):
    """Address of whoever has a key when it is used: survives restarts."""

    registry: UniqueRegistry[Any] = attrs.field(repr=False)
    key: Key = attrs.field(repr=False)

    def find(self) -> ActorRef[A_co] | None:
        """Look the key up."""
        return self.registry.whereis(self.key)

    def resolve(self) -> ActorRef[A_co]:
        """Find the present owner; NoSuchActor if there is none."""
        found = self.find()
        if found is None:
            raise NoSuchActor(f"nobody has the key {self.key!r}")
        return found


async def _run(do: Callable[[Sequence[Entry[V]]], object], entries: Sequence[Entry[V]]) -> None:
    await settle(do(entries))
