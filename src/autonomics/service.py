"""The composition root: the only module that knows everything.

Settings, adapters, tree and doors meet here and nowhere else.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

import attrs

from autonomics.actors.doorkeeper import DOORKEEPER, Doorkeeper
from autonomics.actors.effect_registry import find_dry
from autonomics.actors.event_log import EventLog, WriteEvent
from autonomics.actors.keyring import KEYRING, Keyring
from autonomics.actors.ledger import Ledger, StoreWriter
from autonomics.actors.ledger_message import LEDGER
from autonomics.actors.line import LINE, Line
from autonomics.actors.message import PLATFORM
from autonomics.actors.parking import Parking
from autonomics.actors.receipt_view import origin_of
from autonomics.actors.receipt_writer import ReceiptWriter
from autonomics.actors.router import Router
from autonomics.actors.router_message import POOL, ROUTER, WARDEN
from autonomics.actors.source import Source
from autonomics.actors.tenant_tree import TenantRoom, tenant_supervisor
from autonomics.actors.tree_control_plane import TreeControlPlane, TreeFacts
from autonomics.actors.warden import Warden
from autonomics.config import Settings
from autonomics.errors import InvalidConfig, StartFailed
from autonomics.integrations.key_vault_file import KEY_BYTES, open_key_vault
from autonomics.integrations.signing_key_file import open_signing_key
from autonomics.receipts import verify
from autonomics.receipts.signer import Signer
from autonomics.receipts.store import Store
from autonomics.recipes.effector import Effector, FactReader
from autonomics.recipes.index import RecipeSet
from autonomics.recipes.library import parse_library
from autonomics.runtime import ActorRef, Crash, Runtime, Shutdown, open_runtime
from autonomics.storage.data_folder import (
    SOCKET_NAME,
    STORE_NAME,
    DataFolder,
    open_data_folder,
)
from autonomics.storage.memory import MemoryMedium, MemoryStore
from autonomics.storage.sqlite import SqliteStore
from autonomics.storage.sqlite_schema import check_header
from autonomics.storage.stdout import StdoutStore
from autonomics.supervisors import (
    ChildSpec,
    DynamicSupervisor,
    FailedToStartChild,
    Supervisor,
)
from autonomics.tenancy.sign_up import SignUpVerifier
from autonomics.tenancy.support_model import SupportModel, parse_support_model

if TYPE_CHECKING:
    import httpx2

ROOT = "root"
BLOCKED_AFTER_S = 1.0


def system_source() -> Source:
    """Return the machine's own clock and randomness."""
    return Source(
        clock=lambda: datetime.now(UTC), monotonic=time.perf_counter, random_bytes=os.urandom
    )


def read_library() -> list[tuple[str, bytes]]:
    """Return the files of the recipe library that the package brings along, sorted by name."""
    return sorted(_walk(files("autonomics.recipes") / "library", ""))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _walk(entry, f"{name}/")
        elif entry.name.endswith((".toml", ".json")):
            yield name, entry.read_bytes()


def read_support_model() -> SupportModel:
    """Return the support model that the package brings along; its tiers are the price plans."""
    return parse_support_model((files("autonomics.tenancy") / "support_model.toml").read_bytes())


@attrs.frozen(kw_only=True)
class Parts:
    """What a service is made of beside its settings; every part may be another one in a test.

    `blocked_after_s` has a thread watch the loop. A test that repeats a run from its seed leaves it
    out: the thread would wake the loop at other moments each time.
    """

    settings: Settings
    open_store: Callable[[], Store]
    signer: Signer
    source: Source = attrs.field(factory=system_source)
    recipes: RecipeSet = attrs.field(factory=lambda: parse_library(read_library()))
    effectors: Mapping[str, Effector] = attrs.field(factory=dict[str, Effector])
    readers: Mapping[str, FactReader] = attrs.field(factory=dict[str, FactReader])
    client: httpx2.AsyncClient | None = None
    support: SupportModel = attrs.field(factory=read_support_model)
    write_event: WriteEvent | None = None
    blocked_after_s: float | None = None
    ingress: Callable[[TreeControlPlane], Sequence[ChildSpec]] = lambda _: ()

    @property
    def dry(self) -> tuple[str, ...]:
        """The recipes that only decide: nobody carries out their calls."""
        return find_dry(self.recipes, frozenset({"platform", *self.effectors}))


@attrs.frozen(kw_only=True)
class Doors:
    """How a server is reached: by its control socket, and unless `on_port` is off by its port.

    `on_bound` is told the URL once the port is bound.
    """

    on_port: bool = True
    trust_tenant_attribute: bool = False
    on_bound: Callable[[str], None] | None = None


