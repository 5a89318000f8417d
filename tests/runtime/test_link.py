"""Links, exit signals, linked starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ActorDied, InvalidInput, NoSuchActor, StartFailed
from autonomics.runtime import (
    Actor,
    ActorRef,
    Address,
    Behaviour,
    Crash,
    Down,
    Exit,
    ExitReason,
    Killed,
    Normal,
    Refuse,
    ReplyTo,
    Shutdown,
    Stop,
    Worker,
)
from autonomics.supervisors import Supervisor
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Event, Stage

BOOM = RuntimeError("boom")
END_EVENTS = ("actor.stopped", "actor.crashed")


class Frail(ScriptedActor):
    traps: ClassVar[bool] = False


async def start(stage: Stage, name: str, actor: type[ScriptedActor] = ScriptedActor) -> ActorRef:
    script = stage.script(name)
    script.actor = actor
    return await stage.runtime.start(script, name=name)


async def do(ref: ActorRef, act: Callable[[ScriptedActor], object]) -> Any:
    async def obey(actor: ScriptedActor, _: ReplyTo) -> object:
        return act(actor)

    return await ref.call(Ask(obey))


def link(actor: ScriptedActor, *peers: Address) -> None:
    for peer in peers:
        actor.link(peer)


def unlink(actor: ScriptedActor, *peers: Address) -> None:
    for peer in peers:
        actor.unlink(peer)


async def start_linked(parent: ActorRef, factory: Callable[[], Behaviour], id_: str) -> ActorRef:
    async def obey(actor: ScriptedActor, _: ReplyTo) -> object:
        return await actor.runtime.start_linked(factory, id=id_)

    ref: ActorRef = await parent.call(Ask(obey))
    return ref


async def test_a_link_propagates_a_crash(autojump_clock: MockClock, stage: Stage) -> None:
    """LNK-05; GEN-18: without its terminate."""
    a, b = await start(stage, "a"), await start(stage, "b", Frail)
    await do(b, lambda actor: link(actor, a))
    a.cast(BOOM)
    assert await b.wait_down() == Crash(BOOM)
    assert stage.log[-1] == "term:a:died"
    assert "term:b" not in str(stage.log)


async def test_the_other_end_of_a_link_is_told_as_well(
    autojump_clock: MockClock, stage: Stage
) -> None:
    a, b = await start(stage, "a"), await start(stage, "b", Frail)
    await do(b, lambda actor: link(actor, a))
    b.cast(BOOM)
    await wait_all_tasks_blocked()
    assert a.is_alive()
    assert Exit(b, Crash(BOOM)) in stage.log


@pytest.mark.parametrize("traps", [True, False])
async def test_a_normal_end_harms_no_linked_actor(
    autojump_clock: MockClock, stage: Stage, traps: Any
) -> None:
    """LNK-06."""
    a, b = await start(stage, "a"), await start(stage, "b", ScriptedActor if traps else Frail)
    await do(b, lambda actor: link(actor, a))
    a.cast(Stop())
    await wait_all_tasks_blocked()
    assert b.is_alive()
    assert (Exit(a, Normal()) in stage.log) is traps


async def test_a_kill_can_not_be_trapped_but_its_echo_can(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """LNK-07."""
    p, q, self_ended = [await start(stage, name) for name in ("p", "q", "r")]
    await do(q, lambda actor: link(actor, p, self_ended))
    p.exit(Killed("out"))
    assert await p.wait_down() == Killed("out")
    self_ended.cast(Stop(Killed()))
    await wait_all_tasks_blocked()
    assert stage.log[-3:] == [Exit(p, Killed("out")), "term:r:killed", Exit(self_ended, Killed())]
    assert q.is_alive()


async def test_an_exit_signal_of_somebody_else(autojump_clock: MockClock, stage: Stage) -> None:
    """LNK-08, and GEN-15 for the reason."""
    p, q, sender = await start(stage, "p", Frail), await start(stage, "q"), await start(stage, "s")
    for target in (p, q):
        await do(sender, lambda _, target=target: target.exit(Normal()))  # type: ignore[misc]
    await wait_all_tasks_blocked()
    assert p.is_alive()
    assert stage.log[-1] == Exit(sender, Normal())
    q.exit(Shutdown("x"))
    p.exit(Shutdown("x"))
    assert await p.wait_down() == Shutdown("x")
    await wait_all_tasks_blocked()
    assert stage.log[-1] == Exit(None, Shutdown("x"))
    p.exit(Shutdown())
    p.exit(Killed())


async def test_an_exit_signal_overtakes_the_mail(autojump_clock: MockClock, stage: Stage) -> None:
    """LNK-13."""
    p = await start(stage, "p", Frail)
    p.cast(1)
    p.cast(2)
    p.exit(Crash(BOOM))
    p.cast(3)
    assert await p.wait_down() == Crash(BOOM)
    assert 3 not in stage.log


async def test_a_supervisor_ignores_the_exit_signal_of_a_stranger(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-D12."""
    s = await stage.supervise(stage.child("a"))
    a = stage.at("s/a")
    s.exit(Shutdown())
    await wait_all_tasks_blocked()
    assert s.is_alive()
    assert stage.at("s/a") is a
    assert ("actor.unexpected_message", {"path": "s", "message_type": "Exit"}) in events


