"""The demo's play: incidents that call for acts, faults of the cloud, and kills, one by one.

They come one after the other, for a fault of the cloud is for the next request of its kind.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import trio

from autonomics.actors.router_message import tenant_actor
from autonomics.service import Service
from autonomics.telemetry import subscribe, unsubscribe
from autonomics.testing.cloud_fault import CrashesLater, Late, Lost, NeverReady
from autonomics.testing.demo_load import Load
from autonomics.testing.demo_signal import Json, everyday, quota_report, wrap
from autonomics.testing.demo_view import Watcher
from autonomics.testing.local_cloud import LocalCloud

TENANTS: Final = ("acme", "birch", "cedar", "delta", "elm")
LATE_TENANT: Final = TENANTS[-1]
QUOTA: Final = "signals"
QUOTA_LIMIT: Final = 40
WITHIN_S: Final = 15.0
PAUSE_S: Final = 0.3
MAX_INSTANCES: Final = 20
INSTANCES: Final = "run.googleapis.com/container/instance_count"
STARTS: Final = "run.googleapis.com/container/startup_latencies"
FRAGILE: Final = "fragile"
BROKEN: Final = "broken"


def service_name(tenant: str, service: str) -> str:
    """Give the full name of a tenant's service in the cloud."""
    return f"projects/{tenant}/locations/europe-west1/services/{service}"


def set_up(cloud: LocalCloud) -> None:
    """Deploy what the incidents are about."""
    for tenant in TENANTS:
        for short in ("checkout", "search"):
            name = service_name(tenant, short)
            image = FRAGILE if (tenant, short) == ("delta", "search") else "local"
            cloud.add_service(name, image=image, max_instances=MAX_INSTANCES)
            cloud.set_memory_course(name, ["0.52", "0.51", "0.52", "0.51"])