@contextmanager
def open_parts(
    settings: Settings,
    *,
    doors: Doors | None = None,
    effectors: Mapping[str, Effector] | None = None,
    readers: Mapping[str, FactReader] | None = None,
    write_event: WriteEvent | None = None,
) -> Generator[Parts]:
    """Hold the data folder and give the parts of a service on it; no doors unless given.

    The settings say who acts on the outside world and reads it, unless `effectors` or `readers` do.
    Raises DataFolderBusy, StoreUnusable or InvalidConfig, each in one line and with nothing
    changed on disk.
    """
    path = settings.data / STORE_NAME
    if settings.store == "sqlite":
        check_header(path)  # before the folder is touched: a foreign file stays as it was found
    source = system_source()
    outside = Outside(effectors=effectors or {}, readers=readers or {})
    if effectors is None and readers is None:
        outside = open_outside(settings, source)
    with open_data_folder(settings.data) as folder:
        _expect_keys_beside_store(settings, folder)
        signer = open_signing_key(folder.signing_key_path, source.random_bytes(32))
        yield Parts(
            settings=settings,
            open_store=_store_opener(settings, folder, source),
            signer=signer,
            source=source,
            effectors=outside.effectors,
            readers=outside.readers,
            client=outside.client,
            write_event=write_event,
            blocked_after_s=BLOCKED_AFTER_S,
            ingress=_no_doors
            if doors is None
            else partial(_ingress, settings, doors, open_sign_up(settings, source)),
        )


def _expect_keys_beside_store(settings: Settings, folder: DataFolder) -> None:
    """Refuse a store whose keys are gone: new ones could neither go on with it nor read it."""
    if settings.store != "sqlite" or not folder.store_path.exists():
        return
    for path, meaning in (
        (folder.signing_key_path, "the key that signed the logs of"),
        (folder.payload_key_path, "the key that opens the payloads of"),
    ):
        if not path.exists():
            raise InvalidConfig(
                f"expected {path} to be {meaning} {folder.store_path.name}, got no file: put it"
                " back from a backup"
            )


def _store_opener(settings: Settings, folder: DataFolder, source: Source) -> Callable[[], Store]:
    if settings.store == "sqlite":
        vault = open_key_vault(folder.payload_key_path, source.random_bytes(KEY_BYTES))
        return lambda: SqliteStore(folder.store_path, vault, folder.erasures_path)
    # A restarted writer finds what its predecessor held; the end of the process loses it.
    medium = MemoryMedium()
    if settings.store == "stdout":
        return lambda: StdoutStore(sys.stdout, medium)
    return lambda: MemoryStore(medium)


def _no_doors(_: TreeControlPlane) -> Sequence[ChildSpec]:
    return ()


def open_sign_up(settings: Settings, source: Source) -> SignUpVerifier | None:
    """Return what verifies sign-up tokens; None where no keys are configured.

    Raises InvalidConfig if the file can't be used, or nobody says whose product it is.
    """
    path, audience = settings.marketplace_keys, settings.marketplace_audience
    if path is None:
        return None
    if audience is None:
        raise InvalidConfig(
            "expected marketplace_audience to be the product's domain where marketplace_keys is"
            " set, got nothing"
        )
    from autonomics.integrations.google_sign_up import GoogleSignUp
    from autonomics.integrations.key_set_file import KeySetFile

    return GoogleSignUp(
        KeySetFile(path),
        issuer=settings.marketplace_issuer,
        audience=audience,
        clock=source.clock,
    )


@attrs.frozen(kw_only=True)
class Outside:
    """Who acts on the outside world and reads it, by prefix, and the client that they share."""

    effectors: Mapping[str, Effector] = attrs.field(factory=dict[str, Effector])
    readers: Mapping[str, FactReader] = attrs.field(factory=dict[str, FactReader])
    client: httpx2.AsyncClient | None = None


def open_outside(settings: Settings, source: Source) -> Outside:
    """Return the parts that speak to Google, as the settings say; none, and all calls are dry.

    Raises InvalidConfig if the credentials can't be used. Nothing is sent here.
    """
    if not settings.google_credentials:
        return Outside()
    from autonomics.integrations.google_api import open_client
    from autonomics.integrations.google_monitoring import GoogleMonitoring
    from autonomics.integrations.google_run import GoogleRun
    from autonomics.integrations.google_token import open_tokens

    client, clock = open_client(), source.clock
    tokens = open_tokens(settings, client, clock)
    run = GoogleRun(client, base_url=settings.google_run_url, tokens=tokens, clock=clock)
    monitoring = GoogleMonitoring(
        client, base_url=settings.google_monitoring_url, tokens=tokens, clock=clock
    )
    return Outside(
        effectors={"run": run}, readers={"run": run, "monitoring": monitoring}, client=client
    )


