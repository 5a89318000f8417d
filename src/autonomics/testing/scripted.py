"""A child that does what a test tells it, and writes down what happens to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import attrs
import trio

from autonomics.runtime import (
    Actor,
    Call,
    Continue,
    Crash,
    ExitReason,
    Ignore,
    Killed,
    MailboxSpec,
    Normal,
    Refuse,
    ReplyTo,
    Shutdown,
    Stop,
)

Step = float | Exception | Ignore | Refuse | Continue | None
"""What one `init` does: sleep so many seconds, raise, answer, or just come up."""


@attrs.frozen
class Ask(Call[Any]):
    """Have the actor answer: by an async function of actor and ReplyTo, or with a plain value."""

    do: Any


@attrs.define
class Script:
    """The start function of one child and the plan for its incarnations.

    `log` gets `init:<id>`, `up:<id>`, `term:<id>:<reason>`, `term_done:<id>` and each message that
    has no other meaning. `inits` has one step per incarnation, the last repeats; `ending` is what
    `terminate` does. `starts` counts the incarnations.
    """

    id: str
    log: list[Any] = attrs.field(factory=list[Any])
    inits: Sequence[Step] = (None,)
    ending: Callable[[], Awaitable[object]] | float | Exception | None = None
    actor: type[ScriptedActor] | None = None
    starts: int = 0

    def __call__(self) -> ScriptedActor:
        """Make the next incarnation's actor."""
        step = self.inits[min(self.starts, len(self.inits) - 1)]
        self.starts += 1
        return (self.actor or ScriptedActor)(self, step)


class ScriptedActor(Actor):
    """Follows its Script.

    A cast of a Stop ends it, of an exception crashes it, of an async function runs this with the
    actor; anything else is logged, and so is what comes through `handle_info`.
    """

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=1024)

    def __init__(self, script: Script, step: Step) -> None:
        self.script = script
        self.log = script.log
        self._step = step

    async def init(self) -> Continue | Ignore | Refuse | None:
        """Do this incarnation's step."""
        self.log.append(f"init:{self.script.id}")
        if isinstance(self._step, Exception):
            raise self._step
        if isinstance(self._step, Ignore | Refuse):
            return self._step
        if isinstance(self._step, int | float):
            await trio.sleep(self._step)
        self.log.append(f"up:{self.script.id}")
        return self._step if isinstance(self._step, Continue) else None

    async def handle_continue(self, message: object) -> Stop | None:
        """Treat the continue step as a cast."""
        return await self.handle_cast(message)

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        """Answer an Ask."""
        assert isinstance(message, Ask)
        do: Any = message.do
        if not callable(message.do):
            return do
        answer: object = await do(self, reply_to)
        return answer

    async def handle_cast(self, message: object) -> Stop | None:
        """Stop, crash, run or log."""
        if isinstance(message, Stop):
            return message
        if isinstance(message, BaseException):
            raise message
        if callable(message):
            do: Any = message
            answer: Stop | None = await do(self)
            return answer
        self.log.append(message)
        return None

    async def handle_info(self, message: object) -> Stop | None:
        """Log it."""
        self.log.append(message)
        return None

    async def terminate(self, reason: ExitReason) -> None:
        """Log the reason and do what the script says."""
        self.log.append(f"term:{self.script.id}:{name_reason(reason)}")
        ending = self.script.ending
        if isinstance(ending, Exception):
            raise ending
        if ending is None:
            return
        if isinstance(ending, int | float):
            await trio.sleep(ending)
        else:
            await ending()
        self.log.append(f"term_done:{self.script.id}")


def name_reason(reason: ExitReason) -> str:
    """Name an exit reason in one word, as the logs of a Script do."""
    match reason:
        case Normal():
            return "normal"
        case Shutdown():
            return "shutdown"
        case Killed():
            return "killed"
        case Crash():
            return "died"