async def test_an_unlinked_actor_hears_nothing(autojump_clock: MockClock, stage: Stage) -> None:
    a, b = await start(stage, "a"), await start(stage, "b", Frail)
    await do(b, lambda actor: link(actor, a, stage.runtime.named("a")))
    await do(b, lambda actor: unlink(actor, stage.runtime.named("a"), a))
    await do(b, lambda actor: link(actor, b))  # oneself: nothing
    await do(b, lambda actor: unlink(actor, b))
    a.cast(BOOM)
    await a.wait_down()
    assert await do(b, lambda _: 5) == 5


async def test_the_dead_can_not_be_linked_with(autojump_clock: MockClock, stage: Stage) -> None:
    a, b = await start(stage, "a"), await start(stage, "b")
    await a.stop()

    def try_to(actor: ScriptedActor) -> None:
        with pytest.raises(NoSuchActor, match="a is not alive: Shutdown"):
            actor.link(a)
        actor.unlink(a)

    await do(b, try_to)


class Server(Worker):
    async def run(self, started: Callable[[], None]) -> None:
        started()
        await trio.sleep_forever()


@pytest.mark.parametrize("reason", [Crash(BOOM), Normal()])
async def test_a_worker_is_asked_to_stop_by_an_exit_signal(
    autojump_clock: MockClock, stage: Stage, reason: ExitReason
) -> None:
    server = await stage.runtime.start(Server, name="server")
    server.exit(reason)
    await wait_all_tasks_blocked()
    assert server.is_alive() is (reason == Normal())
    if not server.is_alive():
        assert await server.wait_down() == reason


@pytest.mark.parametrize(
    ("end", "reason"),
    [(BOOM, Crash(BOOM)), (Stop(), Normal()), (Stop(Shutdown("x")), Shutdown("x"))],
)
@pytest.mark.parametrize("traps", [True, False])
async def test_an_actor_takes_along_what_it_has_started_linked(
    autojump_clock: MockClock, stage: Stage, end: Any, reason: ExitReason, traps: Any
) -> None:
    """GEN-16; GEN-19: no orphans, whatever the reason."""
    p = await start(stage, "p")
    script = stage.script("a")
    script.actor = ScriptedActor if traps else Frail
    a = await start_linked(p, script, "a")
    assert a.path == "p/a"
    assert stage.runtime.roots() == (p,)
    p.cast(end)
    assert await p.wait_down() == reason
    assert not a.is_alive()
    assert await a.wait_down() == reason
    word = "died" if isinstance(reason, Crash) else type(reason).__name__.lower()
    assert ([line for line in stage.log if "term:a" in str(line)] == [f"term:a:{word}"]) is traps


async def test_a_stopped_actor_takes_them_along_too(
    autojump_clock: MockClock, stage: Stage
) -> None:
    p = await start(stage, "p")
    a = await start_linked(p, stage.script("a"), "a")
    assert await p.stop(Shutdown("x")) == Shutdown("x")
    assert await a.wait_down() == Shutdown("x")


