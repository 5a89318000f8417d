from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import attrs
import httpx2
import pytest
import trio

from autonomics.actors.control_plane import ControlPlane
from autonomics.http.app import SOCKET_PRINCIPAL, create_app
from autonomics.http.server import HttpServer
from autonomics.runtime import open_runtime
from autonomics.telemetry import subscribe, unsubscribe
from autonomics.testing.memory_control_plane import MemoryControlPlane


@asynccontextmanager
async def open_memory() -> AsyncIterator[ControlPlane]:
    yield MemoryControlPlane()


# Whatever stands here passes the suite in test_routes.py; a name per kind of control plane.
PLANES: dict[str, Callable[[], AbstractAsyncContextManager[ControlPlane]]] = {"memory": open_memory}


@pytest.fixture(params=PLANES)
async def plane(request) -> AsyncIterator[ControlPlane]:
    async with PLANES[request.param]() as control:
        yield control


@pytest.fixture
def memory() -> MemoryControlPlane:
    return MemoryControlPlane()


@attrs.frozen
class House:
    """Two tenants and a key for each role."""

    control: ControlPlane
    keys: dict[str, str]

    def client(self, role: str | None = None, **options) -> httpx2.AsyncClient:
        headers = options.pop("headers", {})
        if role not in (None, "operator"):
            headers["Authorization"] = f"Bearer {self.keys[role]}"
        options.setdefault("principal", SOCKET_PRINCIPAL if role == "operator" else None)
        peer = options.pop("peer", ("127.0.0.1", 5000))
        app = create_app(self.control, **options)
        transport = httpx2.ASGITransport(app=app, client=peer)
        return httpx2.AsyncClient(transport=transport, base_url="http://door", headers=headers)


async def furnish(control: ControlPlane) -> House:
    acme = await control.create_tenant("acme", "Acme", "standard", "test")
    globex = await control.create_tenant("globex", "Globex", "evaluation", "test")
    admin = await control.create_key("admin", None, "test")
    keys = {
        "admin": admin.secret,
        "tenant": acme.api_key.secret,
        "push": acme.push_token.secret,
        "foreign": globex.api_key.secret,
        "foreign_push": globex.push_token.secret,
    }
    return House(control, keys)


@pytest.fixture
async def house(plane) -> House:
    return await furnish(plane)


@pytest.fixture
async def memory_house(memory) -> House:
    return await furnish(memory)


@pytest.fixture
async def served(memory_house) -> AsyncIterator[Served]:
    """A real server on a port of its own."""
    async with open_runtime() as runtime:
        bound: list[str] = []
        make_app = partial(create_app, memory_house.control)
        ref = await runtime.start(
            lambda: HttpServer(make_app, host="127.0.0.1", port=0, on_bound=bound.append),
            name="http",
        )
        yield Served(memory_house, bound[0], ref)


@attrs.frozen
class Served:
    house: House
    url: str
    ref: object

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, role: str | None = None) -> httpx2.AsyncClient:
        headers = {"Authorization": f"Bearer {self.house.keys[role]}"} if role else {}
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=20)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, object]]]]:
    """Every event of the test, in order."""
    events: list[tuple[str, dict[str, object]]] = []
    subscribe("test", lambda event, fields: events.append((event, dict(fields))))
    yield events
    unsubscribe("test")
