from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import ChildRefused, InvalidSpec, StartFailed
from autonomics.runtime import IGNORE, AlreadyStarted, Crash, Refuse, Shutdown
from autonomics.supervisors import (
    ChildSpec,
    DynamicSupervisor,
    FailedToStartChild,
    Supervisor,
    count_children,
    delete_child,
    get_childspec,
    restart_child,
    start_child,
    terminate_child,
    which_child,
    which_children,
)
from autonomics.testing.scripted import Script
from autonomics.testing.stage import Event, Stage


async def test_children_start_left_to_right_each_after_the_one_before(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S01."""
    await stage.supervise(stage.child("a"), stage.child("b", inits=[0.05]), stage.child("c"))
    assert stage.log == ["init:a", "up:a", "init:b", "up:b", "init:c", "up:c"]


async def test_stop_is_strictly_reverse_and_sequential(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S02: who is asked finds all behind it dead, not only cleaned up."""
    alive: list[list[str]] = []

    async def look() -> None:
        alive.append([ref.path for ref in stage.runtime.living()])

    root = await stage.supervise(
        stage.child("a", ending=look), stage.child("b", ending=0.06), stage.child("c")
    )
    stage.log.clear()
    assert await root.stop() == Shutdown()
    assert stage.log == [
        *("term:c:shutdown", "term:b:shutdown", "term_done:b"),
        *("term:a:shutdown", "term_done:a"),
    ]
    assert alive == [["s", "s/a"]]


class Configured(Supervisor):
    """Decides in `init` what becomes of it."""

    def __init__(self, children: Sequence[ChildSpec], answer: Any) -> None:
        super().__init__(children)
        self.answer = answer

    async def init(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or await super().init()


async def test_a_supervisor_may_decide_not_to_start_at_all(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-S03."""
    with pytest.raises(StartFailed) as failure:
        await stage.runtime.start(lambda: Configured([stage.child("a")], IGNORE), name="nm1")
    assert failure.value.reason == IGNORE
    assert stage.log == []
    assert stage.runtime.whereis("nm1") is None
    assert stage.runtime.living() == ()
    assert events == []  # nothing but the answer tells the starter


async def test_a_child_supervisor_that_does_not_want_to_start_is_kept_without_an_incarnation(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-S03, as a child."""
    answers: list[Any] = [IGNORE, None]
    sub = ChildSpec(id="sub", start=lambda: Configured([stage.child("x")], answers.pop(0)))
    root = await stage.supervise(sub, stage.child("b"))
    assert stage.log == ["init:b", "up:b"]
    info = await which_child(root, "sub")
    assert (info.ref, info.state) == (None, "stopped")
    assert "child.exited" not in dict(events)
    await restart_child(root, "sub")
    assert stage.at("s/sub/x").is_alive()


async def test_a_supervisor_that_can_not_be_made_leaves_its_name_free(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """SUP-S04."""
    error = RuntimeError("boom")

    def boom() -> Supervisor:
        raise error

    for start in (boom, lambda: Configured([stage.child("a")], error)):
        with pytest.raises(StartFailed) as failure:
            await stage.runtime.start(start, name="nm1")
        assert failure.value.reason == Crash(error)
        assert stage.runtime.whereis("nm1") is None
        assert stage.runtime.living() == ()
    assert stage.log == []
    assert events == []  # nothing but the answer tells the starter


@pytest.mark.parametrize("answer", ["zzz", 7, Shutdown()])
async def test_an_init_of_a_supervisor_that_answers_nonsense_is_an_error(
    autojump_clock: MockClock, stage: Stage, answer: object
) -> None:
    """SUP-S05."""
    with pytest.raises(StartFailed) as failure:
        await stage.runtime.start(lambda: Configured([stage.child("a")], answer), name="nm1")
    assert isinstance(failure.value.reason, Crash)
    assert f"got {answer!r}" in str(failure.value.reason.error)
    assert stage.log == []
    assert stage.runtime.whereis("nm1") is None


async def test_a_failing_third_child_rolls_back_in_reverse_and_the_fourth_never_starts(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S06."""
    began = trio.current_time()
    with pytest.raises(StartFailed) as failure:
        await stage.supervise(
            stage.child("a"),
            stage.child("b", ending=0.08),
            stage.child("c", inits=[Refuse("nope")]),
            stage.child("d"),
            name="nm1",
        )
    assert failure.value.reason == Shutdown(FailedToStartChild("c", "nope"))
    assert stage.log == [
        *("init:a", "up:a", "init:b", "up:b", "init:c"),
        *("term:b:shutdown", "term_done:b", "term:a:shutdown"),
    ]
    assert trio.current_time() - began >= 0.08
    assert stage.runtime.whereis("nm1") is None
    assert stage.runtime.living() == ()


async def test_a_failing_start_says_why(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-S07: with the traceback, where something was raised."""
    init_crash, start_crash = ValueError("in init"), ValueError("in start")
    weird: Any = "weird"

    def start() -> Any:
        raise start_crash

    for spec, reason, where in [
        (stage.child("b", inits=[init_crash]), Crash(init_crash), "in init"),
        (ChildSpec(id="b", start=start), Crash(start_crash), "in start"),
        (ChildSpec(id="b", start=lambda: weird), "weird", None),
    ]:
        with pytest.raises(StartFailed) as failure:
            await stage.supervise(spec)
        assert failure.value.reason == Shutdown(FailedToStartChild("b", reason))
        if isinstance(reason, Crash):
            assert f", {where}\n" in "".join(traceback.format_exception(reason.error))


async def test_a_permanent_child_that_ignores_its_start_is_kept_without_an_incarnation(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S08."""
    root = await stage.supervise(stage.child("a", inits=[IGNORE, None]), stage.child("b"))
    first, _ = await which_children(root)
    assert (first.id, first.ref, first.state) == ("a", None, "stopped")
    counts = await count_children(root)
    assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (2, 1, 0, 2)
    ref = await restart_child(root, "a")
    assert ref.is_alive()
    assert (await count_children(root)).active == 2


async def test_a_temporary_child_that_ignores_its_start_is_forgotten(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S09."""
    root = await stage.supervise(
        stage.child("a", restart="temporary", inits=[IGNORE]), stage.child("b")
    )
    assert [child.id for child in await which_children(root)] == ["b"]


def make_spec(**fields: Any) -> ChildSpec:
    return ChildSpec(**fields)


@pytest.mark.parametrize("missing", ["id", "start"])
def test_a_child_spec_needs_an_id_and_a_start_function(missing: str) -> None:
    """SUP-S11."""
    fields: dict[str, Any] = {"id": "a", "start": Script("a")}
    del fields[missing]
    with pytest.raises(TypeError, match=missing):
        make_spec(**fields)


BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    ({"id": ""}, "expected id to be a non-empty string, got ''"),
    ({"id": 7}, "expected id"),
    ({"start": None}, "expected start to be a callable"),
    ({"restart": "x"}, "expected restart to be one of permanent, transient, temporary, got 'x'"),
    ({"grace_s": -1}, "expected grace_s to be zero or more seconds, got -1"),
    ({"grace_s": float("nan")}, "expected grace_s"),
    ({"grace_s": True}, "expected grace_s to be a number of seconds, got True"),
    ({"init_deadline_s": "5"}, "expected init_deadline_s"),
    ({"significant": "x"}, "expected significant to be a boolean, got 'x'"),
    ({"significant": True}, "it is permanent"),
    ({"spends_budget": False}, "it has no spacing_s"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SPECS)
def test_a_bad_child_spec_is_refused(change: dict[str, Any], message: str) -> None:
    """SUP-S11."""
    with pytest.raises(InvalidSpec, match=message):
        make_spec(**{"id": "a", "start": Script("a"), **change})


def test_an_unknown_field_of_a_child_spec_is_refused() -> None:
    """SUP-S11."""
    with pytest.raises(TypeError, match="colour"):
        ChildSpec(id="a", start=Script("a"), colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def test_the_whole_list_is_checked_before_anything_starts(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S11."""
    bad: Any = {"id": "b"}
    twins = (stage.child("ok1"), stage.child("ok1"))
    eager = ChildSpec(id="b", start=Script("b"), restart="transient", significant=True)
    for children in [(stage.child("ok1"), bad), twins, (stage.child("ok1"), eager)]:
        with pytest.raises(StartFailed) as failure:
            await stage.supervise(*children)
        assert isinstance(failure.value.reason, Crash)
        assert isinstance(failure.value.reason.error, InvalidSpec)
    assert stage.log == []


BAD_FLAGS: list[dict[str, Any]] = [
    {"strategy": "x"},
    {"max_restarts": -1},
    {"max_restarts": float("inf")},
    {"within_s": 0},
    {"within_s": float("inf")},
    {"within_s": "5"},
    {"auto_shutdown": "x"},
    {"max_failed_starts": 0},
    {"finish_within_s": -1},
]


@pytest.mark.parametrize("flags", BAD_FLAGS)
def test_a_bad_supervisor_flag_is_refused_by_name(flags: dict[str, Any]) -> None:
    """SUP-S12."""
    with pytest.raises(InvalidSpec, match=f"expected {next(iter(flags))} to be"):
        Supervisor([], **flags)


def test_a_dynamic_supervisor_knows_no_auto_shutdown() -> None:
    """SUP-S12."""
    with pytest.raises(TypeError, match="auto_shutdown"):
        DynamicSupervisor(auto_shutdown="any_significant")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    with pytest.raises(InvalidSpec, match="expected max_children"):
        DynamicSupervisor(max_children=-1)


async def test_every_start_and_every_restart_is_told_and_an_operators_start_is_no_restart(
    autojump_clock: MockClock, stage: Stage, events: list[Event]
) -> None:
    """RPT-02: there are no levels here; who wants only restarts listens to `child.restarted`."""
    root = await stage.supervise(stage.child("a"), stage.child("b"))
    await start_child(root, stage.child("d"))
    progress = ("actor.started", "child.restarted")
    told = [(name, fields["path"]) for name, fields in events if name in progress]
    assert told == [("actor.started", path) for path in ("s/a", "s/b", "s", "s/d")]
    events.clear()
    await stage.crash("s/a")
    assert {name: fields for name, fields in events if name in progress} == {
        "actor.started": {"path": "s/a", "name": None, "kind": "actor"},
        "child.restarted": {"path": "s", "child": "a", "restarts": 1},
    }


async def test_what_is_not_said_has_a_default(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-S13: Elixir's three restarts in five seconds, not OTP's one."""
    a, b = ChildSpec(id="a", start=stage.script("a")), stage.sub("b")
    root = await stage.runtime.start(lambda: Supervisor([a, b]), name="s")
    spec = await get_childspec(root, "a")
    assert (spec.restart, spec.grace_s, spec.significant) == ("permanent", 5.0, False)
    assert [info.kind for info in await which_children(root)] == ["actor", "supervisor"]
    assert stage.at("s/b").incarnation.grace_s == math.inf
    behaviour = root.incarnation.behaviour
    assert isinstance(behaviour, Supervisor)
    assert (behaviour.strategy, behaviour.auto_shutdown) == ("one_for_one", "never")
    assert (behaviour.window.max_restarts, behaviour.window.within_s) == (3, 5.0)
    for _ in range(3):
        await stage.crash("s/a")
    assert root.is_alive()
    await stage.crash("s/a")
    assert await root.wait_down() == Shutdown("restart_intensity")


async def test_a_slow_init_of_a_new_child_keeps_the_supervisor_from_answering(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S15: for no longer than the child's `init_deadline_s`."""
    root = await stage.supervise()
    for init_s, blocked_s in [(0.3, 0.3), (60.0, 0.5)]:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _(init_s: float = init_s) -> None:
                with suppress(StartFailed):
                    await start_child(root, stage.child("a", inits=[init_s], init_deadline_s=0.5))

            await trio.sleep(0.05)
            await which_children(root)
            assert trio.current_time() - began == pytest.approx(blocked_s)
        with suppress(ChildRefused):
            await terminate_child(root, "a")
            await delete_child(root, "a")


async def test_the_second_supervisor_of_a_name_starts_no_child(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S14."""
    first = await stage.supervise(name="nm2")
    with pytest.raises(StartFailed) as failure:
        await stage.supervise(stage.child("a"), name="nm2")
    assert failure.value.reason == AlreadyStarted("nm2", "nm2")
    assert stage.log == []
    assert first.is_alive()


async def test_a_rollback_respects_the_grace(autojump_clock: MockClock, stage: Stage) -> None:
    """SUP-S16."""
    began = trio.current_time()
    with pytest.raises(StartFailed, match="failed|FailedToStartChild"):
        await stage.supervise(
            stage.child("a", ending=5, grace_s=0.15), stage.child("b", inits=[Refuse("nope")])
        )
    assert 0.15 <= trio.current_time() - began < 1


async def test_a_nested_supervisor_that_fails_fails_its_parent(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S17."""
    with pytest.raises(StartFailed) as failure:
        await stage.supervise(
            stage.child("a"),
            stage.sub("sub", stage.child("x"), stage.child("y", inits=[Refuse("nope")])),
            stage.child("b"),
        )
    inner = Shutdown(FailedToStartChild("y", "nope"))
    assert failure.value.reason == Shutdown(FailedToStartChild("sub", inner))
    terminations = [line for line in stage.log if line.startswith("term")]
    assert terminations == ["term:x:shutdown", "term:a:shutdown"]
    assert "init:b" not in stage.log
