from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import ChildRefused, InvalidInput, InvalidSpec, StartFailed, Unstoppable
from autonomics.runtime import (
    IGNORE,
    Actor,
    ActorRef,
    Call,
    Crash,
    Killed,
    Refuse,
    Shutdown,
    Worker,
)
from autonomics.supervisors import (
    ChildCounts,
    ChildSpec,
    DynamicSupervisor,
    count_children,
    delete_child,
    restart_child,
    start_child,
    start_child_from,
    terminate_child,
    which_children,
)
from autonomics.testing.stage import Stage


async def pool(stage: Stage, max_children: int | None = None, max_restarts: int = 3) -> ActorRef:
    return await stage.runtime.start(
        lambda: DynamicSupervisor(max_children=max_children, max_restarts=max_restarts), name="p"
    )


async def test_children_are_started_on_demand_and_restarted_alone(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-Y01."""
    root = await pool(stage)
    assert await count_children(root) == ChildCounts(0, 0, 0, 0)
    first = await start_child(root, stage.child("w1"))
    second = await start_child(root, stage.child("w2"))
    await stage.crash("p/w1")
    assert not first.is_alive()
    assert [child.ref for child in await which_children(root)] == [stage.at("p/w1"), second]
    assert await count_children(root) == ChildCounts(2, 2, 0, 2)
    assert stage.log.count("init:w1") == 2


async def test_calls_that_make_no_sense_for_a_pool_are_refused(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-Y02."""
    root = await pool(stage)
    ref = await start_child(root, stage.child("w"))
    stranger = await stage.runtime.start(stage.script("stranger"))
    for act in (terminate_child, restart_child, delete_child):
        with pytest.raises(ChildRefused) as refusal:
            await act(root, "w")
        assert refusal.value.rule == "dynamic"
    await terminate_child(root, ref)
    for gone in (ref, stranger):
        with pytest.raises(ChildRefused) as refusal:
            await terminate_child(root, gone)
        assert refusal.value.rule == "not_found"
    assert stranger.is_alive()

    class Strange(Call[int]):
        pass

    with pytest.raises(InvalidInput, match="a child request"):
        await root.call(Strange())


class Connection(Actor):
    """Writes down with what it was started."""

    def __init__(self, log: list[Any], host: str, port: int) -> None:
        log.append((host, port))
        if port == 666:
            raise ValueError("no")


def connection(log: list[Any], host: str, port: int = 80) -> ChildSpec:
    return ChildSpec(id=host, start=lambda: Connection(log, host, port))


def other_template(log: list[Any], host: str, port: int = 80) -> ChildSpec:
    return connection(log, host, port)


async def test_a_template_gets_the_extra_argument_first_and_restarts_get_all_the_same(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-Y11, SUP-Y01."""
    root = await stage.runtime.start(lambda: DynamicSupervisor(connection, stage.log), name="p")
    first = await start_child_from(root, connection, "alpha")
    second = await start_child_from(stage.runtime.named("p"), connection, "beta", port=443)
    assert stage.log == [("alpha", 80), ("beta", 443)]
    for _ in range(2):
        stage.at("p/alpha").kill()
        await wait_all_tasks_blocked()
    assert not first.is_alive()
    assert second.is_alive()
    assert stage.log == [("alpha", 80), ("beta", 443), ("alpha", 80), ("alpha", 80)]
    assert [child.ref for child in await which_children(root)] == [stage.at("p/alpha"), second]


async def test_a_pool_has_one_template_or_none(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-Y12: what is more or less can't be written down, or is refused."""
    root = await stage.runtime.start(
        lambda: DynamicSupervisor(connection, stage.log, max_children=1), name="p"
    )
    plain = await stage.runtime.start(DynamicSupervisor, name="plain")
    starts: list[tuple[Callable[[], Awaitable[object]], str]] = [
        (lambda: start_child_from(root, other_template, "alpha"), "template"),
        (lambda: start_child(root, stage.child("alpha")), "template"),
        (lambda: start_child_from(plain, connection, "alpha"), "no_template"),
    ]
    for start, rule in starts:
        with pytest.raises(ChildRefused) as refusal:
            await start()
        assert refusal.value.rule == rule
    with pytest.raises(InvalidSpec, match="expected template to be a function"):
        DynamicSupervisor("zzz", 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert stage.log == []
    await start_child_from(root, connection, "alpha")
    with pytest.raises(ChildRefused, match="max_children"):
        await start_child_from(root, connection, "beta")


async def test_a_template_that_fails_harms_nobody(autojump_clock: MockClock, stage: Stage) -> None:
    def moody(log: list[Any], mood: str) -> ChildSpec:
        if mood == "bad":
            raise ValueError(mood)
        return cast("ChildSpec", None)

    root = await stage.runtime.start(lambda: DynamicSupervisor(moody, stage.log), name="p")
    with pytest.raises(StartFailed, match="the template failed: ValueError\\('bad'\\)") as failure:
        await start_child_from(root, moody, "bad")
    assert isinstance(failure.value.reason, Crash)
    with pytest.raises(InvalidSpec, match="expected what a template makes to be a ChildSpec"):
        await start_child_from(root, moody, "silent")
    with pytest.raises(StartFailed, match="TypeError"):
        await start_child_from(root, moody)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert await which_children(root) == ()
    factory = await stage.runtime.start(lambda: DynamicSupervisor(connection, stage.log))
    with pytest.raises(StartFailed, match="no"):
        await start_child_from(factory, connection, "alpha", 666)
    assert await which_children(factory) == ()


async def test_a_full_pool_refuses_without_calling_the_start_function(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-Y03."""
    root = await pool(stage, max_children=1)
    ref = await start_child(root, stage.child("a"))
    with pytest.raises(ChildRefused, match="max_children"):
        await start_child(root, stage.child("b"))
    assert stage.scripts["b"].starts == 0
    await terminate_child(root, ref)
    await start_child(root, stage.child("b"))


async def test_a_restarting_child_occupies_its_place(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-Y04."""
    root = await pool(stage, max_children=1, max_restarts=1_000_000)
    spec = stage.child("c", inits=[None, 9.0], init_deadline_s=0.01)
    ref = await start_child(root, spec)
    ref.kill()
    await trio.sleep(0.02)
    with pytest.raises(ChildRefused, match="max_children"):
        await start_child(root, stage.child("d"))
    (info,) = await which_children(root)
    assert info.state == "restarting"
    assert await count_children(root) == ChildCounts(specs=1, active=0, supervisors=0, workers=1)


async def test_a_child_that_ignores_its_start_is_not_kept(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-Y05."""
    root = await pool(stage)
    await start_child(root, stage.child("c", inits=[None, IGNORE]))
    await stage.crash("p/c")
    assert await which_children(root) == ()
    with pytest.raises(StartFailed) as failure:
        await start_child(root, stage.child("d", inits=[IGNORE]))
    assert failure.value.reason == IGNORE
    assert await which_children(root) == ()


async def test_all_children_have_a_common_deadline(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-Y06, SUP-D06."""
    root = await pool(stage)
    refs = [await start_child(root, stage.child(f"w{n}", ending=5, grace_s=0.3)) for n in range(5)]
    began = trio.current_time()
    assert await root.stop() == Shutdown()
    assert 0.3 <= trio.current_time() - began < 0.9
    assert {await ref.wait_down() for ref in refs} == {Killed("grace exceeded")}


async def test_dynamic_children_stop_together(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-D06."""
    root = await pool(stage)
    for id_ in "ab":
        await start_child(root, stage.child(id_, ending=0.3))
    began = trio.current_time()
    await root.stop()
    assert 0.3 <= trio.current_time() - began < 0.55
    assert {"term_done:a", "term_done:b"} <= set(stage.log)


async def test_mixed_grace_times_run_beside_each_other(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-Y07."""
    root = await pool(stage)
    refs = [
        await start_child(root, stage.child("w", ending=5, grace_s=grace_s))
        for grace_s in (0.1, 0.3, 0)
    ]
    began = trio.current_time()
    await root.stop()
    assert trio.current_time() - began == pytest.approx(0.3, abs=0.01)
    reasons = [await ref.wait_down() for ref in refs]
    assert reasons == [Killed("grace exceeded")] * 2 + [Killed("brutal kill")]


async def test_a_failing_start_leaves_nothing(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-Y09."""
    root = await pool(stage)
    with pytest.raises(StartFailed) as failure:
        await start_child(root, stage.child("a", inits=[Refuse("nope")]))
    assert failure.value.reason == "nope"
    assert await which_children(root) == ()
    await start_child(root, stage.child("a"))


async def test_the_restart_limit_ends_the_whole_pool(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-Y10."""
    root = await pool(stage)
    await start_child(root, stage.child("a"))
    other = await start_child(root, stage.child("b"))
    for _ in range(4):
        await stage.crash("p/a")
    assert await root.wait_down() == Shutdown("restart_intensity")
    assert await other.wait_down() == Shutdown()


async def test_a_temporary_child_costs_nothing_and_is_forgotten(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await pool(stage, max_restarts=0)
    await start_child(root, stage.child("a", restart="temporary"))
    await stage.crash("p/a")
    assert await which_children(root) == ()
    assert root.is_alive()


async def test_two_children_of_one_id_have_two_paths(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await pool(stage)
    paths = [(await start_child(root, stage.child("w"))).path for _ in range(3)]
    assert paths == ["p/w", "p/w~2", "p/w~3"]


async def test_a_failing_restart_is_tried_again(autojump_clock: MockClock, stage: Stage) -> None:
    root = await pool(stage)
    await start_child(root, stage.child("a", inits=[None, Refuse("no"), None]))
    await stage.crash("p/a")
    assert stage.at("p/a").is_alive()


async def test_a_pool_takes_no_significant_child(autojump_clock: MockClock, stage: Stage) -> None:
    root = await pool(stage)
    with pytest.raises(InvalidSpec, match="may not be significant"):
        await start_child(root, stage.child("a", restart="transient", significant=True))


class Deaf(Worker):
    deaf_at = 1

    def __init__(self, counter: list[int]) -> None:
        self.counter = counter

    async def run(self, started: Callable[[], None]) -> None:
        self.counter.append(1)
        if len(self.counter) != self.deaf_at:
            started()
            await trio.sleep_forever()
        with trio.CancelScope(shield=True):
            await trio.sleep(9)


class LaterDeaf(Deaf):
    deaf_at = 2


async def test_a_zombie_keeps_its_place_until_it_has_ended(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """TRI-06, in a pool."""
    root = await pool(stage)
    starts: list[int] = []
    spec = ChildSpec(id="z", start=lambda: Deaf(starts), init_deadline_s=0.5, confirm_s=0.1)
    with pytest.raises(StartFailed):
        await start_child(root, spec)
    (info,) = await which_children(root)
    assert info.state == "zombie"
    assert isinstance(info.ref, ActorRef)
    with pytest.raises(Unstoppable):
        await terminate_child(root, info.ref)
    await trio.sleep(10)
    assert await which_children(root) == ()


async def test_a_restart_that_ends_in_a_zombie_waits_for_its_end(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await pool(stage)
    starts: list[int] = []
    spec = ChildSpec(id="z", start=lambda: LaterDeaf(starts), init_deadline_s=0.5, confirm_s=0.1)
    (await start_child(root, spec)).kill()
    await trio.sleep(5)
    assert [child.state for child in await which_children(root)] == ["zombie"]
    await trio.sleep(6)
    assert [child.state for child in await which_children(root)] == ["running"]
    assert len(starts) == 3


async def test_a_pause_applies_in_a_pool_too(autojump_clock: MockClock, stage: Stage) -> None:
    root = await pool(stage)
    await start_child(root, stage.child("a", spacing_s=1.0))
    await stage.crash("p/a")
    assert stage.find("p/a") is None
    await trio.sleep(1.5)
    assert stage.at("p/a").is_alive()