@asynccontextmanager
async def _closing(client: httpx2.AsyncClient | None) -> AsyncGenerator[None]:
    """Close the client at the end, also of a block that was cancelled."""
    try:
        yield
    finally:
        if client is not None:
            await client.aclose()  # it shields the closing of its connections by itself


def _ingress(
    settings: Settings,
    doors: Doors,
    sign_up: SignUpVerifier | None,
    control: TreeControlPlane,
) -> Sequence[ChildSpec]:
    """Build the HTTP server and the control socket; the socket's requests are an operator's."""
    from autonomics.http.app import SOCKET_PRINCIPAL, create_app
    from autonomics.http.server import ControlSocket, HttpServer
    from autonomics.http.setting import DoorSettings

    door = DoorSettings(
        trust_tenant_attribute=doors.trust_tenant_attribute,
        hosts=(settings.host, *settings.mcp_hosts),
        sign_up=sign_up,
    )
    grace_s = settings.drain_s + 1.0
    by_port = (
        ChildSpec(
            id="http",
            start=lambda: HttpServer(
                partial(create_app, control, settings=door),
                host=settings.host,
                port=settings.port,
                drain_s=settings.drain_s,
                on_bound=doors.on_bound,
            ),
            grace_s=grace_s,
        ),
    )
    return (
        *(by_port if doors.on_port else ()),
        ChildSpec(
            id="control_socket",
            start=lambda: ControlSocket(
                partial(create_app, control, settings=door, principal=SOCKET_PRINCIPAL),
                path=settings.data / SOCKET_NAME,
                drain_s=settings.drain_s,
            ),
            grace_s=grace_s,
        ),
    )


@attrs.frozen
class Service:
    """A running tree and the way into it."""

    runtime: Runtime
    root: ActorRef
    control: TreeControlPlane


@asynccontextmanager
async def open_service(parts: Parts) -> AsyncGenerator[Service]:
    """Run the tree for the length of an `async with` block; it stops in order at its end.

    Raises StartFailed if it does not come up; nothing is left of it then.
    """
    started_at = parts.source.monotonic()
    watched = open_runtime(blocked_after_s=parts.blocked_after_s)
    async with _closing(parts.client), watched as runtime:
        facts = TreeFacts(
            origin_host=parts.settings.origin,
            public_key=parts.signer.public_key,
            verifier=_verifier_source(),
            version=version("autonomics"),
            effectors=("platform", *sorted(parts.effectors)),
            dry=parts.dry,
            recipes=tuple(recipe.id for recipe in parts.recipes.recipes),
            support=parts.support,
            source=parts.source,
            seconds_up=lambda: parts.source.monotonic() - started_at,
        )
        control = TreeControlPlane(runtime, runtime.named(ROOT), facts)
        root = await runtime.start(
            lambda: _root(runtime, parts, control), name=ROOT, init_deadline_s=math.inf
        )
        yield Service(runtime, root, control)


def find_cause(error: StartFailed) -> BaseException | None:
    """Return the error at the bottom of a start that failed, however deep in the tree it was."""
    reason: object = error.reason
    while True:
        match reason:
            case FailedToStartChild(reason=inner) | Shutdown(info=inner):
                reason = inner
            case Crash(error=StartFailed(reason=inner)):
                reason = inner
            case Crash(error=cause):
                return cause
            case _:
                return None


def _verifier_source() -> bytes:
    name = verify.__name__.rpartition(".")[2]
    return (files("autonomics.receipts") / f"{name}.py").read_bytes()


def _root(runtime: Runtime, parts: Parts, control: TreeControlPlane) -> Supervisor:
    """Build the root; its two halves share no fate, and its budget is written out."""
    children = [
        ChildSpec(
            id="control",
            start=lambda: _control(runtime, parts, control),
            init_deadline_s=math.inf,
        )
    ]
    write_event = parts.write_event
    if write_event is not None:
        # First in the list, so that the start of all others is told.
        children.insert(
            0,
            ChildSpec(
                id="observability",
                start=lambda: Supervisor([_unbudgeted("event_log", lambda: EventLog(write_event))]),
                spends_budget=False,
                spacing_s=1.0,
            ),
        )
    return Supervisor(children, strategy="one_for_one", max_restarts=3, within_s=5.0)


