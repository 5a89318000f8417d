"""Supervisors: start in order, stop in reverse, restart by rule, give up by rule."""

from __future__ import annotations

from autonomics.supervisors.child import ChildState
from autonomics.supervisors.dynamic import DynamicSupervisor
from autonomics.supervisors.partition import (
    PartitionRef,
    PartitionSupervisor,
    partition_address,
    partition_index,
    resize_partitions,
)
from autonomics.supervisors.request import (
    ChildCounts,
    ChildInfo,
    count_children,
    delete_child,
    get_childspec,
    restart_child,
    start_child,
    start_child_from,
    terminate_child,
    which_child,
    which_children,
)
from autonomics.supervisors.spec import (
    AutoShutdown,
    ChildSpec,
    FailedToStartChild,
    Restart,
    Strategy,
)
from autonomics.supervisors.supervisor import Supervisor
from autonomics.supervisors.task import (
    Failed,
    Returned,
    Task,
    TaskEnded,
    TaskOutcome,
    TaskSupervisor,
    TimedOut,
    await_task,
    shutdown_task,
    start_task,
    yield_task,
)
from autonomics.supervisors.task_stream import StreamResult, TaskStream, open_task_stream
from autonomics.supervisors.tree import TreeNode, snapshot
from autonomics.supervisors.window import RestartWindow

__all__ = [
    "AutoShutdown",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "ChildState",
    "DynamicSupervisor",
    "Failed",
    "FailedToStartChild",
    "PartitionRef",
    "PartitionSupervisor",
    "Restart",
    "RestartWindow",
    "Returned",
    "Strategy",
    "StreamResult",
    "Supervisor",
    "Task",
    "TaskEnded",
    "TaskOutcome",
    "TaskStream",
    "TaskSupervisor",
    "TimedOut",
    "TreeNode",
    "await_task",
    "count_children",
    "delete_child",
    "get_childspec",
    "open_task_stream",
    "partition_address",
    "partition_index",
    "resize_partitions",
    "restart_child",
    "shutdown_task",
    "snapshot",
    "start_child",
    "start_child_from",
    "start_task",
    "terminate_child",
    "which_child",
    "which_children",
    "yield_task",
]
