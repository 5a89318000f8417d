from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import InvalidInput, NoSuchActor
from autonomics.runtime import (
    ActorRef,
    GroupJoined,
    GroupLeft,
    GroupMonitor,
    Groups,
    MailboxSpec,
    ReplyTo,
)
from autonomics.runtime.incarnation import Incarnation
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage, open_stage


async def start(stage: Stage, name: str = "a", actor: Any = None) -> ActorRef:
    script = stage.script(name)
    script.actor = actor
    return await stage.runtime.start(script, name=name)


async def by(ref: ActorRef, do: Any) -> Any:
    """Have an actor run a function."""

    async def answer(actor: ScriptedActor, __: ReplyTo) -> object:
        value: object = do()
        return value

    return await ref.call(Ask(answer))


async def watch(watcher: ActorRef, groups: Groups, group: str) -> GroupMonitor:
    monitor: GroupMonitor = await by(watcher, lambda: groups.monitor(group))
    return monitor


def news(stage: Stage) -> list[GroupJoined | GroupLeft]:
    return [message for message in stage.log if isinstance(message, GroupJoined | GroupLeft)]


async def test_an_actor_is_a_member_as_often_as_it_has_joined(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-12."""
    groups = Groups()
    p, watcher = await start(stage, "p"), await start(stage, "w")
    await by(p, lambda: groups.join("g"))
    groups.join("g", p, p)
    assert groups.members("g") == (p, p, p)
    assert await by(p, lambda: groups.leave("g")) is True
    assert groups.members("g") == (p, p)
    assert groups.leave("unknown", p) is False
    assert groups.leave("g", watcher) is False
    monitor = await watch(watcher, groups, "g")
    assert monitor.members == (p, p)
    await p.stop()
    await wait_all_tasks_blocked()
    assert news(stage) == [GroupLeft("g", (p, p), monitor)]
    assert groups.members("g") == ()
    assert groups.names() == ()
    with pytest.raises(NoSuchActor, match="p is not alive"):
        groups.join("g", watcher, p)
    assert groups.members("g") == ()


async def test_members_are_listed_in_the_order_they_joined(
    autojump_clock: MockClock, stage: Stage
) -> None:
    groups = Groups()
    p, q = await start(stage, "p"), await start(stage, "q")
    groups.join("g", p, q)
    groups.join("g", p)
    groups.join(("g", "2"), p)
    assert groups.members("g") == (p, q, p)
    assert groups.names() == ("g", ("g", "2"))
    assert groups.leave("g", p)
    assert groups.members("g") == (p, q)
    assert groups.leave("g", p, p, q)
    assert groups.members("g") == ()
    assert groups.names() == (("g", "2"),)
    with pytest.raises(InvalidInput, match="non-empty string or tuple"):
        groups.join("", p)


async def test_who_monitors_a_group_misses_nothing_and_hears_nothing_twice(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-12."""
    groups = Groups()
    p, q, watcher = [await start(stage, name) for name in "pqw"]
    groups.join("g", p)
    first = await watch(watcher, groups, "g")
    second = await watch(watcher, groups, "g")
    groups.join("other", q)
    groups.join("g", q, p)
    groups.leave("g", p, watcher)
    groups.leave("g", watcher)
    first.cancel()
    first.cancel()
    groups.leave("g", q)
    groups.leave("g", p)
    groups.join("g", q)
    await wait_all_tasks_blocked()
    assert first.members == second.members == (p,)
    of_first = [message for message in news(stage) if message.monitor is first]
    of_second = [message for message in news(stage) if message.monitor is second]
    assert of_first == [GroupJoined("g", (q, p), first), GroupLeft("g", (p,), first)]
    assert of_second == [
        *of_first,
        GroupLeft("g", (q,), second),
        GroupLeft("g", (p,), second),
        GroupJoined("g", (q,), second),
    ]


async def test_the_dead_are_told_nothing(autojump_clock: MockClock, stage: Stage) -> None:
    groups = Groups()
    p, q = await start(stage, "p"), await start(stage, "q")
    groups.join("g", p)
    await watch(p, groups, "g")
    await watch(q, groups, "g")
    await q.stop()
    groups.join("g", p)
    await wait_all_tasks_blocked()
    assert len(news(stage)) == 1
    await p.stop()
    assert stage.runtime.statistics().dead_letters == 0
    assert groups.names() == ()
    with pytest.raises(InvalidInput, match="monitor.. means the actor that calls it"):
        groups.monitor("g")


async def test_a_cast_reaches_each_member_once(autojump_clock: MockClock, stage: Stage) -> None:
    class Small(ScriptedActor):
        mailbox = MailboxSpec(capacity=1)

    groups = Groups()
    p, q = await start(stage, "p", Small), await start(stage, "q")
    groups.join("g", p, q, p, q)
    assert groups.cast("nobody", 1) == 0
    assert groups.cast("g", 1) == 2
    assert groups.cast("g", 2) == 1
    await wait_all_tasks_blocked()
    assert sorted(message for message in stage.log if isinstance(message, int)) == [1, 1, 2]


async def test_a_watcher_that_has_gone_or_cancelled_leaves_nothing_behind(
    autojump_clock: MockClock, stage: Stage
) -> None:
    groups = Groups()

    def incarnations() -> int:
        gc.collect()
        return sum(isinstance(thing, Incarnation) for thing in gc.get_objects())

    async def live_and_die() -> None:
        watcher = await start(stage, "mortal")
        groups.join("g", watcher)
        (await watch(watcher, groups, "g")).cancel()
        assert groups.leave("g", watcher)
        assert watcher.incarnation.traces == {}
        groups.join("g", watcher)
        await watch(watcher, groups, "g")
        await watch(watcher, groups, "h")
        await watcher.stop()
        await trio.sleep(10)  # the timer of the stop is swept by then
        del stage.log[:], stage.scripts["mortal"]

    await live_and_die()
    before = incarnations()
    for _ in range(5):
        await live_and_die()
    assert incarnations() == before


ACTORS = ("p", "q", "r")
GROUPS = ("g", "h")
acts = st.tuples(
    st.sampled_from(["join", "join", "leave", "die", "monitor", "cancel"]),
    st.lists(st.sampled_from(ACTORS), min_size=1, max_size=3),
    st.sampled_from(GROUPS),
)


class Play:
    """Groups beside lists of names; each monitor is replayed by a list of its own."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.groups = Groups()
        self.living: dict[str, ActorRef] = {}
        self.model: dict[str, list[ActorRef]] = {group: [] for group in GROUPS}
        self.monitors: list[GroupMonitor] = []

    async def act(self, act: str, names: list[str], group: str) -> None:
        refs = [self.living[name] for name in names]
        if act == "join":
            self.groups.join(group, *refs)
            self.model[group] += refs
        elif act == "leave":
            left = [self.leave(group, ref) for ref in refs]
            assert self.groups.leave(group, *refs) is any(left)
        elif act == "die":
            await self.die(names[0])
        elif act == "monitor":
            self.monitors.append(await watch(self.living["w"], self.groups, group))
        elif self.monitors:
            self.monitors.pop(0).cancel()

    def leave(self, group: str, ref: ActorRef) -> bool:
        members = self.model[group]
        if ref not in members:
            return False
        del members[len(members) - 1 - members[::-1].index(ref)]
        return True

    async def die(self, name: str) -> None:
        dead = self.living[name]
        dead.kill()
        await wait_all_tasks_blocked()
        for group in GROUPS:
            self.model[group] = [ref for ref in self.model[group] if ref is not dead]
        self.living[name] = await start(self.stage, name)

    def check(self) -> None:
        for group in GROUPS:
            assert self.groups.members(group) == tuple(self.model[group])
        assert sorted(map(str, self.groups.names())) == [g for g in GROUPS if self.model[g]]

    def check_monitors(self) -> None:
        for monitor in self.monitors:
            told = list(monitor.members)
            for message in news(self.stage):
                if message.monitor is not monitor:
                    continue
                for ref in message.members:
                    if isinstance(message, GroupJoined):
                        told.append(ref)
                    else:
                        told.remove(ref)
            assert sorted(map(id, told)) == sorted(map(id, self.model[str(monitor.group)]))


@settings(max_examples=150, deadline=None)
@given(st.lists(acts, max_size=30))
def test_whatever_happens_a_group_is_a_list_of_the_living_and_its_monitors_know_it(
    plan: list[tuple[str, list[str], str]],
) -> None:
    async def main() -> None:
        async with open_stage() as stage:
            play = Play(stage)
            for name in (*ACTORS, "w"):
                play.living[name] = await start(stage, name)
            for act, names, group in plan:
                await play.act(act, names, group)
                play.check()
            await wait_all_tasks_blocked()
            play.check_monitors()

    trio.run(main, clock=MockClock(autojump_threshold=0))
