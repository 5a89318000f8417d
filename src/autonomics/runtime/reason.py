"""How an incarnation ended: exit reasons as values, and the one function that decides them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

import attrs
import trio


@attrs.frozen
class Normal:
    """It returned, or asked to stop without giving another reason."""


@attrs.frozen
class Shutdown:
    """A clean stop, usually asked for by the supervisor; `info` says more."""

    info: object = None


@attrs.frozen
class Killed:
    """It was cancelled: by `kill`, or because it outlived its grace."""

    reason: str = "killed"


@attrs.frozen
class Crash:
    """Its own error ended it; a group of errors is flat, and a group of one is that one."""

    error: BaseException


ExitReason = Normal | Shutdown | Killed | Crash


@attrs.frozen
class NoProcess:
    """There was nobody to monitor: the actor had ended before, or the name is free."""


def is_clean(reason: ExitReason) -> bool:
    """True for the ends that a transient child is not restarted after."""
    return isinstance(reason, Normal | Shutdown)


@attrs.define
class Verdict:
    """What `classify` found: the exit reason, and an error that the reason does not show."""

    reason: ExitReason
    masked: BaseException | None = None
    interrupted: bool = False


_JUDGED_BY_LEAVES: Final = (BaseExceptionGroup, KeyboardInterrupt, trio.Cancelled)
"""What is no crash, or not all of it is; anything else is one, and most that crashes is."""


def classify(error: BaseException | None, asked: ExitReason | None, own: ExitReason) -> Verdict:
    """Turn what left an incarnation into its exit reason.

    Args:
        error: what came out of it, a group included; None when it returned.
        asked: what an end without an error means since somebody asked for it; None if nobody did.
        own: the reason that it gave itself when it returned.

    `Cancelled` never counts as an error, and `cancelled_caught` is deliberately not asked: trio
    sets it also when a real error escapes beside the Cancelled.
    """
    if error is None:
        return Verdict(asked or own)
    if not isinstance(error, _JUDGED_BY_LEAVES):
        return Verdict(Crash(error))
    leaves = list(iter_leaves(cast("BaseException", error)))
    real = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in real):
        return Verdict(Shutdown("interrupted"), interrupted=True)
    if real:
        flat = real[0] if len(real) == 1 else BaseExceptionGroup("several tasks failed", real)
        return Verdict(Crash(flat))
    masked = next(filter(None, map(_find_masked, leaves)), None)
    return Verdict(asked or Killed(), masked)


def iter_leaves(error: BaseException) -> Iterator[BaseException]:
    """Walk the exceptions of a group, however deeply nested, from left to right."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        for inner in group.exceptions:
            yield from iter_leaves(inner)
    else:
        yield error


def _find_masked(cancelled: BaseException) -> BaseException | None:
    # An await in a `finally` under a cancelled scope replaces the error on its way out by
    # Cancelled, and the scope then swallows that. Only the context still knows.
    context = cancelled.__context__
    while isinstance(context, trio.Cancelled):
        context = context.__context__
    return context
