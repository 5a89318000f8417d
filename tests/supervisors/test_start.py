from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import InvalidSpec, StartFailed
from autonomics.runtime import IGNORE, AlreadyStarted, Crash, Refuse, Shutdown
from autonomics.supervisors import (
    ChildSpec,
    DynamicSupervisor,
    FailedToStartChild,
    Supervisor,
    count_children,
    restart_child,
    which_children,
)
from autonomics.testing.scripted import Script
from autonomics.testing.stage import Stage


async def test_children_start_left_to_right_each_after_the_one_before(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S01."""
    await stage.supervise(stage.child("a"), stage.child("b", inits=[0.05]), stage.child("c"))
    assert stage.log == ["init:a", "up:a", "init:b", "up:b", "init:c", "up:c"]


async def test_stop_is_strictly_reverse_and_sequential(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S02."""
    root = await stage.supervise(stage.child("a"), stage.child("b", ending=0.06), stage.child("c"))
    stage.log.clear()
    assert await root.stop() == Shutdown()
    assert stage.log == ["term:c:shutdown", "term:b:shutdown", "term_done:b", "term:a:shutdown"]


async def test_a_supervisor_that_can_not_be_made_leaves_its_name_free(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """SUP-S04."""
    error = RuntimeError("boom")

    def boom() -> Supervisor:
        raise error

    with pytest.raises(StartFailed) as failure:
        await stage.runtime.start(boom, name="nm1")
    assert failure.value.reason == Crash(error)
    assert stage.runtime.whereis("nm1") is None
    assert stage.runtime.living() == ()


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
    """SUP-S07."""
    error = ValueError("init crash")
    weird: Any = "weird"

    def start_crash() -> Any:
        raise error

    for spec, reason in [
        (stage.child("b", inits=[error]), Crash(error)),
        (ChildSpec(id="b", start=start_crash), Crash(error)),
        (ChildSpec(id="b", start=lambda: weird), "weird"),
    ]:
        with pytest.raises(StartFailed) as failure:
            await stage.supervise(spec)
        assert failure.value.reason == Shutdown(FailedToStartChild("b", reason))


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
        DynamicSupervisor(auto_shutdown="any_significant")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(InvalidSpec, match="expected max_children"):
        DynamicSupervisor(max_children=-1)


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
