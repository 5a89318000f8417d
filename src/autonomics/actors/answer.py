"""How an actor of the control plane says no: to the asker, without coming to harm itself."""

from __future__ import annotations

from collections.abc import Awaitable

from autonomics.errors import CallFailed, InvalidInput, LedgerError, TenantRefused
from autonomics.runtime import NO_REPLY, ReplyTo


async def answer(reply_to: ReplyTo, reply: Awaitable[object]) -> object:
    """Return the awaited reply; raise what the asker has to hear in the asker.

    Anything else is a fault of ours and goes on to end the actor, whose supervisor handles it.
    """
    try:
        return await reply
    except (InvalidInput, LedgerError, TenantRefused, CallFailed) as error:
        reply_to.fail(error)
        return NO_REPLY