def _unbudgeted(id_: str, start: Callable[[], EventLog]) -> ChildSpec:
    return ChildSpec(id=id_, start=start, spends_budget=False, spacing_s=0.1)


def _control(runtime: Runtime, parts: Parts, control: TreeControlPlane) -> Supervisor:
    settings, source = parts.settings, parts.source
    ledger, platform = runtime.named(LEDGER), runtime.named(PLATFORM)
    origin = origin_of(settings.origin, PLATFORM)
    return Supervisor(
        [
            ChildSpec(id=LEDGER, start=lambda: _ledger(runtime, parts), init_deadline_s=math.inf),
            ChildSpec(
                id=LINE,
                name=LINE,
                start=lambda: Line(origin=origin, ledger=ledger, platform=platform, source=source),
            ),
            ChildSpec(id="tenants", start=lambda: _tenants(runtime, parts), init_deadline_s=60.0),
            ChildSpec(
                id="ingress",
                start=lambda: Supervisor(list(parts.ingress(control)), strategy="one_for_one"),
            ),
        ],
        strategy="rest_for_one",
    )


def _ledger(runtime: Runtime, parts: Parts) -> Supervisor:
    """Build the ledger: front, disk, the platform's own log, and who lives by nothing else.

    Tenants live through its restart: their receipt writers read their heads again.
    """
    settings, source = parts.settings, parts.source
    ledger, platform = runtime.named(LEDGER), runtime.named(PLATFORM)
    return Supervisor(
        [
            ChildSpec(id="disk", start=lambda: _disk(runtime, parts), init_deadline_s=math.inf),
            ChildSpec(
                id=PLATFORM,
                name=PLATFORM,
                start=lambda: ReceiptWriter(
                    origin_of(settings.origin, PLATFORM),
                    ledger=ledger,
                    source=source,
                    open_signals=None,
                ),
            ),
            ChildSpec(
                id=KEYRING,
                name=KEYRING,
                start=lambda: Keyring(ledger=ledger, platform=platform, source=source),
            ),
            ChildSpec(
                id=DOORKEEPER,
                name=DOORKEEPER,
                start=lambda: Doorkeeper(platform=platform),
            ),
        ],
        strategy="one_for_one",
    )


def _disk(runtime: Runtime, parts: Parts) -> Supervisor:
    """Build the front and the store's writer, which dies with the disk and comes back alone."""
    return Supervisor(
        [
            ChildSpec(
                id="front",
                name=LEDGER,
                start=lambda: Ledger(
                    signer=parts.signer,
                    checkpoint_every_s=parts.settings.checkpoint_every_s,
                ),
            ),
            ChildSpec(
                id="store_writer",
                start=lambda: StoreWriter(
                    parts.open_store(),
                    random_bytes=parts.source.random_bytes,
                    front=runtime.named(LEDGER),
                ),
                init_deadline_s=math.inf,
                spends_budget=False,
                spacing_s=0.1,
                spacing_most_s=5.0,
            ),
        ],
        strategy="rest_for_one",
    )


def _tenants(runtime: Runtime, parts: Parts) -> Supervisor:
    settings = parts.settings
    ledger, platform, router = (
        runtime.named(LEDGER),
        runtime.named(PLATFORM),
        runtime.named(ROUTER),
    )
    room = TenantRoom(
        name=runtime.named,
        origin_host=settings.origin,
        ledger=ledger,
        line=runtime.named(LINE),
        router=router,
        recipes=parts.recipes,
        monitor=parts.dry,
        effectors=dict(parts.effectors),
        readers=dict(parts.readers),
        source=parts.source,
        open_signals=settings.open_signals,
        verify_wait_cap_s=settings.verify_wait_cap_s,
    )
    parking_bounds = {
        "most_messages": settings.parked_messages,
        "most_bytes": settings.parked_bytes,
    }
    return Supervisor(
        [
            ChildSpec(id="pool", name=POOL, start=DynamicSupervisor),
            ChildSpec(
                id="warden",
                name=WARDEN,
                start=lambda: Warden(
                    pool=runtime.named(POOL),
                    platform=platform,
                    source=parts.source,
                    tenant_spec=lambda handle: tenant_supervisor(handle, room),
                ),
            ),
            ChildSpec(
                id="router",
                name=ROUTER,
                start=lambda: Router(
                    origin=origin_of(settings.origin, PLATFORM),
                    ledger=ledger,
                    platform=platform,
                    warden=runtime.named(WARDEN),
                    source=parts.source,
                    parking=Parking(**parking_bounds),
                ),
                init_deadline_s=60.0,
            ),
        ],
        strategy="rest_for_one",
    )
