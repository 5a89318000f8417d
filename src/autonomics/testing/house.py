"""A whole control plane in virtual time: a store that can fail, a cloud that can, and its tree.

    async with open_house() as house:           # under trio.testing.MockClock or autojump_clock
        await house.create("acme")
        decided = await house.say("acme", {"kind": "nothing special"})
        house.kill("acme", "governor")
        await house.restart()

Nothing in it reads the machine's clock or randomness, and nothing runs on a thread: the same steps
give the same receipts. The medium outlives every restart; the process around it is this one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import attrs
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from autonomics.actors.message import (
    Accepted,
    Decided,
    Inbound,
    Principal,
    ReceiptView,
    TenantCreated,
    TenantView,
)
from autonomics.actors.router_message import tenant_actor
from autonomics.actors.source import Source
from autonomics.actors.tree_control_plane import TreeControlPlane
from autonomics.config import Settings, load_settings
from autonomics.receipts import canonical
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.library import parse_library
from autonomics.runtime import ActorRef, ExitReason
from autonomics.service import Parts, Service, open_service, read_library
from autonomics.storage.memory import MemoryMedium
from autonomics.supervisors import ChildSpec, TreeNode
from autonomics.testing.faulty_store import FaultyStore, StoreFaults
from autonomics.testing.local_cloud import LocalCloud
from autonomics.testing.local_reach import reach_cloud

BEGIN: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
SOURCE: Final = "house"
PAGE: Final = 500
SETTLE_STEP_S: Final = 0.5


def virtual_now() -> datetime:
    """Give the present of trio's clock, as a date."""
    return BEGIN + timedelta(seconds=trio.current_time())


def count_bytes(seed: int) -> Callable[[int], bytes]:
    """Give bytes that differ at each call and are the same in each run."""
    numbers = itertools.count()
    return lambda size: hashlib.shake_256(b"%d %d" % (seed, next(numbers))).digest(size)


class SeededSigner:
    """`Signer` with a key that follows from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(
            hashlib.sha256(b"signer %d" % seed).digest()
        )

    @property
    def public_key(self) -> bytes:
        """The public half."""
        return self._key.public_key().public_bytes_raw()

    async def sign(self, message: bytes) -> bytes:
        """Sign."""
        return self._key.sign(message)


@attrs.define(kw_only=True)
class House:
    """A control plane that can be closed and opened again on what its store has kept."""

    settings: Settings
    medium: MemoryMedium
    faults: StoreFaults
    cloud: LocalCloud
    signer: SeededSigner
    source: Source
    recipes: RecipeSet
    ingress: Callable[[TreeControlPlane], list[ChildSpec]]
    handles: dict[str, str] = attrs.field(factory=dict[str, str], init=False)
    fell: ExitReason | None = attrs.field(default=None, init=False)
    _nursery: trio.Nursery = attrs.field(alias="nursery")
    _service: Service | None = attrs.field(default=None, init=False)
    _leave: trio.Event = attrs.field(factory=trio.Event, init=False)
    _left: trio.Event = attrs.field(factory=trio.Event, init=False)
    _messages: itertools.count[int] = attrs.field(factory=itertools.count, init=False)

    # The house itself

    async def open(self) -> None:
        """Start the tree; whatever its start raises is raised here."""
        self._leave, self._left = trio.Event(), trio.Event()
        self._service = await self._nursery.start(self._live)

    async def close(self) -> None:
        """Stop the tree in order."""
        self._leave.set()
        await self._left.wait()
        self._service = None

    async def restart(self, *, cut: bool = False) -> None:
        """Close and open again; `cut` loses what is not durable yet, as a power cut does."""
        was_away = self.faults.is_away
        self.faults.is_away = was_away or cut
        await self.close()
        self.faults.is_away = was_away
        await self.open()

    async def _live(self, task_status: trio.TaskStatus[Service]) -> None:
        reach = reach_cloud(self.cloud, self.source.clock)
        parts = Parts(
            settings=self.settings,
            open_store=lambda: FaultyStore(self.medium, self.faults),
            signer=self.signer,
            source=self.source,
            recipes=self.recipes,
            effectors=reach.effectors,
            readers=reach.readers,
            ingress=self.ingress,
        )
        try:
            async with open_service(parts) as service:
                task_status.started(service)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, service.root)
                    await self._leave.wait()
                    nursery.cancel_scope.cancel(reason="the house is being closed")
        finally:
            self._left.set()

    async def _watch(self, root: ActorRef) -> None:
        self.fell = await root.wait_down()

    @property
    def service(self) -> Service:
        """The running service."""
        assert self._service is not None, "the house is closed"
        return self._service

    @property
    def control(self) -> TreeControlPlane:
        """The way in."""
        return self.service.control

    # What happens to it

    def find(self, path: str) -> ActorRef | None:
        """Find a living actor by the end of its path, such as `disk/store_writer`."""
        for ref in self.service.runtime.living():
            if ref.path == path or ref.path.endswith(f"/{path}"):
                return ref
        return None

    def kill_path(self, path: str) -> bool:
        """Kill an actor by the end of its path; False if nobody lives there now."""
        ref = self.find(path)
        if ref is not None:
            ref.kill("killed by a test")
        return ref is not None

    def kill(self, tenant_id: str, role: str) -> bool:
        """Kill one actor of a tenant."""
        ref = self.service.runtime.whereis(tenant_actor(self.handles[tenant_id], role))
        if ref is not None:
            ref.kill("killed by a test")
        return ref is not None

    async def settle(self, within_s: float = 120.0) -> bool:
        """Wait until nobody has anything left to do; False if that takes too long."""
        deadline = trio.current_time() + within_s
        while trio.current_time() < deadline:
            await trio.sleep(SETTLE_STEP_S)
            tree = await self.control.tree()
            if is_idle(tree):
                return True
        return False

    # What it is told

    async def create(
        self, tenant_id: str, limits: Mapping[str, int] | None = None
    ) -> TenantCreated:
        """Create a tenant on the standard plan, with two services in the cloud."""
        made = await self.control.create_tenant(
            tenant_id, tenant_id.title(), "standard", "house", limits
        )
        self.handles[tenant_id] = made.tenant.handle
        for short in ("checkout", "search"):
            name = service_name(tenant_id, short)
            self.cloud.add_service(name)
            self.cloud.set_memory_course(name, ["0.52", "0.51", "0.52", "0.51"])
        return made

    def inbound(
        self, tenant_id: str, body: object, message_id: str | None = None, **more: Any
    ) -> Inbound:
        """Give a message as a door would hand it over; a new id unless one is given."""
        number = next(self._messages)
        return Inbound(
            tenant_id=tenant_id,
            source=more.pop("source", SOURCE),
            message_id=f"m-{number}" if message_id is None else message_id,
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            principal="house",
            **more,
        )

    async def tell(self, tenant_id: str, body: object, message_id: str | None = None) -> Accepted:
        """Hand over a message; the answer is its durable receipt."""
        return await self.control.submit(self.inbound(tenant_id, body, message_id))

    async def say(self, tenant_id: str, body: object, message_id: str | None = None) -> Decided:
        """Hand over a message and wait for its decision."""
        return await self.control.submit_and_wait(self.inbound(tenant_id, body, message_id), 60.0)

    def oom(self, tenant_id: str, number: int, service: str = "checkout") -> dict[str, Any]:
        """Give the log entry of an instance that was killed for memory now."""
        insert_id = f"oom-{tenant_id}-{service}-{number}"
        return self.cloud.kill_entry(service_name(tenant_id, service), insert_id=insert_id)

    async def run_out_of_memory(self, tenant_id: str, service: str = "checkout") -> Decided:
        """Report two kills for memory a second apart: the second one calls for an act."""
        await self.say(tenant_id, self.oom(tenant_id, 0, service))
        await trio.sleep(1.0)
        return await self.say(tenant_id, self.oom(tenant_id, 1, service))

    async def tenant(self, tenant_id: str) -> TenantView:
        """Look at a tenant that is there."""
        found = await self.control.tenant(tenant_id)
        assert found is not None, f"there is no tenant {tenant_id}"
        return found

    async def holder(self, secret: str) -> Principal:
        """Find who holds a key that somebody holds."""
        found = await self.control.authenticate(secret)
        assert found is not None, "nobody holds this key"
        return found

    # What it has written

    async def log(self, name: str) -> list[ReceiptView]:
        """Read a whole log: a tenant's by its id, or `platform`."""
        log = self.handles.get(name, name)
        found: list[ReceiptView] = []
        while page := await self.control.receipts(log, len(found), PAGE):
            found += page
        return found

    async def kinds(self, name: str) -> list[str]:
        """Read the kinds of a log's receipts, in order."""
        return [view.kind for view in await self.log(name)]

    async def payloads(self, name: str, kind: str) -> list[dict[str, Any]]:
        """Read the payloads of one kind, in order."""
        return [payload_of(view) for view in await self.log(name) if view.kind == kind]


