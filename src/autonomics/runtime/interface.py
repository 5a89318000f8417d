"""What type checkers know of actors: which messages one takes is read off its handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from autonomics.runtime.reply import ReplyTo

M_co = TypeVar("M_co", covariant=True)
M_contra = TypeVar("M_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class AnswersCall(Protocol[M_contra]):
    """An actor whose `handle_call` takes such messages; `ActorRef[AnswersCall[GetCount]]`."""

    def handle_call(self, message: M_contra, reply_to: ReplyTo, /) -> object:
        """Answer a call."""


class TakesCast(Protocol[M_contra]):
    """An actor whose `handle_cast` takes such messages; `ActorRef[TakesCast[Tick]]`."""

    def handle_cast(self, message: M_contra, /) -> object:
        """Handle a message that nobody waits for."""


class Question(Protocol[M_co, R_co]):
    """A Call as its receiver and its sender see it: of class M, and answered by an R.

    Two types at once, since no checker can derive the reply from the class: so `call` compares the
    one with `handle_call`, and returns the other.
    """

    def __asks__(self) -> tuple[M_co, R_co]:
        """Carry both types; it is there for checkers alone."""
        ...
