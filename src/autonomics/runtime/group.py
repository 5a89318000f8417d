"""Process groups: who has joined what, how often, and who wants to hear of it."""

from __future__ import annotations

from typing import Final

import attrs

from autonomics.errors import NoSuchActor
from autonomics.runtime.entry import EntryTable, Key, cast_to, check_key, own_or
from autonomics.runtime.incarnation import Incarnation
from autonomics.runtime.ref import ActorRef


@attrs.frozen
class GroupJoined:
    """To the `handle_info` of who monitors a group: these have joined, in one step."""

    group: Key
    members: tuple[ActorRef, ...]
    monitor: GroupMonitor = attrs.field(eq=False, repr=False)


@attrs.frozen
class GroupLeft:
    """To the `handle_info` of who monitors a group: these have left or ended, in one step."""

    group: Key
    members: tuple[ActorRef, ...]
    monitor: GroupMonitor = attrs.field(eq=False, repr=False)


@attrs.define(eq=False)
class GroupMonitor:
    """One actor's watch over a group; `members` were in it when the watch began.

    From these and the messages follows who is in it, for nothing is missed or told twice.
    """

    group: Key
    members: tuple[ActorRef, ...]
    watcher: Incarnation = attrs.field(repr=False)
    _groups: Groups = attrs.field(repr=False)

    def cancel(self) -> None:
        """Stop watching; what is in the mailbox already stays there. Fine if done before."""
        self._groups.forget(self)


class Groups:
    """A scope of groups, each there for as long as it has a member.

    An actor is a member once for each time that it has joined, and of nothing once it has ended.
    """

    def __init__(self) -> None:
        self._table: EntryTable[None] = EntryTable(self._member_ended)
        # The inner dict as an ordered set.
        self._monitors: Final[dict[Key, dict[GroupMonitor, None]]] = {}

    def join(self, group: Key, *members: ActorRef) -> None:
        """Join the current actor, or others; one may join several times, also in one call.

        Raises NoSuchActor, and joins nobody, if any of them has ended.
        """
        check_key(group)
        refs = members or (own_or(None, "join()").ref,)
        for ref in refs:
            if not ref.is_alive():
                raise NoSuchActor(f"{ref.path} is not alive: {ref.incarnation.exit_reason!r}")
        for ref in refs:
            self._table.add(group, ref.incarnation, None)
        for monitor in self._watching(group):
            monitor.watcher.inform(GroupJoined(group, refs, monitor))

    def leave(self, group: Key, *members: ActorRef) -> bool:
        """Take back one joining of the current actor, or of others; False if there was none."""
        refs = members or (own_or(None, "leave()").ref,)
        left = tuple(ref for ref in refs if self._table.remove_latest(group, ref.incarnation))
        self._tell_left(group, left)
        return bool(left)

    def members(self, group: Key) -> tuple[ActorRef, ...]:
        """List the members in the order they joined, each as often as it has."""
        return tuple(entry.ref for entry in self._table.entries(group))

    def names(self) -> tuple[Key, ...]:
        """List the groups that have members, oldest first."""
        return tuple(self._table.keys())

    def cast(self, group: Key, message: object) -> int:
        """Cast to each member once, however often it has joined; how many took it.

        Who has no room is passed over.
        """
        return cast_to(dict.fromkeys(self.members(group)), message)

    def monitor(self, group: Key) -> GroupMonitor:
        """Have the current actor told of who joins and leaves from now on."""
        check_key(group)
        watcher = own_or(None, "monitor()")
        monitor = GroupMonitor(group, self.members(group), watcher, self)
        self._monitors.setdefault(group, {})[monitor] = None
        watcher.traces[monitor] = monitor.cancel
        return monitor

    def forget(self, monitor: GroupMonitor) -> None:
        """Drop a monitor; use its `cancel`."""
        monitor.watcher.traces.pop(monitor, None)
        watching = self._monitors.get(monitor.group, {})
        watching.pop(monitor, None)
        if not watching:
            self._monitors.pop(monitor.group, None)

    def _member_ended(self, ref: ActorRef, ended: list[tuple[Key, int]]) -> None:
        for group, times in ended:
            self._tell_left(group, (ref,) * times)

    def _tell_left(self, group: Key, left: tuple[ActorRef, ...]) -> None:
        if left:
            for monitor in self._watching(group):
                monitor.watcher.inform(GroupLeft(group, left, monitor))

    def _watching(self, group: Key) -> list[GroupMonitor]:
        # One that is dying has a mailbox no more, but may not have come to its monitors yet.
        watching = self._monitors.get(group, {})
        return [monitor for monitor in watching if monitor.watcher.is_alive]
