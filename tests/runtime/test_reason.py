from __future__ import annotations

from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

from autonomics.runtime import Crash, ExitReason, Killed, Normal, Shutdown, is_clean
from autonomics.runtime.reason import classify, iter_leaves


def cancelled() -> BaseException:
    """Catch a real Cancelled: trio lets nobody make one."""

    async def main() -> BaseException:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as caught:
                return caught
        raise AssertionError

    return trio.run(main)


CANCELLED = cancelled()
leaves = st.one_of(st.builds(ValueError, st.integers()), st.just(CANCELLED))
groups = st.recursive(
    leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda errors: BaseExceptionGroup("group", errors)
    ),
    max_leaves=8,
)
reasons = st.sampled_from([Normal(), Shutdown(), Shutdown("x"), Killed()])


@given(groups, st.none() | reasons)
def test_a_crash_is_what_is_left_without_the_cancelled_ones(error: Any, asked: Any) -> None:
    real = [leaf for leaf in iter_leaves(error) if isinstance(leaf, ValueError)]
    reason = classify(error, asked, Normal()).reason
    if not real:
        assert reason == (asked or Killed())
        return
    assert isinstance(reason, Crash)
    if len(real) == 1:
        assert reason.error is real[0]
    else:
        assert list(iter_leaves(reason.error)) == real


@given(st.none() | reasons, reasons)
def test_an_end_without_an_error_is_what_was_asked_for_or_its_own(asked: Any, own: Any) -> None:
    assert classify(None, asked, own).reason == (asked or own)


@given(groups)
def test_a_keyboard_interrupt_anywhere_is_a_stop_and_never_a_crash(error: Any) -> None:
    verdict = classify(BaseExceptionGroup("g", [error, KeyboardInterrupt()]), None, Normal())
    assert verdict.interrupted
    assert is_clean(verdict.reason)


def test_the_clean_ends_are_those_that_restart_no_transient_child() -> None:
    ends: list[ExitReason] = [Normal(), Shutdown(), Shutdown("x"), Killed(), Crash(ValueError())]
    assert [is_clean(end) for end in ends] == [True, True, True, False, False]
