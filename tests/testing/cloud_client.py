"""A client of the local cloud whose requests and answers are held to Google's documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import httpx2
import trio

from autonomics.testing.discovery import load_document
from autonomics.testing.discovery_transport import CheckedTransport
from autonomics.testing.local_cloud import LocalCloud

NAME = "projects/shop/locations/europe-west1/services/checkout"
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
DOCUMENTS = (load_document("run.v2"), load_document("monitoring.v3"))


def start_clock() -> Callable[[], datetime]:
    """Give a clock that begins now at BEGIN, whatever trio's shows."""
    began_s = trio.current_time()
    return lambda: BEGIN + timedelta(seconds=trio.current_time() - began_s)


@attrs.frozen
class Caller:
    clock: Callable[[], datetime]
    cloud: LocalCloud
    transport: CheckedTransport
    http: httpx2.AsyncClient

    async def get(self, path: str = f"/v2/{NAME}", **query: str) -> dict[str, Any]:
        response = await self.http.get(path, params=query)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def patch(
        self, body: Mapping[str, Any], mask: str | None = None, name: str = NAME, **query: str
    ) -> httpx2.Response:
        params = {**query, **({} if mask is None else {"updateMask": mask})}
        return await self.http.patch(f"/v2/{name}", params=params, json=dict(body))

    async def change(self, body: Mapping[str, Any], mask: str, **query: str) -> dict[str, Any]:
        response = await self.patch(body, mask, **query)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def refusal(self, path: str, **query: str) -> tuple[int, str, str]:
        return read_refusal(await self.http.get(path, params=query))


def read_refusal(response: httpx2.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["status"], error["message"]


def call_cloud(
    reconcile_s: float = 0.0, *, takes_any_request: bool = False, **service: Any
) -> Caller:
    clock = start_clock()
    cloud = LocalCloud(clock, reconcile_s=reconcile_s)
    cloud.add_service(NAME, **service)
    transport = CheckedTransport(cloud.transport(), *DOCUMENTS, takes_any_request=takes_any_request)
    http = httpx2.AsyncClient(transport=transport, base_url="http://cloud")
    return Caller(clock, cloud, transport, http)


def container(memory: str = "512Mi", **more: Any) -> dict[str, Any]:
    limits = {"cpu": "1000m", "memory": memory}
    return {"image": "local", "resources": {"limits": limits}, **more}
