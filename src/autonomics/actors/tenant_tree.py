"""One tenant's part of the tree: whoever stands below depends on all above."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from autonomics.actors.effect_registry import EffectRegistry
from autonomics.actors.executor import Executor
from autonomics.actors.gate_watchdog import GateWatchdog
from autonomics.actors.governor import Governor
from autonomics.actors.ledger import Ledger
from autonomics.actors.line import Line
from autonomics.actors.platform_effect import PlatformEffector
from autonomics.actors.receipt_view import origin_of
from autonomics.actors.receipt_writer import ReceiptWriter
from autonomics.actors.router import Router
from autonomics.actors.router_message import tenant_actor
from autonomics.actors.source import Source
from autonomics.recipes.effector import Effector, FactReader
from autonomics.recipes.index import RecipeSet
from autonomics.runtime import Address, Behaviour
from autonomics.supervisors import ChildSpec, DynamicSupervisor, Supervisor


@attrs.frozen(kw_only=True)
class TenantRoom:
    """What all tenants share: where the others are, what recipes there are, who can act."""

    name: Callable[[str], Address]
    origin_host: str
    ledger: Address[Ledger]
    line: Address[Line]
    router: Address[Router]
    recipes: RecipeSet
    monitor: tuple[str, ...]
    effectors: dict[str, Effector]
    readers: dict[str, FactReader]
    source: Source
    open_signals: int
    verify_wait_cap_s: float


def tenant_supervisor(handle: str, room: TenantRoom) -> Supervisor:
    """Build the supervisor of one tenant, its actors in the order of who depends on whom."""

    def address(role: str) -> Address:
        return room.name(tenant_actor(handle, role))

    writer: Address[ReceiptWriter] = address("receipt_writer")
    watchdog: Address[GateWatchdog] = address("gate_watchdog")
    attempts: Address[DynamicSupervisor] = address("attempts")
    executor: Address[Executor] = address("executor")
    governor: Address[Governor] = address("governor")
    clock = room.source.clock
    platform = PlatformEffector(handle, router=room.router, governor=governor, clock=clock)
    registry = EffectRegistry(
        {**room.effectors, "platform": platform}, {**room.readers, "platform": platform}, clock
    )

    def spec(role: str, start: Callable[[], Behaviour]) -> ChildSpec:
        return ChildSpec(id=role, name=tenant_actor(handle, role), start=start)

    return Supervisor(
        [
            spec(
                "receipt_writer",
                lambda: ReceiptWriter(
                    origin_of(room.origin_host, handle),
                    ledger=room.ledger,
                    source=room.source,
                    open_signals=room.open_signals,
                ),
            ),
            spec(
                "gate_watchdog",
                lambda: GateWatchdog(handle, writer=writer, line=room.line),
            ),
            spec("attempts", DynamicSupervisor),
            spec(
                "executor",
                lambda: Executor(
                    handle,
                    writer=writer,
                    watchdog=watchdog,
                    attempts=attempts,
                    effector=registry,
                    reader=registry,
                    source=room.source,
                ),
            ),
            spec(
                "governor",
                lambda: Governor(
                    handle,
                    writer=writer,
                    watchdog=watchdog,
                    executor=executor,
                    router=room.router,
                    recipes=room.recipes,
                    monitor=room.monitor,
                    source=room.source,
                    verify_wait_cap_s=room.verify_wait_cap_s,
                ),
            ),
        ],
        strategy="rest_for_one",
    )
