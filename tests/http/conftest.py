from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from autonomics.actors.control_plane import ControlPlane
from autonomics.config import load_settings
from autonomics.integrations.signing_key_file import open_signing_key
from autonomics.service import Parts, open_service
from autonomics.storage.memory import MemoryMedium, MemoryStore
from autonomics.telemetry import subscribe, unsubscribe
from autonomics.testing.door import House, Served, furnish, serve
from autonomics.testing.memory_control_plane import MemoryControlPlane


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


# Whatever stands here passes the suite in test_routes.py; a name per kind of control plane.
PLANES: dict[str, Callable[[], AbstractAsyncContextManager[ControlPlane]]] = {
    "memory": open_memory,
    "tree": open_tree,
}


@pytest.fixture(params=PLANES)
async def plane(request: pytest.FixtureRequest) -> AsyncIterator[ControlPlane]:
    async with PLANES[request.param]() as control:
        yield control


@pytest.fixture
def memory() -> MemoryControlPlane:
    return MemoryControlPlane()


@pytest.fixture
async def house(plane: ControlPlane) -> House:
    return await furnish(plane)


@pytest.fixture
async def memory_house(memory: MemoryControlPlane) -> House:
    return await furnish(memory)


@pytest.fixture
async def served(memory_house: House) -> AsyncIterator[Served]:
    """A real server on a port of its own."""
    async with serve(memory_house) as server:
        yield server


@pytest.fixture
def heard() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every event of the test, in order."""
    events: list[tuple[str, dict[str, Any]]] = []
    subscribe("test", lambda event, fields: events.append((event, dict(fields))))
    yield events
    unsubscribe("test")
