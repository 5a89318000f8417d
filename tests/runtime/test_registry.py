from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import AlreadyRegistered, InvalidInput, NoSuchActor, StartFailed
from autonomics.runtime import (
    Actor,
    ActorRef,
    AlreadyStarted,
    Call,
    Crash,
    Down,
    DuplicateRegistry,
    Entry,
    Ignore,
    Key,
    MailboxSpec,
    NoProcess,
    Refuse,
    Registered,
    ReplyTo,
    Shutdown,
    UniqueRegistry,
    Unregistered,
    send_request,
)
from autonomics.runtime.incarnation import Incarnation
from autonomics.supervisors import ChildCounts, snapshot, which_children
from autonomics.supervisors.request import CountChildren
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage, open_stage


async def start(stage: Stage, name: str = "a", actor: Any = None) -> ActorRef:
    script = stage.script(name)
    script.actor = actor
    return await stage.runtime.start(script, name=name)


def heard(stage: Stage) -> list[Registered[Any]]:
    return [message for message in stage.log if isinstance(message, Registered)]


async def by(ref: ActorRef, do: Any) -> Any:
    """Have an actor run a function."""

    async def answer(actor: ScriptedActor, __: ReplyTo) -> object:
        value: object = do()
        return value

    return await ref.call(Ask(answer))


async def test_a_unique_key_belongs_to_one(autojump_clock: MockClock, stage: Stage) -> None:
    """REG-01."""
    registry = UniqueRegistry[int](stage.runtime)
    me, other = await start(stage, "me"), await start(stage, "other")
    await by(me, lambda: registry.register("k", 1))

    def again() -> object:
        with pytest.raises(AlreadyRegistered, match="the key 'k' belongs to me") as taken:
            registry.register("k", 2)
        return taken.value.owner

    assert await by(me, again) is me
    assert await by(other, again) is me
    assert registry.lookup("k") == (Entry(me, 1),)
    assert await by(me, registry.keys) == ("k",)
    assert registry.keys(other) == ()
    assert registry.whereis("k") is me
    assert registry.whereis("free") is None
    assert registry.count() == 1


@pytest.mark.parametrize("end", ["kill", "crash", "stop"])
async def test_entries_are_gone_with_their_owner(
    autojump_clock: MockClock, stage: Stage, end: str
) -> None:
    """REG-02."""
    registry = UniqueRegistry[str](stage.runtime)
    p, me = await start(stage, "p"), await start(stage, "me")
    registry.register("k", "p's", p)
    registry.register(("k", "2"), "p's", p)
    if end == "kill":
        p.kill()
    elif end == "crash":
        p.cast(RuntimeError("died"))
    else:
        await p.stop()
    await wait_all_tasks_blocked()
    assert registry.lookup("k") == ()
    assert registry.count() == 0
    await by(me, lambda: registry.register("k", "mine"))
    assert registry.lookup("k") == (Entry(me, "mine"),)
    with pytest.raises(NoSuchActor, match="p is not alive"):
        registry.register("other", "p's", p)


