"""What the door answers when the control plane can't, or must not."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import attrs
import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.errors import CallTimedOut, LogForked, NoSuchActor, StoreUnavailable
from autonomics.http.app import SOCKET_PRINCIPAL, create_app
from autonomics.http.setting import DoorSettings
from autonomics.supervisors import TreeNode
from autonomics.testing.door import House, client_of, expect_problem
from autonomics.testing.memory_control_plane import MemoryControlPlane

Heard = list[tuple[str, dict[str, Any]]]
SIGNAL = {"severity": "ERROR"}
PUSH: dict[str, Any] = {"message": {"data": "e30=", "messageId": "1"}, "subscription": "s"}


async def test_a_store_that_is_away_is_503_with_a_time_to_come_again(
    memory_house: House, memory: MemoryControlPlane
) -> None:
    memory.is_store_down = True
    async with memory_house.client("tenant") as client:
        for path, body in (("/v1/signals", SIGNAL), ("/pubsub", PUSH)):
            response = await client.post(path, json=body)
            expect_problem(response, 503, "store_unavailable")
            assert int(response.headers["retry-after"]) >= 1
        ready = await client.get("/health/ready")
        assert expect_problem(ready, 503, "not_ready")["readiness"] == "store_unavailable"
        health = expect_problem(await client.get("/health"), 503, "not_ready")
        assert health["health"]["store"] == "memory"
        assert (await client.get("/health/live")).status_code == 200
    async with memory_house.client() as client:
        health = expect_problem(await client.get("/health"), 503, "not_ready")
        assert health["health"] == {"status": "store_unavailable"}


async def test_a_full_tenant_is_429(memory_house: House, memory: MemoryControlPlane) -> None:
    memory.open_signals = 0
    async with memory_house.client("push") as client:
        for path, body in (("/v1/signals", SIGNAL), ("/pubsub", PUSH)):
            response = await client.post(path, json=body)
            expect_problem(response, 429, "mailbox_full")
            assert response.headers["retry-after"] == "1"


async def test_a_decision_that_does_not_come_is_504_and_stays_accepted(
    memory_house: House, memory: MemoryControlPlane, autojump_clock: MockClock
) -> None:
    memory.deciding = trio.Event()
    async with memory_house.client("tenant") as client:
        headers = {"Idempotency-Key": "k"}
        late = await client.post("/v1/signals", json=SIGNAL, headers=headers)
        assert "same key" in expect_problem(late, 504, "timed_out")["next"]
        memory.deciding.set()
        again = await client.post("/v1/signals", json=SIGNAL, headers=headers)
        assert (again.status_code, again.json()["duplicate"]) == (200, True)


async def test_a_push_beyond_the_bounds_of_parking_is_not_acknowledged(
    memory_house: House, memory: MemoryControlPlane
) -> None:
    memory.parked_messages = 0
    async with memory_house.client("admin") as client:
        body = expect_problem(await client.post("/pubsub", json=PUSH), 404, "unknown_tenant")
        assert "limit=0" in body["detail"]
        expect_problem(await client.post("/pubsub", content=b"x"), 400, "unreadable")


async def test_a_tenant_that_is_closed_is_503_for_as_long_as_it_says(memory_house: House) -> None:
    async with memory_house.client("admin") as client:
        await client.post("/v1/tenants/acme/close")
    async with memory_house.client("push") as client:
        response = await client.post("/pubsub", json=PUSH)
        expect_problem(response, 503, "tenant_unavailable")
        assert response.headers["retry-after"] == "3600"


async def test_a_stopped_line_refuses_an_act_with_the_catalogues_status(
    memory_house: House,
) -> None:
    async with memory_house.client("operator") as client:
        await client.post("/v1/line/stop", json={"scope": "line", "reason": "drill"})
        expect_problem(await client.get("/health/ready"), 503, "not_ready")
    async with memory_house.client("tenant") as client:
        response = await client.post("/v1/signals", json=SIGNAL)
        body = expect_problem(response, 423, "line_stopped")
    assert body["detail"] == "acme may not act: the line is stopped for line: drill"
    assert "clear the stop" in body["next"]
    assert (body["decision"]["answer"], body["decision"]["code"]) == ("refuse", "line_stopped")
    assert body["decision"]["verdicts"][0]["ruling"] == "refuses"
    assert response.headers["receipt-id"] == body["receipts"]["decided"]


@pytest.mark.parametrize(
    ("trust", "peer", "forwarded", "placed"),
    [
        (True, "127.0.0.1", False, True),
        (True, "::1", False, True),
        (True, "10.0.0.7", False, False),
        (True, "127.0.0.1", True, False),
        (False, "127.0.0.1", False, False),
    ],
)
async def test_a_tenant_attribute_counts_in_the_demo_and_from_this_machine_alone(
    memory_house: House, trust: bool, peer: str, forwarded: bool, placed: bool
) -> None:
    settings = DoorSettings(trust_tenant_attribute=trust)
    body = {**PUSH, "message": {**PUSH["message"], "attributes": {"tenant": "acme"}}}
    headers = {"X-Forwarded-For": "10.0.0.7"} if forwarded else {}
    async with memory_house.client("admin", settings=settings, peer=(peer, 1)) as client:
        response = await client.post("/pubsub", json=body, headers=headers)
    assert response.status_code == (200 if placed else 202)


async def test_a_tenant_attribute_never_moves_a_tenants_own_key(
    memory_house: House, memory: MemoryControlPlane
) -> None:
    settings = DoorSettings(trust_tenant_attribute=True)
    body = {**PUSH, "message": {**PUSH["message"], "attributes": {"tenant": "globex"}}}
    async with memory_house.client("push", settings=settings) as client:
        receipt = (await client.post("/pubsub", json=body)).json()["receipt"]
    acme = await memory.tenant("acme")
    assert acme is not None
    assert receipt.startswith(f"{acme.handle}.")


async def test_what_is_parked_for_a_tenant_is_replayed_when_it_is_created(
    memory_house: House, memory: MemoryControlPlane
) -> None:
    settings = DoorSettings(trust_tenant_attribute=True)
    body = {**PUSH, "message": {**PUSH["message"], "attributes": {"tenant": "initech"}}}
    async with memory_house.client("admin", settings=settings) as client:
        parked = await client.post("/pubsub", json=body)
        assert (parked.status_code, parked.json()["parked"]) == (202, "unknown_tenant")
        created = (await client.post("/v1/tenants", json={"id": "initech"})).json()
        assert created["replayed"] == 1
        rows = (await client.get("/v1/receipts?tenant=initech")).json()["receipts"]
        assert "received" in [row["kind"] for row in rows]


@attrs.define
class Failing(MemoryControlPlane):
    """A control plane of which one question fails."""

    error: Exception | None = None

    async def tree(self) -> TreeNode:
        assert self.error is not None
        raise self.error

    async def count_stranger(self, reason: str) -> None:
        if self.error is not None:
            raise self.error


def failing(error: Exception) -> QuartTrio:
    return create_app(Failing(error=error), principal=SOCKET_PRINCIPAL)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreUnavailable("away"), 503, "store_unavailable"),
        (LogForked("forked"), 503, "ledger_error"),
        (NoSuchActor("nobody"), 503, "busy"),
        (CallTimedOut("late"), 504, "timed_out"),
    ],
)
async def test_an_error_that_was_foreseen_has_its_own_problem(
    error: Exception, status: int, code: str
) -> None:
    async with client_of(failing(error)) as client:
        expect_problem(await client.get("/v1/tree"), status, code)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("password is hunter2"),
        KeyError("hunter2"),
        RecursionError("hunter2"),
        ExceptionGroup("two", [ValueError("hunter2"), OSError("hunter2")]),
        ExceptionGroup("one", [ExceptionGroup("inner", [ValueError("hunter2")])]),
    ],
)
async def test_an_error_that_nobody_foresaw_is_500_without_its_text(
    error: Exception, heard: Heard
) -> None:
    async with client_of(failing(error)) as client:
        response = await client.get("/v1/tree", headers={"X-Request-Id": "req-1"})
        again = await client.get("/health/live")
    body = expect_problem(response, 500, "internal")
    assert body["request_id"] == "req-1"
    assert "hunter2" not in response.text
    assert again.status_code == 200
    failed = [fields for name, fields in heard if name == "http.failed"]
    assert [(row["request_id"], row["route"]) for row in failed] == [("req-1", "tree")]
    assert "hunter2" in repr(failed[0]["error"])


async def test_an_answer_that_takes_too_long_is_504(autojump_clock: MockClock) -> None:
    class Slow(MemoryControlPlane):
        async def tree(self) -> NoReturn:
            await trio.sleep_forever()

    async with client_of(create_app(Slow(), principal=SOCKET_PRINCIPAL)) as client:
        expect_problem(await client.get("/v1/tree"), 504, "timed_out")


async def test_more_requests_than_the_door_takes_are_turned_away(
    memory_house: House, memory: MemoryControlPlane
) -> None:
    memory.deciding = trio.Event()
    settings = DoorSettings(requests_in_flight=2)
    statuses: list[int] = []
    async with memory_house.client("tenant", settings=settings) as client, trio.open_nursery() as n:

        async def post() -> None:
            statuses.append((await client.post("/v1/signals", json=SIGNAL)).status_code)

        n.start_soon(post)
        n.start_soon(post)
        await wait_all_tasks_blocked()
        response = await client.post("/v1/signals", json=SIGNAL)
        expect_problem(response, 503, "door_full")
        assert response.headers["connection"] == "close"
        assert (await client.get("/health/live")).status_code == 200
        memory.deciding.set()
    assert statuses == [200, 200]


async def test_a_stranger_is_counted_and_turned_away_even_if_counting_fails(
    memory_house: House, memory: MemoryControlPlane
) -> None:
    async with memory_house.client() as client:
        expect_problem(await client.get("/v1/line"), 401, "unauthenticated")
        expect_problem(await client.get("/nope"), 401, "unauthenticated")
        assert memory.strangers == 2
    async with client_of(create_app(Failing(error=StoreUnavailable("away")))) as client:
        expect_problem(await client.get("/v1/line"), 401, "unauthenticated")


async def test_a_store_that_is_away_makes_nobody_a_stranger(memory_house: House) -> None:
    class Away(MemoryControlPlane):
        async def authenticate(self, secret: str) -> NoReturn:
            raise StoreUnavailable("away")

    async with client_of(create_app(Away())) as client:
        headers = {"Authorization": "Bearer abc"}
        response = await client.get("/v1/line", headers=headers)
        expect_problem(response, 503, "store_unavailable")
        assert (await client.get("/health/ready", headers=headers)).status_code == 200


async def test_health_that_cannot_be_asked_is_not_ready() -> None:
    class Mute(MemoryControlPlane):
        async def health(self) -> NoReturn:
            raise NoSuchActor("ledger is starting again")

    async with client_of(create_app(Mute())) as client:
        for path in ("/health", "/health/ready"):
            expect_problem(await client.get(path), 503, "not_ready")


async def test_a_payload_that_is_no_canonical_json_comes_with_its_bytes(
    memory_house: House,
) -> None:
    async with memory_house.client("tenant") as client:
        ids: list[str] = []
        for text in (b'{"a":1}', b'{"a": 1}', b'{"b":1,"a":1.50}'):
            headers = {"Content-Type": "application/json"}
            answer = await client.post("/v1/signals", content=text, headers=headers)
            ids.append(answer.json()["receipts"]["received"])
        rows = [(await client.get(f"/v1/receipts/{each}")).json() for each in ids]
    assert "payload_base64" not in rows[0]
    assert rows[1]["payload_base64"] == "eyJhIjogMX0="
    assert rows[1]["payload"] == {"a": 1}
    assert json.loads(json.dumps(rows[2]["payload"])) == {"b": 1, "a": 1.5}
