"""Each way in which the local cloud can fail: in process in virtual time, and over a socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
import trio
from trio.testing import MockClock

from autonomics.errors import InvalidInput
from autonomics.testing.cloud_fault import Conflict, Fail, Fault, Hang, Late, Lost
from autonomics.testing.local_cloud import LocalCloud
from autonomics.testing.local_server import serve_cloud

from .cloud_client import NAME, Caller, call_cloud, read_refusal, start_clock

PATCH = "run.services.patch"
BODY = {"template": {"scaling": {"maxInstanceCount": 5}}}
MASK = "template.scaling"


async def patch(caller: Caller, **query: str) -> httpx2.Response:
    return await caller.patch(BODY, MASK, **query)


async def test_a_late_answer_is_an_answer(autojump_clock: MockClock) -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, Late(4))
    began = trio.current_time()

    response = await patch(caller)

    assert (response.status_code, trio.current_time() - began) == (200, 4)
    assert len(caller.cloud.effects) == 1


@pytest.mark.parametrize("has_effect_first", [True, False])
async def test_a_caller_that_leaves_a_late_answer_may_have_had_its_effect(
    has_effect_first: bool, autojump_clock: MockClock
) -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, Late(5, has_effect_first))

    with trio.move_on_after(1):
        await patch(caller)

    assert len(caller.cloud.effects) == has_effect_first


@pytest.mark.parametrize(
    ("fault", "status", "name", "message"),
    [
        (Fail(), 503, "UNAVAILABLE", "by script"),
        (Fail("400"), 400, "INVALID_ARGUMENT", "by script"),
        (Fail("403 PERMISSION_DENIED: not yours"), 403, "PERMISSION_DENIED", "not yours"),
        (Fail("404"), 404, "NOT_FOUND", "by script"),
        (Fail("412"), 412, "FAILED_PRECONDITION", "by script"),
        (Fail("429", retry_after_s=30), 429, "RESOURCE_EXHAUSTED", "by script"),
        (Fail("500 INTERNAL"), 500, "INTERNAL", "by script"),
        (Fail("504"), 504, "DEADLINE_EXCEEDED", "by script"),
        (Conflict(), 409, "ABORTED", "Conflict"),
    ],
)
async def test_a_scripted_error_comes_once_and_has_no_effect(
    fault: Fault, status: int, name: str, message: str
) -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, fault)

    refused = await patch(caller)
    effects = len(caller.cloud.effects)
    accepted = await patch(caller)

    assert read_refusal(refused)[:2] == (status, name)
    assert message in read_refusal(refused)[2]
    assert refused.headers.get("retry-after") == ("30" if status == 429 else None)
    assert (effects, accepted.status_code) == (0, 200)


@pytest.mark.parametrize("has_effect", [True, False])
async def test_a_connection_that_breaks_tells_nothing(has_effect: bool) -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, Lost(has_effect=has_effect))

    with pytest.raises(httpx2.RemoteProtocolError):
        await patch(caller)

    assert len(caller.cloud.effects) == has_effect


@pytest.mark.parametrize("has_effect", [True, False])
async def test_an_end_that_hangs_is_left_by_the_callers_deadline(
    has_effect: bool, autojump_clock: MockClock
) -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, Hang(has_effect=has_effect))
    caller.http.timeout = httpx2.Timeout(None)

    with trio.move_on_after(3600) as deadline:
        await patch(caller)

    assert deadline.cancelled_caught
    assert len(caller.cloud.effects) == has_effect


async def test_the_clients_read_timeout_holds(autojump_clock: MockClock) -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, Hang())
    caller.http.timeout = httpx2.Timeout(7.0)
    began = trio.current_time()

    with pytest.raises(httpx2.ReadTimeout):
        await patch(caller)

    assert trio.current_time() - began == 7.0


async def test_a_get_after_a_patch_without_an_answer_is_a_read_back(
    autojump_clock: MockClock,
) -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, Lost())
    caller.cloud.script("read_back", Fail("503"), Late(3))
    await caller.get()
    with pytest.raises(httpx2.RemoteProtocolError):
        await patch(caller)
    began = trio.current_time()

    assert (await caller.refusal(f"/v2/{NAME}"))[0] == 503
    assert (await caller.get())["generation"] == "2"
    await caller.get()

    assert trio.current_time() - began == 3
    assert caller.cloud.requests == {"run.services.get": 2, PATCH: 1, "read_back": 2}


async def test_a_patch_that_is_refused_is_not_read_back() -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, Fail("403"))
    await patch(caller)

    await caller.get()

    assert caller.cloud.requests["read_back"] == 0


async def test_faults_of_a_patch_spare_its_validation() -> None:
    caller = call_cloud()
    caller.cloud.script(PATCH, Fail())
    caller.cloud.script("run.services.validate", Fail("429"))

    validated = [await patch(caller, validateOnly="true") for _ in range(2)]

    assert [response.status_code for response in validated] == [429, 200]
    assert (await patch(caller)).status_code == 503


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("run.services.get", f"/v2/{NAME}"),
        ("run.revisions.list", f"/v2/{NAME}/revisions"),
        ("run.revisions.get", f"/v2/{NAME}/revisions/none"),
        ("run.operations.get", "/v2/projects/shop/locations/europe-west1/operations/o"),
        ("monitoring.timeSeries.list", "/v3/projects/shop/timeSeries"),
    ],
)
async def test_reads_fail_by_script_too(call: str, path: str) -> None:
    caller = call_cloud()
    caller.cloud.script(call, Fail("429", retry_after_s=2), Lost())

    assert (await caller.refusal(path))[0] == 429
    with pytest.raises(httpx2.RemoteProtocolError):
        await caller.http.get(path)
    assert caller.cloud.requests[call] == 2


@pytest.mark.parametrize("message", ["", "no", "200 OK", "777", "503UNAVAILABLE"])
def test_an_error_that_http_does_not_know_can_not_be_scripted(message: str) -> None:
    with pytest.raises(InvalidInput, match="expected message"):
        Fail(message)


# Over a socket


async def with_server(
    play: Callable[[LocalCloud, httpx2.AsyncClient], Awaitable[None]],
) -> LocalCloud:
    cloud = LocalCloud(start_clock())
    cloud.add_service(NAME)
    with trio.fail_after(20):
        async with (
            serve_cloud(cloud) as url,
            httpx2.AsyncClient(base_url=url, trust_env=False, timeout=None) as client,
        ):
            await play(cloud, client)
    return cloud


async def send(client: httpx2.AsyncClient) -> httpx2.Response:
    return await client.patch(f"/v2/{NAME}", params={"updateMask": MASK}, json=BODY)


async def test_the_end_answers_over_a_socket() -> None:
    async def play(_: LocalCloud, client: httpx2.AsyncClient) -> None:
        operation = (await send(client)).json()
        found = (await client.get(f"/v2/{NAME}", params={"fields": "etag,template/scaling"})).json()
        assert operation["response"]["etag"] == found["etag"]
        assert found["template"] == {"scaling": {"maxInstanceCount": 5}}
        assert (await client.get("/v2/none")).status_code == 404

    cloud = await with_server(play)
    assert cloud.requests == {PATCH: 1, "run.services.get": 1}


async def test_errors_and_late_answers_come_over_a_socket() -> None:
    async def play(cloud: LocalCloud, client: httpx2.AsyncClient) -> None:
        cloud.script(PATCH, Fail("429", retry_after_s=1), Conflict(), Late(0.02))
        answers = [await send(client) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [429, 409, 200]
        assert answers[0].headers["retry-after"] == "1"

    cloud = await with_server(play)
    assert len(cloud.effects) == 1


@pytest.mark.parametrize("has_effect", [True, False])
async def test_a_connection_over_a_socket_breaks(has_effect: bool) -> None:
    async def play(cloud: LocalCloud, client: httpx2.AsyncClient) -> None:
        cloud.script(PATCH, Lost(has_effect=has_effect))
        with pytest.raises(httpx2.RemoteProtocolError):
            await send(client)
        assert (await client.get(f"/v2/{NAME}")).status_code == 200

    cloud = await with_server(play)
    assert len(cloud.effects) == has_effect
    assert cloud.requests["read_back"] == 1


async def test_a_caller_that_leaves_a_socket_gives_the_end_back_its_hands() -> None:
    async def play(cloud: LocalCloud, client: httpx2.AsyncClient) -> None:
        cloud.script(PATCH, Hang())
        with trio.move_on_after(0.1) as deadline:
            await send(client)
        assert deadline.cancelled_caught
        assert (await client.get(f"/v2/{NAME}")).status_code == 200

    cloud = await with_server(play)
    assert len(cloud.effects) == 1
    assert cloud.requests["read_back"] == 1


async def test_the_application_lets_go_of_a_request_whose_caller_has_left(
    autojump_clock: MockClock,
) -> None:
    caller = call_cloud()
    caller.cloud.script("run.services.get", Late(60))
    scope = {"type": "http", "method": "GET", "path": f"/v2/{NAME}"}
    events: list[dict[str, Any]] = [{"type": "http.request"}, {"type": "http.disconnect"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await trio.sleep(1)
        return events.pop(0)

    async def take(event: dict[str, Any]) -> None:
        sent.append(event)

    began = trio.current_time()
    await caller.cloud.app({**scope, "query_string": b"", "headers": []}, receive, take)

    assert (sent, trio.current_time() - began) == ([], 2)


async def test_an_application_server_can_start_and_stop_it() -> None:
    cloud = LocalCloud(start_clock())
    events: list[dict[str, Any]] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0)

    async def take(event: dict[str, Any]) -> None:
        sent.append(event["type"])

    await cloud.app({"type": "lifespan"}, receive, take)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
