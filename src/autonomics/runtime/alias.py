"""Addresses that their owner can take back."""

from __future__ import annotations

import attrs

from autonomics.errors import InvalidInput, NoSuchActor
from autonomics.runtime.context import CURRENT
from autonomics.runtime.indirect import IndirectRef
from autonomics.runtime.interface import TakesCast
from autonomics.runtime.ref import A_co, ActorRef, M


@attrs.frozen
class Alias(IndirectRef[A_co]):
    """An address of one actor that leads nowhere once it is closed, or its actor has ended.

    Hand it to somebody whose answer may come too late to be of use: what is sent to a closed alias
    is dropped and counted, and never reaches the mailbox.
    """

    owner: ActorRef[A_co]
    is_for_once: bool
    # What makes two aliases of one actor two.
    _identity: object = attrs.field(factory=object, repr=False)

    @property
    def is_open(self) -> bool:
        """True as long as it leads to its owner."""
        return self in self.owner.incarnation.traces

    def close(self) -> None:
        """Let it lead nowhere from now on; fine if it does already."""
        self.owner.incarnation.traces.pop(self, None)

    def find(self) -> ActorRef[A_co] | None:
        """Find the owner while it is open."""
        return self.owner if self.is_open else None

    def resolve(self) -> ActorRef[A_co]:
        """Find the owner; NoSuchActor when it is closed."""
        found = self.find()
        if found is None:
            raise NoSuchActor(f"the {self.name} is closed")
        if self.is_for_once:
            self.close()
        return found

    def cast(self: Alias[TakesCast[M]], message: M) -> None:
        """Send to the owner; dropped and counted when it is closed."""
        IndirectRef.cast(self, message)
        if self.is_for_once:
            self.close()


def open_alias(*, once: bool = False) -> Alias:
    """Open an alias of the current actor; with `once` it closes behind its first message.

    Raises InvalidInput outside of an actor.
    """
    owner = CURRENT.get()
    if owner is None:
        raise InvalidInput("open_alias() is for an actor's code; there is no current actor")
    alias = Alias(owner.runtime, f"alias of {owner.path}", owner.ref, once)
    owner.traces[alias] = lambda: None
    return alias
