"""What the functions of supervisors take and give; see actors.py."""

from __future__ import annotations

from functools import partial
from typing import Any, assert_type

import attrs

from autonomics.runtime import Actor, ActorRef, Call, NamedRef, ReplyTo, Runtime
from autonomics.supervisors import (
    ChildCounts,
    ChildInfo,
    ChildSpec,
    DynamicSupervisor,
    PartitionRef,
    PartitionSupervisor,
    Supervisor,
    TaskSupervisor,
    await_task,
    count_children,
    open_task_stream,
    partition_address,
    resize_partitions,
    start_child,
    start_child_from,
    start_task,
    terminate_child,
    which_children,
)


@attrs.frozen
class GetCount(Call[int]):
    pass


@attrs.frozen
class GetSecret(Call[bytes]):
    pass


class Counter(Actor):
    async def handle_call(self, message: GetCount, reply_to: ReplyTo) -> object:
        return 1

    async def handle_cast(self, message: int) -> None:
        pass


class Open(Actor):
    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        return 1


def make_counter(first: int, second: str) -> ChildSpec[Counter]:
    return ChildSpec(id=second, start=Counter)


def make_tree() -> Supervisor:
    specs = [ChildSpec(id="counter", start=Counter), ChildSpec(id="open", start=Open)]
    listed: list[ChildSpec] = [ChildSpec(id="counter", start=Counter)]
    Supervisor(listed)
    return Supervisor(specs)


async def start_and_list_children(
    supervisor: ActorRef[Supervisor], pool: NamedRef[DynamicSupervisor]
) -> None:
    spec = ChildSpec(id="counter", start=Counter)
    assert_type(spec, ChildSpec[Counter])
    ref = await start_child(supervisor, spec)
    assert_type(ref, ActorRef[Counter])
    assert_type(await ref.call(GetCount()), int)
    await ref.call(GetSecret())  # type: ignore[arg-type]
    assert_type(
        await start_child(pool, ChildSpec(id="c", start=partial(Counter))), ActorRef[Counter]
    )
    assert_type(await which_children(supervisor), tuple[ChildInfo, ...])
    assert_type(await count_children(pool), ChildCounts)
    await terminate_child(pool, ref)
    await terminate_child(pool, 3)  # type: ignore[arg-type]
    await start_child(supervisor, Counter)  # type: ignore[arg-type]
    ChildSpec(id="number", start=int)  # type: ignore[type-var]


async def send_to_a_supervisor(supervisor: ActorRef[Supervisor]) -> None:
    await supervisor.call(GetCount())  # type: ignore[arg-type]
    supervisor.cast("anything")  # type: ignore[arg-type]


async def take_a_plain_actor_for_a_supervisor(
    counter: ActorRef[Counter], open_actor: NamedRef[Open]
) -> None:
    await which_children(counter)  # type: ignore[arg-type]
    await which_children(open_actor)  # type: ignore[arg-type]
    await start_child(counter, ChildSpec(id="counter", start=Counter))  # type: ignore[arg-type]
    await start_task(counter, work, 1)  # type: ignore[arg-type]
    await resize_partitions(open_actor, 2)  # type: ignore[arg-type]


async def start_from_a_template(
    pool: ActorRef[DynamicSupervisor], supervisor: ActorRef[Supervisor]
) -> None:
    assert_type(await start_child_from(pool, make_counter, "one"), ActorRef[Counter])
    await start_child_from(pool, make_counter, 1)  # type: ignore[arg-type]
    await start_child_from(supervisor, make_counter, "one")  # type: ignore[arg-type]


async def run_tasks(
    tasks: ActorRef[TaskSupervisor], pool: ActorRef[DynamicSupervisor], anybody: ActorRef
) -> None:
    task = await start_task(tasks, work, 1)
    assert_type(await await_task(task), str)
    await task.ref.call(GetCount())  # type: ignore[misc, arg-type]
    task.ref.cast(1)  # type: ignore[misc, arg-type]
    await which_children(tasks)
    await start_task(anybody, work, 1)
    await start_task(tasks, work, "1")  # type: ignore[arg-type]
    await start_task(pool, work, 1)  # type: ignore[arg-type]
    async with open_task_stream(tasks, work, [1, 2], max_concurrency=2) as results:
        async for result in results:
            assert_type(result.item, int)
    open_task_stream(pool, work, [1, 2], max_concurrency=2)  # type: ignore[arg-type]


async def work(number: int) -> str:
    return str(number)


async def send_to_a_partition(runtime: Runtime, supervisor: ActorRef[Supervisor]) -> None:
    partitioned = await runtime.start(
        lambda: PartitionSupervisor(lambda n: ChildSpec(id=str(n), start=Counter), partitions=2)
    )
    assert_type(partitioned, ActorRef[PartitionSupervisor[Counter]])
    address = partition_address(partitioned, "key")
    assert_type(address, PartitionRef[Counter])
    assert_type(await address.call(GetCount()), int)
    await address.call(GetSecret())  # type: ignore[arg-type]
    address.cast(1)
    address.cast("one")  # type: ignore[arg-type]
    await resize_partitions(partitioned, 1)
    partition_address(supervisor, "key")  # type: ignore[arg-type]
