"""What happens to a state machine, and what it may answer.

All of it is data, so a machine can be written as a pure function from event, state and data to an
answer, and be tested without any runtime.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Any, Final, Generic, Never, TypeVar, overload

import attrs

from autonomics.errors import InvalidInput
from autonomics.runtime.key import check_hashable
from autonomics.runtime.message import Call, Stop
from autonomics.runtime.reason import ExitReason, Normal
from autonomics.runtime.reply import ReplyTo

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
D_co = TypeVar("D_co", covariant=True)


class Timeout(Enum):
    """The two timeouts without a name of their own; any other hashable value names one more.

    STATE is cancelled by a change of state, EVENT by any event. A named one lives until it is
    cancelled.
    """

    STATE = "state"
    EVENT = "event"


@attrs.frozen
class CallEvent:
    """Somebody asked and waits; `reply_to` may be kept and answered in a later state."""

    message: Call[Any]
    reply_to: ReplyTo


@attrs.frozen
class CastEvent:
    """Somebody told it something."""

    message: object


@attrs.frozen
class InfoEvent:
    """A message of the runtime: Down, or what `send_after` sends."""

    message: object


@attrs.frozen
class InternalEvent:
    """What the machine itself has inserted."""

    content: object


@attrs.frozen
class TimeoutEvent:
    """A timeout is over. `timer` is the one that was set, `content` what was set with it."""

    timer: Hashable
    content: object = None


StateEvent = CallEvent | CastEvent | InfoEvent | InternalEvent | TimeoutEvent


def _check_reply_to(_: object, __: object, to: ReplyTo) -> None:
    if not isinstance(to, ReplyTo):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInput.expected("the receiver of a Reply", "the reply_to of a CallEvent", to)


@attrs.frozen
class Reply:
    """Action: answer a call, this one or one of an earlier event."""

    to: ReplyTo = attrs.field(validator=_check_reply_to)
    value: object


@attrs.frozen
class Postpone:
    """The type of POSTPONE."""


POSTPONE: Final = Postpone()
"""Action: have this event again after the next change of state, ahead of all later ones."""


@attrs.frozen
class Insert:
    """Action: handle this event next, ahead of everything postponed or queued."""

    event: StateEvent


@attrs.frozen
class SetTimeout:
    """Action: have TimeoutEvent(timer, content) in `delay_s` seconds, never earlier.

    Replaces what was set under this timer before; `math.inf` just cancels it. With 0 the event
    comes after the events that are postponed for retry or inserted, and before any unread message.
    """

    timer: Hashable = attrs.field(validator=check_hashable)
    delay_s: float
    content: object = None

    def __attrs_post_init__(self) -> None:
        if not self.delay_s >= 0:  # also for NaN
            constraint = "a number of seconds, not negative"
            raise InvalidInput.expected("delay_s", constraint, self.delay_s)


@attrs.frozen
class UpdateTimeout:
    """Action: change what a timer that is set will bring; if it is not set, bring it now."""

    timer: Hashable = attrs.field(validator=check_hashable)
    content: object


@attrs.frozen
class CancelTimeout:
    """Action: make sure that this timer brings nothing any more."""

    timer: Hashable = attrs.field(validator=check_hashable)


TimeoutAction = SetTimeout | UpdateTimeout | CancelTimeout
Action = Reply | Postpone | Insert | TimeoutAction


@attrs.frozen
class Unchanged:
    """The type of UNCHANGED."""


UNCHANGED: Final = Unchanged()
_NORMAL: Final = Normal()


# The answers are covariant, and without data they are answers for any data: so `Keep()` is fully
# typed wherever it stands, in a table too. mypy reports the fields as parameters of the __init__
# that attrs would have written.


@attrs.frozen(init=False)
class Initial(Generic[S_co, D_co]):
    """Answer of `begin`: the first state and the first data."""

    state: S_co  # type: ignore[misc]
    data: D_co  # type: ignore[misc]
    actions: tuple[Action, ...]

    def __init__(self, state: S_co, *actions: Action, data: D_co) -> None:
        self.__attrs_init__(state, data, actions)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@attrs.frozen(init=False)
class Go(Generic[S_co, D_co]):
    """Answer: be in `state` from now on. To the state it is in, this is the same as Keep."""

    state: S_co  # type: ignore[misc]
    data: D_co | Unchanged
    actions: tuple[Action, ...]

    @overload
    def __init__(self: Go[S, Never], state: S, *actions: Action) -> None: ...
    @overload
    def __init__(self, state: S_co, *actions: Action, data: D_co | Unchanged) -> None: ...
    def __init__(self, state: Any, *actions: Action, data: Any = UNCHANGED) -> None:
        self.__attrs_init__(state, data, actions)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@attrs.frozen(init=False)
class Keep(Generic[D_co]):
    """Answer: stay in the state."""

    data: D_co | Unchanged
    actions: tuple[Action, ...]

    @overload
    def __init__(self: Keep[Never], *actions: Action) -> None: ...
    @overload
    def __init__(self, *actions: Action, data: D_co | Unchanged) -> None: ...
    def __init__(self, *actions: Action, data: D_co | Unchanged = UNCHANGED) -> None:
        self.__attrs_init__(data, actions)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@attrs.frozen(init=False)
class Repeat(Generic[D_co]):
    """Answer: stay in the state, and run `enter` as if it had been entered anew.

    Nothing else follows: postponed events stay postponed, a state timeout runs on.
    """

    data: D_co | Unchanged
    actions: tuple[Action, ...]

    @overload
    def __init__(self: Repeat[Never], *actions: Action) -> None: ...
    @overload
    def __init__(self, *actions: Action, data: D_co | Unchanged) -> None: ...
    def __init__(self, *actions: Action, data: D_co | Unchanged = UNCHANGED) -> None:
        self.__attrs_init__(data, actions)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@attrs.frozen(init=False)
class StopAndReply(Generic[D_co]):
    """Answer: end with `reason`; the replies are sent first, then `terminate` runs."""

    replies: tuple[Reply, ...]
    reason: ExitReason
    data: D_co | Unchanged

    @overload
    def __init__(self: StopAndReply[Never], *replies: Reply, reason: ExitReason = ...) -> None: ...
    @overload
    def __init__(
        self, *replies: Reply, reason: ExitReason = ..., data: D_co | Unchanged
    ) -> None: ...
    def __init__(
        self,
        *replies: Reply,
        reason: ExitReason = _NORMAL,
        data: D_co | Unchanged = UNCHANGED,
    ) -> None:
        self.__attrs_init__(replies, reason, data)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


Answer = Go[S_co, D_co] | Keep[D_co] | Repeat[D_co] | StopAndReply[D_co] | Stop
EnterAnswer = Keep[D_co] | Repeat[D_co] | StopAndReply[D_co] | Stop
