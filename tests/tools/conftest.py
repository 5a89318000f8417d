from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from mcp import Client
from mcp_types import CallToolResult

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import Principal, Role
from autonomics.config import load_settings
from autonomics.integrations.signing_key_file import open_signing_key
from autonomics.service import Parts, open_service
from autonomics.storage.memory import MemoryMedium, MemoryStore
from autonomics.telemetry import listening
from autonomics.testing.memory_control_plane import MemoryControlPlane
from autonomics.tools.caller import Caller
from autonomics.tools.server import build_server
from autonomics.tools.table import TOOLS
from autonomics.tools.tool import Tool

Heard = list[tuple[str, dict[str, Any]]]


@asynccontextmanager
async def open_memory() -> AsyncGenerator[ControlPlane]:
    yield MemoryControlPlane()


@asynccontextmanager
async def open_tree() -> AsyncGenerator[ControlPlane]:
    """The real one, on a store in memory."""
    medium = MemoryMedium()
    with TemporaryDirectory() as folder:
        parts = Parts(
            settings=load_settings({"store": "memory", "data": folder}, environ={}),
            open_store=lambda: MemoryStore(medium),
            signer=open_signing_key(Path(folder) / "signing.key", b"s" * 32),
        )
        async with open_service(parts) as service:
            yield service.control


PLANES: dict[str, Callable[[], AbstractAsyncContextManager[ControlPlane]]] = {
    "memory": open_memory,
    "tree": open_tree,
}


@attrs.frozen
class Desk:
    """A control plane, and calls of tools on it through the SDK's client in this process."""

    control: ControlPlane

    @asynccontextmanager
    async def client(
        self,
        tenant: str | None = "acme",
        role: Role = "tenant",
        *,
        tools: tuple[Tool[Any, Any], ...] = TOOLS,
        deadline_s: float = 10.0,
    ) -> AsyncGenerator[Client]:
        own = tenant if role == "tenant" else None
        caller = Caller(Principal("key-1", role, own), tenant)
        server = build_server(self.control, lambda _: caller, tools=tools, deadline_s=deadline_s)
        async with Client(server) as client:
            yield client

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any] | None = None,
        *,
        tenant: str | None = "acme",
        role: Role = "tenant",
    ) -> CallToolResult:
        async with self.client(tenant, role) as client:
            return await client.call_tool(tool, arguments or {})

    async def answer(self, tool: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """The structured answer that acme's key gets."""
        return expect_answer(await self.call(tool, arguments))

    async def refusal(
        self,
        tool: str,
        arguments: dict[str, Any] | None = None,
        *,
        tenant: str | None = "acme",
        role: Role = "tenant",
    ) -> dict[str, Any]:
        return expect_refusal(await self.call(tool, arguments, tenant=tenant, role=role))

    async def handle(self, tenant: str = "acme") -> str:
        view = await self.control.tenant(tenant)
        assert view is not None
        return view.handle


def expect_answer(result: CallToolResult) -> dict[str, Any]:
    assert result.is_error is False, result
    answer: dict[str, Any] = result.structured_content
    return answer


def expect_refusal(result: CallToolResult) -> dict[str, Any]:
    assert result.is_error is True, result
    refusal: dict[str, Any] = result.structured_content
    assert set(refusal) == {"code", "reason", "next_step", "who"}
    assert all(refusal.values())
    return refusal


async def furnish(control: ControlPlane) -> Desk:
    await control.create_tenant("acme", "Acme", "standard", "test")
    await control.create_tenant("globex", "Globex", "evaluation", "test")
    return Desk(control)


@pytest.fixture(params=PLANES)
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """A desk on each kind of control plane, with the tenants acme and globex."""
    async with PLANES[request.param]() as control:
        yield await furnish(control)


@pytest.fixture
async def memory_desk() -> Desk:
    return await furnish(MemoryControlPlane())


@pytest.fixture
async def tree_desk() -> AsyncIterator[Desk]:
    async with open_tree() as control:
        yield await furnish(control)


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Every event of the test, in order."""
    events: Heard = []
    with listening("test", lambda event, fields: events.append((event, dict(fields)))):
        yield events
