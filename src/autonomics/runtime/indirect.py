"""Addresses of whoever a table other than the runtime's names leads to."""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs

from autonomics.runtime.interface import TakesCast
from autonomics.runtime.ref import A_co, ActorRef, M, Monitor, NamedRef


@attrs.frozen
class IndirectRef(NamedRef[A_co], ABC):
    """A NamedRef whose name is for people: a subclass says by `find` who is meant."""

    @abstractmethod
    def find(self) -> ActorRef[A_co] | None:
        """Find who is meant now; None if nobody."""

    def is_alive(self) -> bool:
        """True when there is somebody."""
        return self.find() is not None

    def cast(self: IndirectRef[TakesCast[M]], message: M) -> None:
        """Send to who is meant now; dropped and counted if nobody."""
        found = self.find()
        if found is None:
            self.runtime.dead_letters += 1
        else:
            found.cast(message)

    def monitor(self, tag: object = None) -> Monitor:
        """Monitor who is meant now; Down(NoProcess()) at once if nobody."""
        found = self.find()
        return self.runtime.watch(self, None if found is None else found.incarnation, tag)
