from __future__ import annotations

from copy import deepcopy
from typing import Any

from autonomics.integrations.google_credential import NoToken, TokenSource
from autonomics.integrations.google_run import GoogleRun
from autonomics.recipes.effector import PlannedCall

from .google_end import (
    RUN_URL,
    SERVICE,
    End,
    FixedToken,
    ok,
    virtual_now,
)

MEMORY = "template.containers.0.resources.limits.memory"
ETAG = '"CJ2kmq8GEKi"'
CONTAINERS: list[dict[str, Any]] = [
    {
        "name": "app",
        "image": "eu.pkg.dev/shop/app@sha256:4f5c",
        "args": ["--verbose"],
        "env": [{"name": "API_KEY", "value": "hunter2-hunter2"}],
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
OPERATION = {
    "name": "projects/shop/locations/europe-west1/operations/4f",
    "metadata": {
        "@type": "type.googleapis.com/google.cloud.run.v2.Service",
        "generation": "42",
        "etag": '"new"',
        "template": {"containers": CONTAINERS},
    },
}
DONE = {
    "operation": "projects/shop/locations/europe-west1/operations/4f",
    "generation": "42",
    "etag": '"new"',
}


def service(memory: str = "512Mi", **changes: Any) -> dict[str, Any]:
    containers = deepcopy(CONTAINERS)
    containers[0]["resources"]["limits"]["memory"] = memory
    return {"name": SERVICE, "etag": ETAG, "template": {"containers": containers}, **changes}


def google_run(end: End, tokens: TokenSource | None = None) -> GoogleRun:
    return GoogleRun(end.client(), base_url=RUN_URL, tokens=tokens or NoToken(), clock=virtual_now)


async def test_a_patch_sends_the_whole_list_that_its_path_is_in_and_the_etag_just_read() -> None:
    end = End(ok(service()), ok(OPERATION))
    result = await google_run(end, FixedToken()).call(PATCH)
    assert (dict(result.detail), result.is_repeat) == (DONE, False)
    assert end.methods == ["GET", "PATCH"]
    assert end.query(0) == {"fields": "name,etag,template/containers"}
    assert end.query(1) == {"updateMask": "template.containers"}
    expected = deepcopy(CONTAINERS)
    del expected[0]["buildInfo"]
    expected[0]["resources"]["limits"]["memory"] = "1Gi"
    assert end.body(1) == {"name": SERVICE, "etag": ETAG, "template": {"containers": expected}}
    assert end.requests[1].headers["Authorization"] == "Bearer ya29.secret-token"


async def test_a_local_end_gets_no_token() -> None:
    end = End(ok(service()), ok(OPERATION))
    await google_run(end).call(PATCH)
    assert all("Authorization" not in request.headers for request in end.requests)
