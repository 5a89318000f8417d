"""An end in Google's place: it answers as it is told, and holds each request to the API."""

from __future__ import annotations

import json
from collections import deque
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import httpx2
import trio
from attrs import evolve

from autonomics.integrations.google_api import open_client
from autonomics.recipes.effector import PlannedCall
from autonomics.testing.discovery import load_document

RUN_URL = "https://run.googleapis.com"
MONITORING_URL = "https://monitoring.googleapis.com"
SERVICE = "projects/shop/locations/europe-west1/services/checkout"
BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)

MEMORY = "template.containers.0.resources.limits.memory"
MOST = "template.scaling.maxInstanceCount"
ETAG = '"CJ2kmq8GEKi"'
SECRET = "hunter2-hunter2"
CONTAINERS: list[dict[str, Any]] = [
    {
        "name": "app",
        "image": "eu.pkg.dev/shop/app@sha256:4f5c",
        "args": ["--verbose"],
        "env": [{"name": "API_KEY", "value": SECRET}],
        "resources": {"limits": {"cpu": "1000m", "memory": "512Mi"}, "cpuIdle": True},
        "buildInfo": {"functionTarget": "main"},
    },
    {"name": "proxy", "image": "eu.pkg.dev/shop/proxy"},
]
PATCH = PlannedCall(
    call="run.services.patch",
    resource=SERVICE,
    set={MEMORY: "1Gi"},
    mask=(MEMORY,),
    before={MEMORY: "512Mi"},
    etag=ETAG,
    idempotency_key="key",
    timeout_s=60,
)
VALIDATED = evolve(PATCH, validate_only_first=True)
OPERATION = {
    "name": "projects/shop/locations/europe-west1/operations/4f",
    "metadata": {
        "@type": "type.googleapis.com/google.cloud.run.v2.Service",
        "generation": "42",
        "etag": '"new"',
        "template": {"containers": CONTAINERS},
    },
}


def service(memory: str = "512Mi", **changes: Any) -> dict[str, Any]:
    containers = deepcopy(CONTAINERS)
    containers[0]["resources"]["limits"]["memory"] = memory
    return {"name": SERVICE, "etag": ETAG, "template": {"containers": containers}, **changes}


def virtual_now() -> datetime:
    return BEGIN + timedelta(seconds=trio.current_time())


@attrs.frozen
class Hang:
    """Never answer."""


Answer = httpx2.Response | Exception | Hang


class End:
    """Plays its answers in order; each request is held to the discovery documents."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = deque(answers)
        self.requests: list[httpx2.Request] = []

    def client(self) -> httpx2.AsyncClient:
        return open_client(httpx2.MockTransport(self._answer))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        document = {"run": "run.v2", "monitoring": "monitoring.v3"}[request.url.host.split(".")[0]]
        load_document(document).check_request(request.method, str(request.url), request.content)
        answer = self.answers.popleft()
        match answer:
            case Hang():
                await trio.sleep_forever()
            case Exception():
                raise answer
            case httpx2.Response():
                return answer
        raise AssertionError(answer)

    def query(self, number: int) -> dict[str, str]:
        pairs = parse_qs(urlsplit(str(self.requests[number].url)).query)
        return {name: values[0] for name, values in pairs.items()}

    def body(self, number: int) -> Any:
        return json.loads(self.requests[number].content)

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


def ok(value: object, **headers: str) -> httpx2.Response:
    return httpx2.Response(200, json=value, headers=headers)


def refusal(code: int, status: str, message: str, **headers: str) -> httpx2.Response:
    error = {"code": code, "status": status, "message": message}
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx2.Response(code, json={"error": error}, headers=named)


class FixedToken:
    """`TokenSource` with one token, which counts what is dropped."""

    def __init__(self, text: str = "ya29.secret-token") -> None:
        self.text = text
        self.dropped: list[str] = []

    async def token(self) -> str | None:
        return self.text

    def drop(self, token: str) -> None:
        self.dropped.append(token)
