"""A furnished HTTP door: two tenants, a key for each role, clients in process and over a port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import attrs
import httpx2
import trio
from quart_trio import QuartTrio

from autonomics.actors.control_plane import ControlPlane
from autonomics.http.app import SOCKET_PRINCIPAL, create_app
from autonomics.http.problem import MEDIA_TYPE
from autonomics.http.server import DRAIN_S, HttpServer
from autonomics.http.setting import DoorSettings
from autonomics.runtime import ActorRef, open_runtime

LOCAL_PEER = ("127.0.0.1", 5000)


def client_of(
    app: QuartTrio,
    headers: Mapping[str, str] | None = None,
    peer: tuple[str, int] = LOCAL_PEER,
) -> httpx2.AsyncClient:
    """Return a client of an app in the same process, that comes from `peer`."""
    transport = httpx2.ASGITransport(app=cast("Any", app), client=peer)
    return httpx2.AsyncClient(transport=transport, base_url="http://door", headers=headers)


@attrs.frozen
class House:
    """Two tenants, acme and globex, and secrets of keys by role.

    `tenant` and `push` are acme's, `foreign` and `foreign_push` are globex's.
    """

    control: ControlPlane
    keys: dict[str, str]

    def headers(self, role: str | None) -> dict[str, str]:
        """Return what a request of that role carries; None and operator carry nothing."""
        if role in (None, "operator"):
            return {}
        return {"Authorization": f"Bearer {self.keys[str(role)]}"}

    def client(
        self,
        role: str | None = None,
        *,
        settings: DoorSettings | None = None,
        headers: Mapping[str, str] | None = None,
        peer: tuple[str, int] = LOCAL_PEER,
    ) -> httpx2.AsyncClient:
        """Return a client in process; the operator's comes through the control socket's app."""
        principal = SOCKET_PRINCIPAL if role == "operator" else None
        app = create_app(self.control, settings=settings, principal=principal)
        return client_of(app, {**self.headers(role), **(headers or {})}, peer)


async def furnish(control: ControlPlane) -> House:
    """Create the tenants and the keys of a house."""
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


@attrs.frozen
class Served:
    """A house behind a real server."""

    house: House
    url: str
    ref: ActorRef

    @property
    def port(self) -> int:
        """Port that the server is bound to."""
        return int(self.url.rpartition(":")[2])

    def client(self, role: str | None = None) -> httpx2.AsyncClient:
        """Return a client over TCP."""
        headers = self.house.headers(role)
        return httpx2.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=20)

    async def connect(self) -> trio.SocketStream:
        """Open a raw connection."""
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@asynccontextmanager
async def serve(
    house: House, *, settings: DoorSettings | None = None, drain_s: float = DRAIN_S
) -> AsyncGenerator[Served]:
    """Serve a house on a free port of the loopback address."""
    bound: list[str] = []
    make_app = partial(create_app, house.control, settings=settings)
    async with open_runtime() as runtime:
        ref = await runtime.start(
            lambda: HttpServer(
                make_app, host="127.0.0.1", port=0, drain_s=drain_s, on_bound=bound.append
            ),
            name="http",
        )
        yield Served(house, bound[0], ref)


def expect_problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the document of a problem; AssertionError unless it is whole and the one expected."""
    body: dict[str, Any] = response.json()
    assert response.headers["content-type"] == MEDIA_TYPE, response.headers
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), body
    assert {"type", "title", "detail", "next", "request_id"} <= body.keys(), body
    assert body["request_id"] == response.headers["x-request-id"]
    return body
