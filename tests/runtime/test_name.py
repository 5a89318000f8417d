from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import NoSuchActor
from autonomics.runtime import Actor, Call, ReplyTo, open_runtime


class Echo(Actor):
    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        return message


async def test_whoever_awaits_a_name_gets_the_actor_that_takes_it(
    autojump_clock: MockClock,
) -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        found: list[object] = []

        async def wait() -> None:
            found.append(await runtime.await_name("echo", timeout_s=10))

        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(1)
        assert found == []
        ref = await runtime.start(Echo, name="echo")
        await trio.lowlevel.checkpoint()
        assert found == [ref, ref]


async def test_a_name_that_is_taken_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start(Echo, name="echo")
        began = trio.current_time()
        assert await runtime.await_name("echo") is ref
        assert trio.current_time() == began


async def test_a_name_that_nobody_takes_in_time_is_an_error(autojump_clock: MockClock) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(NoSuchActor, match=r"nobody took the name 'ghost' within 2 s"):
            await runtime.await_name("ghost", timeout_s=2)
        assert trio.current_time() >= 2
