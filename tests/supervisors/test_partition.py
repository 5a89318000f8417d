from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import (
    ChildRefused,
    InvalidInput,
    InvalidSpec,
    NoSuchActor,
    StartFailed,
    Unstoppable,
)
from autonomics.runtime import ActorRef, Continue, Down, Ignore, Key, NoProcess, Refuse, ReplyTo
from autonomics.supervisors import (
    ChildCounts,
    PartitionSupervisor,
    count_children,
    delete_child,
    partition_address,
    partition_index,
    resize_partitions,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from autonomics.testing.scripted import Ask, ScriptedActor
from autonomics.testing.stage import Stage


async def path_of(actor: ScriptedActor, _: ReplyTo) -> object:
    return actor.path


async def pool(stage: Stage, partitions: int = 3, **flags: Any) -> ActorRef:
    specs = [stage.child(f"w{number}", **flags) for number in range(partitions)]
    return await stage.runtime.start(
        lambda: PartitionSupervisor(specs.__getitem__, partitions=partitions), name="p"
    )


async def test_a_key_always_leads_to_the_same_partition(
    autojump_clock: MockClock, stage: Stage
) -> None:
    """PAR-01."""
    root = await pool(stage)
    paths: list[str] = [
        await partition_address(root, key).call(Ask(path_of)) for key in (0, 1, 2, 3, -1)
    ]
    assert paths == ["p/0", "p/1", "p/2", "p/0", "p/1"]
    found: set[str] = {
        await partition_address(stage.runtime.named("p"), "tenant-7").call(Ask(path_of))
        for _ in range(20)
    }
    assert len(found) == 1


async def test_partitions_are_children_like_others(autojump_clock: MockClock, stage: Stage) -> None:
    root = await pool(stage)
    assert [child.id for child in await which_children(root)] == ["0", "1", "2"]
    assert await count_children(root) == ChildCounts(3, 3, 0, 3)
    assert stage.log == [f"{step}:w{number}" for number in range(3) for step in ("init", "up")]
    await stage.crash("p/1")
    assert stage.log.count("init:w1") == 2
    assert stage.log.count("init:w0") == stage.log.count("init:w2") == 1
    assert await partition_address(root, 1).call(Ask(path_of)) == "p/1"


async def test_an_address_survives_restarts_and_knows_when_nobody_serves(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await pool(stage)
    by_name, by_ref = partition_address(stage.runtime.named("p"), 4), partition_address(root, 4)
    assert by_name.is_alive()
    by_name.cast("hello")
    await wait_all_tasks_blocked()
    await terminate_child(root, "1")
    assert not by_name.is_alive()
    by_name.cast("dropped")
    assert stage.runtime.statistics().dead_letters == 1
    with pytest.raises(NoSuchActor, match=r"nobody serves the partition of p\[4\]"):
        await by_ref.call(Ask(path_of))
    await restart_child(root, "1")
    assert await by_name.call(Ask(path_of)) == "p/1"
    await root.stop()
    assert not by_name.is_alive()
    assert not by_ref.is_alive()
    await pool(stage)
    assert await by_name.call(Ask(path_of)) == "p/1"
    assert not by_ref.is_alive()
    assert repr(by_name) == "PartitionRef(name='p[4]')"
    assert partition_address(root, ("tenant", "7")).name == "p[tenant/7]"
    assert "hello" in stage.log


async def test_a_partition_can_be_monitored_by_its_key(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root, watcher = await pool(stage), await stage.runtime.start(stage.script("w"))
    address = partition_address(root, "k")

    async def watch(_: ScriptedActor, __: ReplyTo) -> object:
        return address.monitor()

    await watcher.call(Ask(watch))
    await root.stop()
    await watcher.call(Ask(watch))
    await wait_all_tasks_blocked()
    downs = [message for message in stage.log if isinstance(message, Down)]
    assert [down.ref for down in downs] == [address, address]
    assert downs[1].reason == NoProcess()


async def test_no_partition_comes_or_goes_for_good(autojump_clock: MockClock, stage: Stage) -> None:
    root = await pool(stage)
    for act in (start_child(root, stage.child("x")), delete_child(root, "1")):
        with pytest.raises(ChildRefused) as refusal:
            await act
        assert refusal.value.rule == "partitioned"
    for constraint in (0, True, 1.5):
        with pytest.raises(InvalidSpec, match="partitions to be an integer of at least 1"):
            PartitionSupervisor(lambda _: stage.child("w"), partitions=constraint)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidSpec, match="may not be temporary"):
        PartitionSupervisor(lambda _: stage.child("w", restart="temporary"), partitions=1)


async def test_a_pool_is_resized_within_its_number_at_the_start(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root, three = await pool(stage), partition_address(stage.runtime.named("p"), 5)
    await resize_partitions(root, 1)
    assert stage.log[-2:] == ["term:w2:shutdown", "term:w1:shutdown"]
    assert await count_children(root) == ChildCounts(3, 1, 0, 3)
    assert await three.call(Ask(path_of)) == "p/0"
    await resize_partitions(root, 1)
    await resize_partitions(root, 3)
    assert stage.log[-4:] == ["init:w1", "up:w1", "init:w2", "up:w2"]
    assert await three.call(Ask(path_of)) == "p/2"
    for size in (0, 4, True):
        with pytest.raises(InvalidInput, match="partitions to be an integer from 1 to 3"):
            await resize_partitions(root, size)


async def test_a_key_is_led_to_no_partition_that_did_not_start(
    autojump_clock: MockClock, stage: Stage
) -> None:
    specs = [stage.child("w0"), stage.child("w1"), stage.child("w2", inits=[None, Refuse("no")])]
    root = await stage.runtime.start(
        lambda: PartitionSupervisor(specs.__getitem__, partitions=3), name="p"
    )
    await resize_partitions(root, 1)
    with pytest.raises(StartFailed, match="no"):
        await resize_partitions(root, 3)
    assert await partition_address(root, 2).call(Ask(path_of)) == "p/0"
    assert await partition_address(root, 3).call(Ask(path_of)) == "p/1"


async def test_a_partition_that_does_not_end_is_reported_and_the_others_are_stopped(
    autojump_clock: MockClock, stage: Stage
) -> None:
    async def stick() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    specs = [
        stage.child("w0"),
        stage.child("w1"),
        stage.child("w2", ending=stick, grace_s=0.1, confirm_s=0.1),
    ]
    root = await stage.runtime.start(
        lambda: PartitionSupervisor(specs.__getitem__, partitions=3), name="p"
    )
    with pytest.raises(Unstoppable, match="p: a partition did not end"):
        await resize_partitions(root, 1)
    assert [child.state for child in await which_children(root)] == ["running", "stopped", "zombie"]
    await trio.sleep(5)
    assert await count_children(root) == ChildCounts(3, 1, 0, 3)


async def test_a_surplus_partition_is_not_brought_back_when_its_zombie_ends(
    autojump_clock: MockClock, stage: Stage
) -> None:
    class Stuck(ScriptedActor):
        async def init(self) -> Continue | Ignore | Refuse | None:
            if self.script.starts > 1:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
            return await super().init()

    limits: Any = {"init_deadline_s": 0.1, "confirm_s": 0.1, "grace_s": 0.1}
    specs = [stage.child("w0"), stage.child("w1", **limits)]
    stage.scripts["w1"].actor = Stuck
    root = await stage.runtime.start(
        lambda: PartitionSupervisor(specs.__getitem__, partitions=2), name="p"
    )
    await stage.crash("p/1")
    await trio.sleep(1)
    assert [child.state for child in await which_children(root)] == ["running", "zombie"]
    with pytest.raises(Unstoppable):
        await resize_partitions(root, 1)
    await trio.sleep(10)
    assert [child.state for child in await which_children(root)] == ["running", "stopped"]
    assert stage.scripts["w1"].starts == 2


async def test_only_a_partition_supervisor_has_partitions(
    autojump_clock: MockClock, stage: Stage
) -> None:
    root = await stage.supervise(stage.child("w"))
    with pytest.raises(InvalidInput, match="supervisor to be a PartitionSupervisor"):
        await partition_address(root, "k").call(Ask(path_of))
    for key in (True, 1.0, None, ()):
        with pytest.raises(InvalidInput, match="key to be"):
            partition_address(root, key)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


KNOWN: dict[Key, int] = {"tenant-7": 5, "a": 4, ("a", "b"): 0, "\ud800": 1, "\u00e9": 4}


def test_routing_is_the_same_in_every_version_and_process() -> None:
    """PAR-01: a change of these numbers would lead every user's keys elsewhere."""
    assert {key: partition_index(key, 7) for key in KNOWN} == KNOWN
    program = (
        "from autonomics.supervisors import partition_index\n"
        "print([partition_index(f'tenant-{n}', 13) for n in range(50)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{[partition_index(f'tenant-{n}', 13) for n in range(50)]}\n"}


@pytest.mark.parametrize("partitions", [2, 3, 8, 16])
def test_keys_are_spread_evenly(partitions: int) -> None:
    counts = Counter(partition_index(f"tenant-{n}", partitions) for n in range(10_000))
    assert len(counts) == partitions
    assert max(counts.values()) < 1.25 * min(counts.values())


@given(
    st.one_of(st.integers(), st.text(min_size=1), st.lists(st.text(), min_size=1).map(tuple)),
    st.integers(1, 100),
)
def test_every_key_has_a_partition(key: Any, partitions: int) -> None:
    assert 0 <= partition_index(key, partitions) < partitions
    assert partition_index(key, 1) == 0
