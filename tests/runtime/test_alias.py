"""Addresses that their owner can take back."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import InvalidInput, NoSuchActor
from autonomics.runtime import ActorRef, Alias, Down, NoProcess, ReplyTo, open_alias
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage


async def alias_of(ref: ActorRef, *, once: bool = False) -> Alias:
    async def do(_: ScriptedActor, __: ReplyTo) -> object:
        return open_alias(once=once)

    alias: Alias = await ref.call(Ask(do))
    return alias


async def test_a_closed_alias_leads_nowhere(autojump_clock: MockClock, stage: Stage) -> None:
    a = await stage.runtime.start(stage.script("a"), name="a")
    alias, other = await alias_of(a), await alias_of(a)
    alias.cast(1)
    assert await alias.call(Ask(2)) == 2
    assert alias.is_alive()
    alias.close()
    alias.close()
    alias.cast(3)
    assert not alias.is_alive()
    with pytest.raises(NoSuchActor, match="alias of a is closed"):
        await alias.call(Ask(4))
    other.cast(5)
    await wait_all_tasks_blocked()
    assert stage.log[2:] == [1, 5]
    assert stage.runtime.statistics().dead_letters == 1


@pytest.mark.parametrize("by_call", [True, False])
async def test_an_alias_for_once_closes_behind_its_first_message(
    autojump_clock: MockClock, stage: Stage, by_call: Any
) -> None:
    a = await stage.runtime.start(stage.script("a"), name="a")
    alias = await alias_of(a, once=True)
    if by_call:
        assert await alias.call(Ask(1)) == 1
    else:
        alias.cast(1)
    assert not alias.is_open
    alias.cast(2)
    await wait_all_tasks_blocked()
    assert stage.log[2:] == ([] if by_call else [1])


async def test_an_alias_ends_with_its_owner(autojump_clock: MockClock, stage: Stage) -> None:
    a, w = [await stage.runtime.start(stage.script(name), name=name) for name in "aw"]
    alias = await alias_of(a)

    async def watch(_: ScriptedActor, __: ReplyTo) -> object:
        return alias.monitor()

    await a.stop()
    assert not alias.is_open
    await w.call(Ask(watch))
    await wait_all_tasks_blocked()
    assert Down(alias, NoProcess()) in stage.log


async def test_only_an_actor_has_an_alias() -> None:
    with pytest.raises(InvalidInput, match="actor's code"):
        open_alias()
