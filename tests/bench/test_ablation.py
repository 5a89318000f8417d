from __future__ import annotations

import pytest
from bench.ablation import METRICS_AND_TRACE, without

from autonomics.runtime import Actor, Call, ReplyTo, current_trace, open_runtime, tracing


class Ask(Call[object]):
    """Ask for the trace that the call is part of."""


class Tell(Actor):
    async def handle_call(self, message: Ask, reply_to: ReplyTo) -> object:
        return current_trace()


async def ask() -> tuple[object, int, int]:
    async with open_runtime() as runtime:
        ref = await runtime.start(Tell)
        with tracing("t"):
            trace = await ref.call(Ask())
        statistics = ref.statistics()
        return trace, statistics.handled, statistics.peak


async def test_metrics_and_trace_are_gone_for_the_length_of_a_block() -> None:
    assert await ask() == ("t", 1, 1)
    with without(METRICS_AND_TRACE):
        assert await ask() == (None, 0, 0)
    assert await ask() == ("t", 1, 1)


def test_a_statement_that_is_not_there_is_an_error() -> None:
    with (
        pytest.raises(ValueError, match="expected 'no such statement' once in ask, got 0"),
        without({ask: (("no such statement", ""),)}),
    ):
        pass
