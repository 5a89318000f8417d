"""What passes between actors, and what their callbacks may answer."""

from __future__ import annotations

from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import attrs

from autonomics.errors import InvalidInput
from autonomics.runtime.reason import ExitReason, NoProcess, Normal

if TYPE_CHECKING:
    from autonomics.runtime.ref import ActorRef, Address, Monitor

R_co = TypeVar("R_co", covariant=True)


class Call(Generic[R_co]):
    """A message that is answered; its type argument is the type of the reply.

    Subclass it with `attrs.frozen`: `class GetCount(Call[int])`.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __asks__(self) -> tuple[Self, R_co]:
            """See interface.Question."""
            ...


class Answer:
    """What a callback may return to the runtime, as opposed to a reply to the caller."""

    __slots__ = ()


@attrs.frozen
class NoReply(Answer):
    """The type of NO_REPLY."""


NO_REPLY: Final = NoReply()
"""Returned by `handle_call`: somebody will answer the ReplyTo later, or the callee's end will."""


@attrs.frozen
class Stop(Answer):
    """Returned by a callback: end with this reason.

    From `handle_call` it may carry the reply, which is sent after `terminate` has run and before
    anybody hears of the end.
    """

    reason: ExitReason = attrs.field(factory=Normal)
    reply: Any = NO_REPLY


@attrs.frozen
class Continue(Answer):
    """Returned by `init`: hand this to `handle_continue` before the first message."""

    message: object


@attrs.frozen
class Ignore(Answer):
    """Returned by `init`: do not start, and that is fine."""


IGNORE: Final = Ignore()


@attrs.frozen
class Refuse(Answer):
    """Returned by `init`: can't start, for this reason; no crash, no report."""

    reason: object


@attrs.frozen
class Raised(Answer):
    """What a handler raised on its caller's stack."""

    error: BaseException


@attrs.frozen
class Down:
    """The one message that a monitor leads to, behind all that the dead had sent before."""

    ref: Address
    reason: ExitReason | NoProcess
    tag: object = None
    monitor: Monitor | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class Exit:
    """An exit signal, as `handle_info` of an actor with `traps` gets it.

    Either a linked actor ended with this reason, or somebody sent it by `ActorRef.exit`; `ref` is
    whose it is, None if it came from outside of the tree.
    """

    ref: ActorRef | None
    reason: ExitReason


@attrs.frozen
class AlreadyStarted:
    """Why a start failed: the name belongs to another incarnation."""

    name: str
    path: str


@attrs.frozen
class InitTimedOut:
    """Why a start failed: `init` outlived its deadline and was cancelled."""

    deadline_s: float


@attrs.frozen
class NeverStarted:
    """Why a start failed: a Worker's `run` returned without having called `started`."""


NO_REPLIES: Final[frozenset[type]] = frozenset(
    {NoReply, Stop, Continue, Ignore, Refuse, Raised, CoroutineType}
)
"""The types of what `handle_call` returns that is no reply; a look-up costs a third of isinstance.

A coroutine is among them: a plain function that returns one has forgotten its `async`.
"""


def bad_return(callback: str, constraint: str, answer: object) -> InvalidInput:
    """Build the error of a callback whose answer makes no sense; it crashes the actor."""
    if answer.__class__ is CoroutineType:
        forgotten: Any = answer
        forgotten.close()
        constraint += "; a callback that awaits has to be `async def` itself"
    return InvalidInput.expected(f"the return value of {callback}", constraint, answer)


def bad_reply(answer: object) -> InvalidInput:
    """Build the error of a `handle_call` whose answer makes no sense."""
    return bad_return("handle_call", "a reply, NO_REPLY or Stop", answer)