class Play:
    """Everything out of the ordinary, in order."""

    def __init__(  # noqa: PLR0917 - who plays along
        self,
        cloud: LocalCloud,
        clock: Callable[[], datetime],
        service: Service,
        load: Load,
        watcher: Watcher,
        create: Callable[[str], Awaitable[str]],
    ) -> None:
        self._cloud = cloud
        self._clock = clock
        self._service = service
        self._load = load
        self._watcher = watcher
        self._create = create
        self._handles: dict[str, str] = {}

    async def open(self) -> None:
        """Create the tenants, but for the one that comes late."""
        for tenant in TENANTS[:-1]:
            self._handles[tenant] = await self._create(tenant)

    async def run(self) -> None:
        """Play; a step that nothing comes of is left, and missed by who looks at the result."""
        steps = (
            self._create_the_late_tenant,
            self._kill_a_governor,
            self._kill_an_executor_during_an_act,
            self._run_into_the_instance_limit,
            self._start_too_slowly,
            self._kill_a_receipt_writer,
            self._crash_in_a_loop,
            self._run_out_of_memory,
            self._fail_to_roll_out,
            self._run_out_of_quota,
            self._lose_sight_of_an_act,
        )
        for step in steps:
            await trio.sleep(PAUSE_S)
            with trio.move_on_after(WITHIN_S):
                await step()

    # Life and death

    async def _create_the_late_tenant(self) -> None:
        await trio.sleep(1.0)
        self._handles[LATE_TENANT] = await self._create(LATE_TENANT)
        self._watcher.say(f"created {LATE_TENANT}: what was parked for it is replayed")

    async def _kill_a_governor(self) -> None:
        self._kill("birch", "governor")

    async def _kill_a_receipt_writer(self) -> None:
        self._kill("delta", "receipt_writer")

    async def _kill_an_executor_during_an_act(self) -> None:
        """Let an act take its time, and kill its executor in the middle of it."""
        self._cloud.script("run.services.patch", Late(1.5))
        with (
            self._hearing("act.started", "cedar") as begun,
            self._hearing("act.ended", "cedar") as ended,
        ):
            await self._kill_for_memory("cedar", "checkout")
            await begun.wait()
            await trio.sleep(0.2)
            self._kill("cedar", "executor")
            await ended.wait()

    def _kill(self, tenant: str, role: str) -> None:
        ref = self._service.runtime.whereis(tenant_actor(self._handles[tenant], role))
        if ref is not None:
            self._watcher.say(f"killed the {role} of {tenant}")
            self._watcher.kills.append(role)
            ref.kill("killed by the demo")

    # Incidents

    async def _run_into_the_instance_limit(self) -> None:
        name = service_name("birch", "checkout")
        self._cloud.set_course(name, INSTANCES, [MAX_INSTANCES] * 8)
        with self._hearing("act.ended", "birch") as ended:
            await self._push("birch", self._cloud.no_instance_entry(name, "limit-birch", 429))
            await ended.wait()

    async def _start_too_slowly(self) -> None:
        name = service_name("delta", "checkout")
        self._cloud.set_course(name, INSTANCES, [3] * 8)
        self._cloud.set_course(name, STARTS, [[14_000, 15_000]] * 30)
        with self._hearing("act.ended", "delta") as ended:
            await self._push("delta", self._cloud.no_instance_entry(name, "slow-delta", 500))
            await ended.wait()

    async def _crash_in_a_loop(self) -> None:
        """Deploy a revision whose container exits, and report three exits."""
        name = service_name("cedar", "search")
        self._cloud.set_fate(BROKEN, CrashesLater())
        self._cloud.change_elsewhere(name, "template.containers.0.image", BROKEN)
        with self._hearing("act.ended", "cedar") as ended:
            for number in range(3):
                await self._push("cedar", self._cloud.exit_entry(name, f"exit-cedar-{number}"))
            await ended.wait()

    async def _run_out_of_memory(self) -> None:
        with self._hearing("act.ended", "acme") as ended:
            await self._kill_for_memory("acme", "search")
            await ended.wait()

    async def _fail_to_roll_out(self) -> None:
        """Have the act's new revision not come up: it is judged, and rolled back."""
        self._cloud.set_fate(FRAGILE, NeverReady())

        def mend(_: Json) -> None:
            self._cloud.set_fate(FRAGILE, None)

        with (
            self._hearing("act.verified", "delta", then=mend, result="ineffective"),
            self._hearing("act.rolled_back", "delta") as undone,
        ):
            await self._kill_for_memory("delta", "search")
            await undone.wait()

    async def _lose_sight_of_an_act(self) -> None:
        """Break the connection after the effect, and again when it is read back."""
        self._cloud.script("run.services.patch", Lost())
        self._cloud.script("read_back", *[Lost()] * 8)
        with self._hearing("act.ended", "birch", result="unknown") as ended:
            await self._kill_for_memory("birch", "search")
            await ended.wait()

    async def _kill_for_memory(self, tenant: str, service: str) -> None:
        """Report two instances that Cloud Run killed for memory."""
        for number in range(2):
            insert_id = f"oom-{tenant}-{service}-{number}"
            entry = self._cloud.kill_entry(service_name(tenant, service), insert_id=insert_id)
            await self._push(tenant, entry)

    async def _run_out_of_quota(self) -> None:
        """Use four fifths of a quota up, and have the meter say so."""
        tenant = TENANTS[0]
        while True:
            view = await self._service.control.tenant(tenant)
            used, limit = view.quotas[QUOTA] if view else (0, QUOTA_LIMIT)
            if used * 100 >= limit * 80:
                break
            await self._push(tenant, everyday(used, tenant, self._clock()), f"fill-{used}")
        with self._hearing("act.ended", tenant) as ended:
            await self._push(tenant, quota_report(QUOTA, used, limit), "quota-report")
            await ended.wait()

    async def _push(self, tenant: str, body: Json, message_id: str | None = None) -> None:
        message_id = message_id or str(body["insertId"])
        await self._load.push(
            tenant, wrap(json.dumps(body).encode(), message_id, self._clock(), {})
        )

    @contextmanager
    def _hearing(
        self, event: str, tenant: str, *, then: Callable[[Json], None] | None = None, **fields: Any
    ) -> Generator[trio.Event]:
        """Set an event once the tree has said this of a tenant, with these fields."""
        heard = trio.Event()
        wanted = {"tenant": self._handles[tenant], **fields}

        def listen(name: str, given: Any) -> None:
            if name == event and all(given[key] == value for key, value in wanted.items()):
                if then is not None and not heard.is_set():
                    then(dict(given))
                heard.set()

        listener = f"demo-{event}-{tenant}"
        subscribe(listener, listen)
        try:
            yield heard
        finally:
            unsubscribe(listener)