async def test_a_supervisor_ends_with_the_actor_that_started_it(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-D10."""
    p = await start(stage, "p")
    s = await start_linked(p, lambda: Supervisor([stage.child("a")]), "s")
    stage.log.clear()
    p.cast(BOOM)
    assert await s.wait_down() == Crash(BOOM)
    assert await p.wait_down() == Crash(BOOM)
    assert stage.log == ["term:p:died", "term:a:shutdown"]


async def test_the_last_started_goes_first_and_watchers_hear_when_all_is_gone(
    autojump_clock: MockClock, stage: Stage
) -> None:
    watcher, p = await start(stage, "w"), await start(stage, "p")
    for id_ in ("a", "b"):
        await start_linked(p, stage.script(id_, ending=0.1), id_)
    await do(watcher, lambda _: p.monitor())
    stage.log.clear()

    told_at_s: list[float] = []

    async def wait(_: ScriptedActor, __: ReplyTo) -> None:
        await trio.sleep_forever()

    async def call() -> None:
        with pytest.raises(ActorDied):
            await p.call(Ask(wait))
        told_at_s.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        p.kill("now")
        killed_at_s = trio.current_time()
    await p.wait_down()
    await wait_all_tasks_blocked()
    assert told_at_s == [killed_at_s]
    assert stage.log == [
        "term:b:killed",
        "term_done:b",
        "term:a:killed",
        "term_done:a",
        Down(p, Killed("now")),
    ]


async def test_the_end_of_a_linked_child_is_an_exit_signal(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """GEN-17, and GEN-18 for the one that does not trap."""
    p, frail = await start(stage, "p"), await start(stage, "f", Frail)
    a, b = [await start_linked(parent, stage.script("a"), "a") for parent in (p, frail)]
    a.cast(BOOM)
    b.cast(BOOM)
    assert await frail.wait_down() == Crash(BOOM)
    await wait_all_tasks_blocked()
    assert Exit(a, Crash(BOOM)) in stage.log
    assert p.is_alive()


async def test_a_child_that_ends_at_once_is_an_exit_signal_too(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Brief(Actor):
        async def init(self) -> None:
            self.ref.exit(Killed("brief"))

    p = await start(stage, "p")
    a = await start_linked(p, Brief, "a")
    await wait_all_tasks_blocked()
    assert stage.log[-1] == Exit(a, Killed("brief"))


async def test_a_child_that_ends_before_its_starter_goes_on_is_one_as_well(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """In the very step after its init; so the order in which tasks run decides nothing."""

    class Briefer(Actor):
        async def init(self) -> None:
            self.ref.cast(None)

        def handle_cast(self, message: None) -> Stop:
            return Stop(Shutdown("brief"))

    p = await start(stage, "p")
    a = await start_linked(p, Briefer, "a")
    await wait_all_tasks_blocked()
    assert stage.log[-1] == Exit(a, Shutdown("brief"))


async def test_a_linked_start_that_fails_is_told_to_its_starter_alone(
    autojump_clock: MockClock, stage: Stage
) -> None:
    p = await start(stage, "p")

    async def obey(actor: ScriptedActor, _: ReplyTo) -> object:
        with pytest.raises(StartFailed) as caught:
            await actor.runtime.start_linked(stage.script("a", [Refuse("no")]), id="a")
        return caught.value.reason

    assert await p.call(Ask(obey)) == "no"
    await wait_all_tasks_blocked()
    assert not [line for line in stage.log if isinstance(line, Exit)]
    assert [ref.path for ref in stage.runtime.living()] == ["p"]


async def test_only_an_actor_can_start_linked(autojump_clock: MockClock, stage: Stage) -> None:
    with pytest.raises(InvalidInput, match="call it in an actor's code"):
        await stage.runtime.start_linked(stage.script("a"))


async def test_a_zombie_does_not_keep_its_parent(autojump_clock: MockClock, stage: Stage) -> None:
    release = trio.Event()

    class Stuck(Actor):
        async def terminate(self, reason: ExitReason) -> None:
            with trio.CancelScope(shield=True):
                await release.wait()

    p = await start(stage, "p")
    stuck = await start_linked(p, Stuck, "stuck")
    p.cast(BOOM)
    assert await p.wait_down() == Crash(BOOM)
    assert stuck.incarnation.state == "zombie"
    release.set()
    await stuck.wait_down()


async def test_who_ends_by_anothers_crash_is_not_reported_as_crashed(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    a, b = await start(stage, "a"), await start(stage, "b", Frail)
    await do(b, lambda actor: link(actor, a))
    a.cast(BOOM)
    await b.wait_down()
    await wait_all_tasks_blocked()
    ends = {fields["path"]: event for event, fields in events if event in END_EVENTS}
    assert ends == {"a": "actor.crashed", "b": "actor.stopped"}