def payload_of(view: ReceiptView) -> dict[str, Any]:
    """Decode a receipt's payload."""
    assert view.payload is not None, f"{view.id} was erased"
    return cast("dict[str, Any]", canonical.decode(view.payload))


def service_name(tenant_id: str, service: str = "checkout") -> str:
    """Give the full name of a tenant's service in the cloud."""
    return f"projects/{tenant_id}/locations/europe-west1/services/{service}"


def is_idle(node: TreeNode) -> bool:
    """Tell whether nobody in the tree has mail, an undecided signal or an open act."""
    found = node.detail
    detail = cast("dict[str, object]", found) if isinstance(found, dict) else {}
    is_open = any(detail.get(name) for name in ("undecided", "open_acts", "open", "running"))
    if is_open or node.mailbox_depth or node.state not in ("running", "stopped"):
        return False
    return all(is_idle(child) for child in node.children)


@asynccontextmanager
async def open_house(
    *,
    seed: int = 0,
    ingress: Callable[[TreeControlPlane], list[ChildSpec]] | None = None,
    **settings: object,
) -> AsyncGenerator[House]:
    """Open a house for the length of an `async with` block; `settings` are those of config.py."""
    values = {"store": "memory", "checkpoint_every_s": 60.0, **settings}
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        house = House(
            settings=load_settings(values, environ={}),
            medium=MemoryMedium(),
            faults=StoreFaults(),
            cloud=LocalCloud(virtual_now),
            signer=SeededSigner(seed),
            source=Source(virtual_now, trio.current_time, count_bytes(seed)),
            recipes=shipped_recipes(),
            ingress=(lambda _: []) if ingress is None else ingress,
            nursery=nursery,
        )
        await house.open()
        try:
            yield house
        except BaseException as error:  # noqa: BLE001 - raised below, outside of the nursery
            # Raised inside, a test's one failed assertion would come out as a group.
            failure = error
        with trio.CancelScope(shield=True):
            house.faults.heal()
            await house.close()
    if failure is not None:
        raise failure


_LIBRARY: list[RecipeSet] = []


def shipped_recipes() -> RecipeSet:
    """Parse the library that the package brings along, once per process."""
    if not _LIBRARY:
        _LIBRARY.append(parse_library(read_library()))
    return _LIBRARY[0]
