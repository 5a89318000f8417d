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
    terminate_child,
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
from autonomics.supervisors.tree import TreeNode, snapshot
from autonomics.supervisors.window import RestartWindow

__all__ = [
    "AutoShutdown",
    "ChildCounts",
    "ChildInfo",
    "ChildSpec",
    "ChildState",
    "DynamicSupervisor",
    "FailedToStartChild",
    "PartitionRef",
    "PartitionSupervisor",
    "Restart",
    "RestartWindow",
    "Strategy",
    "Supervisor",
    "TreeNode",
    "count_children",
    "delete_child",
    "get_childspec",
    "partition_address",
    "partition_index",
    "resize_partitions",
    "restart_child",
    "snapshot",
    "start_child",
    "terminate_child",
    "which_children",
]