async def test_a_late_cleanup_never_removes_the_new_owner(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-03."""
    registry = UniqueRegistry[str](stage.runtime)
    p, me = await start(stage, "p"), await start(stage, "me")
    registry.register("k", "p's", p)
    registry.register("k2", "p's", p)
    await by(me, registry.listen)
    held_back = dict(p.incarnation.traces)
    p.incarnation.traces.clear()
    p.kill()
    await wait_all_tasks_blocked()
    assert registry.count() == 2
    assert registry.lookup("k") == ()
    assert registry.whereis("k") is None
    registry.register("k", "mine", me)
    assert registry.count() == 2
    await wait_all_tasks_blocked()
    assert [message for message in stage.log if not isinstance(message, str)] == [
        Unregistered(registry, "k", p),
        Registered(registry, "k", me, "mine"),
    ]
    for cleanup in held_back.values():
        cleanup()
        cleanup()
    assert registry.lookup("k") == (Entry(me, "mine"),)
    assert registry.count() == 1


async def test_a_key_is_free_before_anybody_hears_of_the_end(
    autojump_clock: MockClock, stage: Stage
) -> None:
    registry = UniqueRegistry[int](stage.runtime)
    found: list[object] = []

    class Looker(ScriptedActor):
        async def handle_info(self, message: object) -> None:
            found.append(registry.whereis("k"))

    p, watcher = await start(stage, "p"), await start(stage, "w", Looker)
    registry.register("k", 1, p)
    await by(watcher, p.monitor)
    p.kill()
    with pytest.raises(Exception, match="ended before it replied"):
        await p.call(Ask(1))
    assert registry.whereis("k") is None
    await wait_all_tasks_blocked()
    assert found == [None]


@attrs.frozen
class GetPath(Call[str]): ...


class Agent(Actor):
    def __init__(self, registry: UniqueRegistry[None], key: Key) -> None:
        self.registry = registry
        self.key = key

    async def init(self) -> Refuse | None:
        return self.registry.claim(self.key, None)

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        assert isinstance(message, GetPath)
        return self.path

    async def handle_cast(self, message: object) -> None:
        raise ValueError(message)


@pytest.mark.parametrize(("key", "shown"), [("n", "n"), (("tenant", "7"), "tenant/7")])
async def test_a_key_is_an_address(
    autojump_clock: MockClock, stage: Stage, key: Key, shown: str
) -> None:
    """REG-04."""
    registry = UniqueRegistry[None](stage.runtime)
    address = registry.address(key)
    assert not address.is_alive()
    agent = await stage.runtime.start(lambda: Agent(registry, key), name="first")
    path: str = await address.call(GetPath())
    assert path == "first"
    assert address.is_alive()
    assert address.resolve() is agent
    with pytest.raises(StartFailed) as failure:
        await stage.runtime.start(lambda: Agent(registry, key), name="second")
    assert failure.value.reason == AlreadyStarted(shown, "first")
    await agent.stop()
    with pytest.raises(NoSuchActor, match="nobody has the key"):
        await address.call(GetPath())
    with pytest.raises(NoSuchActor):
        await address.wait_down()
    address.cast("dropped")
    assert stage.runtime.statistics().dead_letters == 1
    successor = await stage.runtime.start(lambda: Agent(registry, key), name="third")
    assert await address.call(GetPath()) == "third"
    address.cast("boom")
    assert isinstance(await address.wait_down(), Crash)
    assert not successor.is_alive()
    assert address == registry.address(key)
    assert hash(address) == hash(registry.address(key))
    assert repr(address) == f"KeyedRef(name='{shown}')"


async def test_whoever_has_a_key_can_be_monitored_by_it(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-04."""
    registry = UniqueRegistry[None](stage.runtime)
    p, watcher = await start(stage, "p"), await start(stage, "w")
    address = registry.address("k")
    await by(watcher, address.monitor)
    registry.register("k", None, p)
    await by(watcher, lambda: address.monitor("tag"))
    await p.stop()
    await wait_all_tasks_blocked()
    downs = [message for message in stage.log if isinstance(message, Down)]
    assert downs == [Down(address, NoProcess()), Down(address, Shutdown(), "tag")]


async def test_a_key_is_an_address_for_the_child_api_too(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-04."""
    registry = UniqueRegistry[None](stage.runtime)
    registry.register("pool", None, await stage.supervise(stage.child("c")))
    pool = registry.address("pool")
    assert [child.id for child in await which_children(pool)] == ["c"]
    assert (await snapshot(pool)).children[0].id == "c"
    assert await send_request(pool, CountChildren()).wait() == ChildCounts(1, 1, 0, 1)
    listener = registry.address("ears")
    registry.listen(listener)
    ears = await start(stage, "ears")
    registry.register("ears", None, ears)
    await wait_all_tasks_blocked()
    assert heard(stage) == [Registered(registry, "ears", ears, None)]


async def test_one_can_unregister_only_oneself(autojump_clock: MockClock, stage: Stage) -> None:
    """REG-05."""
    registry = UniqueRegistry[int](stage.runtime)
    p, me = await start(stage, "p"), await start(stage, "me")
    registry.register("k", 1, p)
    await by(me, lambda: registry.unregister("k"))
    registry.register("mine", 1, me)
    await by(me, lambda: registry.unregister("k"))
    assert registry.lookup("k") == (Entry(p, 1),)
    await by(p, lambda: registry.unregister("k"))
    await by(p, lambda: registry.unregister("k"))
    assert registry.lookup("k") == ()
    registry.register("k", 2, me)
    assert registry.lookup("k") == (Entry(me, 2),)


async def test_duplicate_keys_are_dispatched_to_and_unregistered_together(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-06."""
    registry = DuplicateRegistry[int](stage.runtime)
    me, other = await start(stage, "me"), await start(stage, "other")
    await by(me, lambda: registry.register("k", 1))
    await by(other, lambda: registry.register("k", 3))
    await by(me, lambda: registry.register("k", 2))
    await by(me, lambda: registry.register("k2", 2))
    seen: list[object] = []
    await registry.dispatch("k", seen.extend)
    assert seen == [Entry(me, 1), Entry(other, 3), Entry(me, 2)]
    assert await by(me, registry.keys) == ("k", "k", "k2")
    assert registry.count() == 4
    assert registry.cast("k", "hello") == 3
    await wait_all_tasks_blocked()
    assert stage.log.count("hello") == 3
    await by(me, lambda: registry.unregister("k"))
    assert registry.lookup("k") == (Entry(other, 3),)
    assert registry.keys(me) == ("k2",)


@pytest.mark.parametrize("parallel", [False, True])
async def test_one_dispatch_has_a_callback_for_each_partition_that_has_entries(
    autojump_clock: MockClock, stage: Stage, parallel: Any
) -> None:
    """REG-06: partitions."""
    registry = DuplicateRegistry[int](stage.runtime, partitions=2)
    refs = [await start(stage, name) for name in "abcd"]
    for value in (1, 2):
        for ref in refs:
            registry.register("k", value, ref)
    registry.register("other", 1, refs[0])
    shares: list[list[str]] = []

    async def note(entries: Sequence[Entry[int]]) -> None:
        await trio.sleep(1)
        shares.append([f"{entry.ref.path}{entry.value}" for entry in entries])

    began = trio.current_time()
    await registry.dispatch("k", note, parallel=parallel)
    assert sorted(shares) == [["a1", "c1", "a2", "c2"], ["b1", "d1", "b2", "d2"]]
    assert trio.current_time() - began == (1 if parallel else 2)
    shares.clear()
    await registry.dispatch("other", note, parallel=parallel)
    assert shares == [["a1"]]
    await registry.dispatch("nobody", note, parallel=parallel)
    assert len(shares) == 1


async def test_an_error_of_a_dispatch_is_the_callers(
    autojump_clock: MockClock, stage: Stage
) -> None:
    registry = UniqueRegistry[int](stage.runtime)
    registry.register("k", 1, await start(stage))

    def fail(_: object) -> None:
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await registry.dispatch("k", fail)
    with pytest.raises(ExceptionGroup) as failure:
        await registry.dispatch("k", fail, parallel=True)
    assert isinstance(failure.value.exceptions[0], ValueError)


@pytest.mark.parametrize("key", [1, 1.0, True, None, (), "", ("a", 1), ("a", ("b",)), ["a"], b"k"])
async def test_a_key_is_made_of_strings(autojump_clock: MockClock, stage: Stage, key: Any) -> None:
    """REG-07."""
    ref = await start(stage)
    unique = UniqueRegistry[int](stage.runtime)
    for act in (
        lambda: unique.register(key, 1, ref),
        lambda: DuplicateRegistry[int](stage.runtime).register(key, 1, ref),
        lambda: unique.address(key),
    ):
        with pytest.raises(InvalidInput, match="key to be a non-empty string or tuple of strings"):
            act()


async def test_a_listener_hears_of_every_change_in_order(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-08."""
    me, p = await start(stage, "me"), await start(stage, "p")
    registry = DuplicateRegistry[int](stage.runtime)
    await by(me, registry.listen)
    stage.log.clear()
    registry.register("k", 1, p)
    registry.register("k", 2, p)
    registry.register("k2", 3, p)
    registry.unregister("k", p)
    registry.unregister("k", p)
    registry.register("k3", 4, p)
    await p.stop()
    await wait_all_tasks_blocked()
    assert [message for message in stage.log if not isinstance(message, str)] == [
        Registered(registry, "k", p, 1),
        Registered(registry, "k", p, 2),
        Registered(registry, "k2", p, 3),
        Unregistered(registry, "k", p),
        Registered(registry, "k3", p, 4),
        Unregistered(registry, "k2", p),
        Unregistered(registry, "k3", p),
    ]
    stage.log.clear()
    await by(me, registry.unlisten)
    registry.unlisten(me)
    registry.register("k", 1, me)
    await wait_all_tasks_blocked()
    assert stage.log == []


async def test_a_named_listener_is_told_for_ever_and_another_while_it_lives(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-08."""
    named = stage.runtime.named("ears")
    registry = UniqueRegistry[int](stage.runtime, listeners=[named])
    me = await start(stage, "me")
    registry.register("k", 1, me)
    ears = await start(stage, "ears")
    registry.register("k2", 1, me)
    await wait_all_tasks_blocked()
    await ears.stop()
    await start(stage, "ears")
    registry.register("k3", 1, me)
    await wait_all_tasks_blocked()
    assert heard(stage) == [Registered(registry, "k2", me, 1), Registered(registry, "k3", me, 1)]
    registry.unlisten(named)
    mortal = await start(stage, "mortal")
    registry.listen(mortal)
    registry.register("own", 1, mortal)
    await wait_all_tasks_blocked()
    letters = stage.runtime.statistics().dead_letters
    await mortal.stop()
    registry.register("k4", 1, me)
    await wait_all_tasks_blocked()
    assert stage.runtime.statistics().dead_letters == letters
    assert len(heard(stage)) == 3


async def test_a_registrant_that_listens_is_not_told_of_its_own_end(
    autojump_clock: MockClock, stage: Stage
) -> None:
    registry = UniqueRegistry[int](stage.runtime)
    p = await start(stage, "p")
    registry.register("k", 1, p)
    registry.listen(p)
    await wait_all_tasks_blocked()
    p.kill()
    await wait_all_tasks_blocked()
    assert stage.runtime.statistics().dead_letters == 0
    assert registry.count() == 0


async def test_a_registry_is_part_of_the_runtime_and_cannot_end_alone(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """REG-09: nobody believes in a lost entry, for only an owner's end removes it."""
    before = stage.runtime.living()
    registry = UniqueRegistry[int](stage.runtime)
    assert stage.runtime.living() == before
    p = await start(stage, "p")

    def fail(_: int) -> int:
        raise ValueError("boom")

    registry.register("k", 1, p)
    with pytest.raises(ValueError, match="boom"):
        registry.update_value("k", fail, p)
    assert registry.lookup("k") == (Entry(p, 1),)


async def test_only_the_owner_changes_a_value(autojump_clock: MockClock, stage: Stage) -> None:
    registry = UniqueRegistry[int](stage.runtime)
    p, me = await start(stage, "p"), await start(stage, "me")
    registry.register("k", 1, p)
    assert await by(p, lambda: registry.update_value("k", lambda value: value + 1)) == (2, 1)
    assert await by(me, lambda: registry.update_value("k", lambda value: value + 1)) is None
    assert await by(p, lambda: registry.update_value("other", lambda value: value)) is None
    assert registry.lookup("k") == (Entry(p, 2),)


async def test_outside_of_an_actor_one_says_whom_one_means(
    autojump_clock: MockClock, stage: Stage
) -> None:
    registry = UniqueRegistry[int](stage.runtime)
    for act in (
        lambda: registry.register("k", 1),
        lambda: registry.unregister("k"),
        registry.keys,
        registry.listen,
        registry.unlisten,
        lambda: registry.update_value("k", lambda value: value),
    ):
        with pytest.raises(InvalidInput, match="means the actor that calls it"):
            act()


@pytest.mark.parametrize("partitions", [0, True, 1.0, "2"])
async def test_partitions_are_a_number(stage: Stage, partitions: Any) -> None:
    with pytest.raises(InvalidInput, match="partitions to be an integer of at least 1"):
        DuplicateRegistry[int](stage.runtime, partitions=partitions)


async def test_a_cast_to_all_passes_over_who_has_no_room(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Small(ScriptedActor):
        mailbox = MailboxSpec(capacity=1)

    registry = DuplicateRegistry[None](stage.runtime)
    small, big = await start(stage, "small", Small), await start(stage, "big")
    registry.register("k", None, small)
    registry.register("k", None, big)
    assert registry.cast("k", 1) == 2
    assert registry.cast("k", 2) == 1
    await wait_all_tasks_blocked()
    assert [message for message in stage.log if isinstance(message, int)] in ([1, 1, 2], [1, 2, 1])


async def test_a_zombie_loses_its_keys_and_gets_no_more(
    autojump_clock: MockClock, stage: Stage
) -> None:
    registry = UniqueRegistry[int](stage.runtime)
    errors: list[object] = []

    class Stuck(ScriptedActor):
        async def init(self) -> Ignore | None:
            registry.register("k", 1)
            return None

        async def terminate(self, reason: object) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            try:
                registry.register("k2", 2)
            except NoSuchActor as error:
                errors.append(type(error))

    ref = await start(stage, "stuck", Stuck)
    with pytest.raises(Exception, match="zombie"):
        await ref.stop(grace_s=0.1)
    assert registry.lookup("k") == ()
    successor = await start(stage, "successor")
    registry.register("k", 3, successor)
    await trio.sleep(10)
    assert errors == [NoSuchActor]
    assert registry.lookup("k") == (Entry(successor, 3),)


async def test_an_actor_that_has_taken_back_everything_has_nothing_to_clean_up(
    autojump_clock: MockClock, stage: Stage
) -> None:
    registry, ref = UniqueRegistry[int](stage.runtime), await start(stage)
    registry.register("k", 1, ref)
    registry.register("k2", 1, ref)
    registry.listen(ref)
    registry.unregister("k", ref)
    assert len(ref.incarnation.traces) == 2
    registry.unregister("k2", ref)
    registry.unlisten(ref)
    assert ref.incarnation.traces == {}


async def test_a_registry_forgets_the_dead(autojump_clock: MockClock, stage: Stage) -> None:
    registry = DuplicateRegistry[int](stage.runtime)

    def incarnations() -> int:
        gc.collect()
        return sum(isinstance(thing, Incarnation) for thing in gc.get_objects())

    async def live_and_die() -> None:
        ref = await start(stage, "mortal")
        registry.register("k", 1, ref)
        registry.listen(ref)
        await ref.stop()
        await trio.sleep(10)  # the timer of the stop is swept by then
        del stage.log[:], stage.scripts["mortal"]

    await live_and_die()
    before = incarnations()
    for _ in range(5):
        await live_and_die()
    assert incarnations() == before


KEYS: tuple[Key, ...] = ("a", "b", ("a", "b"))
ACTORS = ("p", "q", "r")
acts = st.one_of(
    st.tuples(
        st.sampled_from(["register", "register", "unregister", "update"]),
        st.sampled_from(ACTORS),
        st.sampled_from(KEYS),
    ),
    st.tuples(st.sampled_from(["die", "hold", "release"]), st.sampled_from(ACTORS), st.just("a")),
)


class Model:
    """A list of (owner's name, key, value); who has died owns nothing."""

    def __init__(self, *, unique: bool) -> None:
        self.rows: list[tuple[str, Key, int]] = []
        self.unique = unique

    def register(self, name: str, key: Key, value: int) -> bool:
        if self.unique and any(row[1] == key for row in self.rows):
            return False
        self.rows.append((name, key, value))
        return True

    def unregister(self, name: str, key: Key) -> None:
        self.rows = [row for row in self.rows if row[:2] != (name, key)]

    def update(self, name: str, key: Key) -> None:
        self.rows = [(n, k, v + 1000 * ((n, k) == (name, key))) for n, k, v in self.rows]

    def die(self, name: str) -> None:
        self.rows = [row for row in self.rows if row[0] != name]


class Play:
    """The registry and its model, side by side; clean-ups may be held back, as in REG-03."""

    def __init__(self, stage: Stage, *, unique: bool) -> None:
        self.stage = stage
        self.model = Model(unique=unique)
        self.registry: UniqueRegistry[int] | DuplicateRegistry[int] = (
            UniqueRegistry(stage.runtime) if unique else DuplicateRegistry(stage.runtime)
        )
        self.living: dict[str, ActorRef] = {}
        self.held: dict[str, list[Any]] = {name: [] for name in ACTORS}

    async def act(self, act: str, name: str, key: Key, value: int) -> None:
        ref = self.living[name]
        if act == "register":
            self.register(name, key, value)
        elif act == "unregister":
            self.model.unregister(name, key)
            self.registry.unregister(key, ref)
        elif act == "update":
            if isinstance(self.registry, UniqueRegistry):
                self.model.update(name, key)
                self.registry.update_value(key, lambda old: old + 1000, ref)
        elif act == "release":
            self.release(name)
        else:
            if act == "hold":
                self.held[name] += ref.incarnation.traces.values()
                ref.incarnation.traces.clear()
            await self.end(name)

    def register(self, name: str, key: Key, value: int) -> None:
        if self.model.register(name, key, value):
            self.registry.register(key, value, self.living[name])
        else:
            with pytest.raises(AlreadyRegistered):
                self.registry.register(key, value, self.living[name])

    def release(self, name: str) -> None:
        for cleanup in self.held[name]:
            cleanup()
        self.held[name].clear()

    async def end(self, name: str) -> None:
        self.living[name].kill()
        await wait_all_tasks_blocked()
        self.model.die(name)
        self.living[name] = await start(self.stage, name)

    def check(self) -> None:
        rows = self.model.rows
        for key in KEYS:
            found = [(entry.ref, entry.value) for entry in self.registry.lookup(key)]
            assert found == [(self.living[n], v) for n, k, v in rows if k == key]
        for name, ref in self.living.items():
            keys = sorted(map(str, self.registry.keys(ref)))
            assert keys == sorted(str(key) for owner, key, _ in rows if owner == name)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(acts, max_size=40))
def test_whatever_happens_a_registry_is_a_list_of_what_the_living_have_put_there(
    unique: Any, plan: list[tuple[str, str, Key]]
) -> None:
    async def main() -> None:
        async with open_stage() as stage:
            play = Play(stage, unique=unique)
            for name in ACTORS:
                play.living[name] = await start(stage, name)
            for value, (act, name, key) in enumerate(plan):
                await play.act(act, name, key, value)
                play.check()
            for name in ACTORS:
                play.release(name)
            play.check()
            assert play.registry.count() == len(play.model.rows)
            for ref in play.living.values():
                await ref.stop()
            assert play.registry.count() == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))
