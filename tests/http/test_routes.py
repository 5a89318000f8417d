"""What every control plane shows through the HTTP door."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from autonomics.actors.message import Role
from autonomics.http.app import ROUTES
from autonomics.http.route import Route
from autonomics.http.signals import INPUTS
from autonomics.receipts import verify
from autonomics.testing.door import House, expect_problem

PAYLOADS = Path(__file__).resolve().parents[2].parent / "shared" / "payloads"
SIGNAL = {"severity": "ERROR", "textPayload": "something is wrong"}


def wrap(data: object, message_id: str = "m-1", **attributes: str) -> dict[str, Any]:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return {
        "message": {
            "data": base64.b64encode(raw).decode(),
            "messageId": message_id,
            "publishTime": "2026-01-01T00:00:00Z",
            "attributes": attributes,
        },
        "subscription": "projects/p/subscriptions/s",
    }


def sample(name: str) -> dict[str, Any]:
    path = PAYLOADS / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    payload: dict[str, Any] = json.loads(path.read_text())["payload"]
    return payload


async def test_a_push_is_durable_before_it_is_answered(house: House) -> None:
    async with house.client("push") as client:
        response = await client.post("/pubsub", json=wrap(SIGNAL))
        assert response.status_code == 200
        receipt = response.json()["receipt"]
        assert response.json() == {"receipt": receipt, "duplicate": False}
        assert response.headers["receipt-id"] == receipt
    async with house.client("tenant") as client:
        shown = (await client.get(f"/v1/receipts/{receipt}")).json()
        assert (shown["id"], shown["kind"]) == (receipt, "received")


async def test_a_redelivered_push_gives_the_first_receipt(house: House) -> None:
    async with house.client("push") as client:
        first = (await client.post("/pubsub", json=wrap(SIGNAL))).json()
        again = await client.post("/pubsub", json=wrap(SIGNAL))
        other = await client.post("/pubsub", json=wrap(SIGNAL, "m-2"))
    assert again.status_code == 200
    assert again.json() == {"receipt": first["receipt"], "duplicate": True}
    assert other.json()["receipt"] != first["receipt"]


async def test_a_push_may_carry_its_token_in_the_url(house: House) -> None:
    async with house.client() as client:
        response = await client.post(f"/pubsub?token={house.keys['push']}", json=wrap(SIGNAL))
        assert response.status_code == 200
        wrong = await client.post("/pubsub?token=nobody", json=wrap(SIGNAL))
        expect_problem(wrong, 401, "unauthenticated")
        elsewhere = await client.post(f"/v1/signals?token={house.keys['push']}", json=SIGNAL)
        expect_problem(elsewhere, 401, "unauthenticated")


async def test_an_unwrapped_push_is_taken_from_its_headers(house: House) -> None:
    payload = sample("pubsub_push_unwrapped.json")
    async with house.client("push") as client:
        first = await client.post("/pubsub", headers=payload["headers"], json=payload["body"])
        again = await client.post("/pubsub", headers=payload["headers"], json=payload["body"])
    assert (first.status_code, first.json()["duplicate"]) == (200, False)
    assert again.json() == {**first.json(), "duplicate": True}


@pytest.mark.parametrize("name", ["pubsub_push_wrapped_max.json", "pubsub_push_wrapped_min.json"])
async def test_googles_sample_is_no_signal_and_is_parked(house: House, name: str) -> None:
    async with house.client("push") as client:
        response = await client.post("/pubsub", json=sample(name))
        again = await client.post("/pubsub", json=sample(name))
    body = response.json()
    assert response.status_code == 202
    assert body["parked"] == "unreadable"
    assert body["receipt"].startswith("platform.")
    assert response.headers["receipt-id"] == body["receipt"]
    assert again.json() == {**body, "duplicate": True}


@pytest.mark.parametrize(
    "content", [b"", b"{bad", b"\xff", b"[" * 100_000, b'{"message": {"data": "%%%"}}', b"[]"]
)
async def test_a_push_that_cannot_be_read_is_parked(house: House, content: Any) -> None:
    async with house.client("push") as client:
        response = await client.post("/pubsub", content=content)
    assert response.status_code == 202
    assert response.json()["parked"] == "unreadable"


async def test_a_push_for_no_tenant_is_parked(house: House) -> None:
    async with house.client("admin") as client:
        response = await client.post("/pubsub", json=wrap(SIGNAL, tenant="acme"))
    assert response.status_code == 202
    assert response.json()["parked"] == "unknown_tenant"


async def test_a_signal_is_answered_with_its_decision(house: House) -> None:
    async with house.client("tenant") as client:
        response = await client.post("/v1/signals", json=SIGNAL)
        body = response.json()
        shown = {"decision", "digest", "receipts", "duplicate"}
        assert shown <= body.keys()
        assert response.headers["receipt-id"] == body["receipts"]["decided"]
        decided = (await client.get(f"/v1/receipts/{body['receipts']['decided']}")).json()
        received = (await client.get(f"/v1/receipts/{body['receipts']['received']}")).json()
    assert body["decision"].items() <= decided["payload"].items()
    assert decided["payload"].keys() - body["decision"].keys() <= set(INPUTS)
    assert decided["fields"]["digest"] == body["digest"]
    assert (received["kind"], decided["kind"]) == ("received", "decided")


async def test_two_signals_without_a_key_are_two(house: House) -> None:
    async with house.client("tenant") as client:
        one, two = [(await client.post("/v1/signals", json=SIGNAL)).json() for _ in range(2)]
    assert one["receipts"] != two["receipts"]
    assert not two["duplicate"]


async def test_an_idempotency_key_makes_two_signals_one(house: House) -> None:
    headers = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
    async with house.client("tenant") as client:
        one = await client.post("/v1/signals", json=SIGNAL, headers=headers)
        two = await client.post("/v1/signals", json=SIGNAL, headers=headers)
        other = await client.post("/v1/signals", json={"other": 1}, headers=headers)
    assert one.json()["receipts"] == two.json()["receipts"]
    assert (one.json()["duplicate"], two.json()["duplicate"]) == (False, True)
    assert two.headers["idempotent-replayed"] == "true"
    expect_problem(other, 422, "idempotency_conflict")


async def test_an_admin_names_the_tenant_of_a_signal(house: House) -> None:
    async with house.client("admin") as client:
        named = await client.post("/v1/signals?tenant=globex", json=SIGNAL)
        assert "receipts" in named.json()
        expect_problem(await client.post("/v1/signals", json=SIGNAL), 422, "tenant_not_named")
        unknown = await client.post("/v1/signals?tenant=nobody", json=SIGNAL)
        expect_problem(unknown, 404, "unknown_tenant")


async def test_a_stopped_line_refuses_with_423_and_the_decision(house: House) -> None:
    async with house.client("admin") as client:
        stop = {"scope": "line", "reason": "a drill"}
        assert (await client.post("/v1/line/stop", json=stop)).json()["stopped"] is True
    async with house.client("tenant") as client:
        response = await client.post("/v1/signals", json=SIGNAL)
        # A signal that no recipe would act on is answered 200: there was no act to refuse.
        if response.status_code != 200:
            body = expect_problem(response, 423, "line_stopped")
            assert body["decision"]["verdicts"]
            assert response.headers["receipt-id"] == body["receipts"]["decided"]
        assert (await client.get("/v1/line")).json()["stopped"] is True


async def test_the_line_is_cleared_with_a_cause_a_fix_and_a_prevention(house: House) -> None:
    async with house.client("operator") as client:
        await client.post("/v1/line/stop", json={"scope": "line", "reason": "a drill"})
        before = (await client.get("/v1/line")).json()
        assert [stop["scope"] for stop in before["stops"]] == ["line"]
        assert before["stops"][0]["by"] == "control-socket"
        short = await client.post("/v1/line/clear", json={"scope": "line", "root_cause": "x"})
        expect_problem(short, 422, "invalid_input")
        texts = {"scope": "line", "root_cause": "drill", "fix": "none", "prevention": "none"}
        after = (await client.post("/v1/line/clear", json=texts)).json()
    assert after["stopped"] is False
    assert after["generation"] > before["generation"]


async def test_a_log_is_read_page_by_page(house: House) -> None:
    async with house.client("tenant") as client:
        for _ in range(3):
            await client.post("/v1/signals", json=SIGNAL)
        whole = (await client.get("/v1/receipts")).json()
        assert whole["next"] is None
        seqs: list[int] = []
        after: int | None = -1
        while after is not None:
            page = (await client.get(f"/v1/receipts?after={after}&limit=2")).json()
            seqs.extend(row["seq"] for row in page["receipts"])
            after = page["next"]
    assert seqs == [row["seq"] for row in whole["receipts"]] == list(range(len(seqs)))
    assert whole["receipts"][0]["kind"] == "genesis"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422),
        ("limit=1001", 422),
        ("limit=x", 422),
        ("after=-2", 422),
        ("after=" + "9" * 30, 422),
        ("limit=1&limit=2", 400),
        ("limits=1", 400),
        ("log=other", 422),
    ],
)
async def test_a_query_that_is_wrong_is_refused(house: House, query: str, status: int) -> None:
    async with house.client("tenant") as client:
        response = await client.get(f"/v1/receipts?{query}")
    expect_problem(response, status, "invalid_input" if status == 422 else "bad_request")


async def test_an_unknown_parameter_is_answered_with_the_one_that_was_meant(house: House) -> None:
    async with house.client("tenant") as client:
        body = (await client.get("/v1/receipts?limits=1")).json()
    assert "did you mean limit?" in body["detail"]


async def test_the_platforms_log_is_for_admins(house: House) -> None:
    async with house.client("admin") as client:
        rows = (await client.get("/v1/receipts?log=platform")).json()["receipts"]
        assert rows[0]["id"] == "platform.0"
        assert (await client.get("/v1/receipts/platform.0")).status_code == 200
        both = await client.get("/v1/receipts?log=platform&tenant=acme")
        expect_problem(both, 422, "invalid_input")
    async with house.client("tenant") as client:
        expect_problem(await client.get("/v1/receipts?log=platform"), 403, "role_may_not")
        expect_problem(await client.get("/v1/receipts/platform.0"), 404, "unknown_receipt")


async def test_a_foreign_tenant_is_as_unknown_as_one_that_is_not(house: House) -> None:
    async with house.client("tenant") as client:
        own = (await client.post("/v1/signals", json=SIGNAL)).json()["receipts"]["received"]
    async with house.client("foreign") as client:
        for path in (
            "/v1/receipts?tenant=acme",
            "/v1/tenants/acme",
            "/v1/tenants/acme/export",
            "/v1/tenants/acme/vkey",
        ):
            foreign = await client.get(path)
            nobody = await client.get(path.replace("acme", "nobody"))
            one = expect_problem(foreign, 404, "unknown_tenant")
            two = expect_problem(nobody, 404, "unknown_tenant")
            assert one["detail"].replace("acme", "nobody") == two["detail"]
        posted = await client.post("/v1/signals?tenant=acme", json=SIGNAL)
        expect_problem(posted, 404, "unknown_tenant")
        for suffix in ("", "/related", "/proof"):
            expect_problem(await client.get(f"/v1/receipts/{own}{suffix}"), 404, "unknown_receipt")


async def test_the_receipts_of_one_signal_are_related(house: House) -> None:
    async with house.client("tenant") as client:
        ids = (await client.post("/v1/signals", json=SIGNAL)).json()["receipts"]
        for each in ids.values():
            rows = (await client.get(f"/v1/receipts/{each}/related")).json()["receipts"]
            assert [row["id"] for row in rows][:2] == [ids["received"], ids["decided"]]


async def test_a_receipt_shows_what_is_hashed_and_its_fields(house: House) -> None:
    async with house.client("tenant") as client:
        receipt = (await client.post("/v1/signals", json=SIGNAL)).json()["receipts"]["decided"]
        shown = (await client.get(f"/v1/receipts/{receipt}")).json()
    assert json.loads(shown["leaf"]) == shown["fields"]
    assert verify.leaf_hash(shown["leaf"].encode()).hex() == shown["leaf_hash"]
    assert len(bytes.fromhex(shown["salt"])) >= 16
    assert shown["erased"] is False


async def test_a_proof_is_a_tlog_proof_in_plain_text(house: House) -> None:
    async with house.client("tenant") as client:
        receipt = (await client.post("/v1/signals", json=SIGNAL)).json()["receipts"]["received"]
        response = await client.get(f"/v1/receipts/{receipt}/proof")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text.startswith("c2sp.org/tlog-proof@v1\n")


async def test_an_export_is_the_same_tar_each_time(house: House) -> None:
    async with house.client("tenant") as client:
        await client.post("/v1/signals", json=SIGNAL)
        one = await client.get("/v1/tenants/acme/export")
        two = await client.get("/v1/tenants/acme/export")
    assert one.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(one.content)) as archive:
        names = archive.getnames()
        assert "checkpoint" in names
        assert {entry.mtime for entry in archive} == {0}
    stable = one.content.partition(b"checkpoint")[0]
    assert two.content.startswith(stable)


async def test_a_vkey_names_the_tenants_log(house: House) -> None:
    async with house.client("tenant") as client:
        await client.post("/v1/signals", json=SIGNAL)
        vkey = (await client.get("/v1/tenants/acme/vkey")).text
        origin = (await client.get("/v1/receipts?limit=1")).json()["receipts"][0]["origin"]
    assert vkey.startswith(f"{origin}+")
    assert vkey.endswith("\n")


async def test_a_tenant_is_created_with_keys_that_work(house: House) -> None:
    async with house.client("admin") as client:
        response = await client.post("/v1/tenants", json={"id": "initech", "name": "Initech"})
        assert response.status_code == 201
        body = response.json()
        assert response.headers["location"] == "/v1/tenants/initech"
        assert response.headers["cache-control"] == "no-store"
        listed = (await client.get("/v1/tenants")).json()["tenants"]
        assert [row["id"] for row in listed] == ["acme", "globex", "initech"]
        again = await client.post("/v1/tenants", json={"id": "initech"})
        assert again.status_code in (409, 422)
    house.keys["new"] = body["api_key"]["secret"]
    house.keys["new_push"] = body["push_token"]["secret"]
    async with house.client("new") as client:
        assert (await client.get("/v1/tenants/initech")).json() == body["tenant"]
    async with house.client("new_push") as client:
        assert (await client.post("/pubsub", json=wrap(SIGNAL))).status_code == 200


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ({}, "expected id to be a text"),
        ({"id": ""}, "expected id to be a text"),
        ({"id": 5}, "expected id to be a text"),
        ({"id": "x", "nmae": "X"}, "did you mean name?"),
        ({"id": "x", "price_plan": "gold"}, "gold"),
    ],
)
async def test_a_tenant_that_is_named_badly_is_refused(house: House, body: Any, shown: str) -> None:
    async with house.client("admin") as client:
        problem = expect_problem(await client.post("/v1/tenants", json=body), 422, "invalid_input")
    assert shown in problem["detail"]


async def test_a_tenant_is_suspended_and_resumed(house: House) -> None:
    async with house.client("admin") as client:
        assert (await client.post("/v1/tenants/acme/suspend")).json()["state"] == "suspended"
        assert (await client.post("/v1/tenants/acme/resume")).json()["state"] == "active"
        expect_problem(await client.post("/v1/tenants/nobody/suspend"), 404, "unknown_tenant")


async def test_a_key_works_until_it_is_revoked(house: House) -> None:
    async with house.client("admin") as client:
        made = await client.post("/v1/api-keys", json={"role": "tenant", "tenant": "acme"})
        assert made.status_code == 201
        key = made.json()
        house.keys["made"] = key["secret"]
        async with house.client("made") as user:
            assert (await user.get("/v1/line")).status_code == 200
        revoked = await client.delete(f"/v1/api-keys/{key['id']}")
        assert revoked.json()["revoked_at"] is not None
        async with house.client("made") as user:
            expect_problem(await user.get("/v1/line"), 401, "unauthenticated")
        listed = await client.get("/v1/api-keys")
        assert key["secret"] not in listed.text
        row = next(row for row in listed.json()["api_keys"] if row["id"] == key["id"])
        assert row["revoked_at"] == revoked.json()["revoked_at"]
        expect_problem(await client.delete("/v1/api-keys/none"), 404, "unknown_key")


@pytest.mark.parametrize(
    "body",
    [
        {"role": "operator"},
        {"role": "king"},
        {"role": "admin", "tenant": "acme"},
        {"role": "push"},
        {"role": "tenant"},
    ],
)
async def test_a_key_that_would_fit_nobody_is_refused(house: House, body: Any) -> None:
    async with house.client("admin") as client:
        expect_problem(await client.post("/v1/api-keys", json=body), 422, "invalid_input")


async def test_the_tree_is_shown_to_admins(house: House) -> None:
    async with house.client("admin") as client:
        tree = (await client.get("/v1/tree")).json()
    assert {"id", "path", "kind", "state", "restarts", "children"} <= tree.keys()


async def test_the_status_of_an_actor_is_shown_to_admins(house: House) -> None:
    async with house.client("admin") as client:
        root = (await client.get("/v1/tree")).json()
        answer = await client.get("/v1/tree/status", params={"actor": root["path"]})
        status = answer.json()
        assert status["path"] == root["path"]
        assert status["state"] == "running"
        assert status["mailbox"]["depth"] == 0
        assert status["in_hand"] is None
        assert status["stack"]
        assert json.loads(json.dumps(status)) == status
        nobody = await client.get("/v1/tree/status", params={"actor": "nobody"})
        expect_problem(nobody, 404, "unknown_actor")
        expect_problem(await client.get("/v1/tree/status"), 404, "unknown_actor")
    async with house.client("tenant") as client:
        expect_problem(await client.get("/v1/tree/status"), 403, "role_may_not")


async def test_health_shows_the_readiness_to_all_and_the_rest_to_a_key(house: House) -> None:
    async with house.client() as client:
        assert (await client.get("/health")).json() == {"status": "ready"}
        assert (await client.get("/health/live")).json() == {"status": "live"}
        assert (await client.get("/health/ready")).json() == {"status": "ready"}
    async with house.client("tenant") as client:
        whole = (await client.get("/health")).json()
    assert whole["status"] == "ready"
    assert {"store", "line", "tenants", "receipts", "uptime_s", "version"} <= whole.keys()
    async with house.client(headers={"Authorization": "Bearer nobody"}) as client:
        expect_problem(await client.get("/health"), 401, "unauthenticated")


async def test_a_tenant_sees_its_own_stops_and_no_others(house: House) -> None:
    async with house.client("admin") as client:
        for scope in ("tenant:acme", "tenant:globex", "resource:secret-name"):
            answer = await client.post("/v1/line/stop", json={"scope": scope, "reason": "drill"})
            assert answer.status_code == 200
        assert len((await client.get("/v1/line")).json()["stops"]) == 3
    for role, others in (("tenant", "globex"), ("foreign", "acme")):
        async with house.client(role) as client:
            shown = await client.get("/v1/line")
        assert len(shown.json()["stops"]) == 1
        assert others not in shown.text
        assert "secret-name" not in shown.text


MATRIX = [(route, role) for route in ROUTES for role in ("admin", "tenant", "push", "operator")]


@pytest.mark.parametrize(
    ("route", "role"), MATRIX, ids=[f"{route.name}-{role}" for route, role in MATRIX]
)
async def test_each_role_may_use_its_routes_and_no_others(
    memory_house: House, route: Route, role: Any
) -> None:
    path = route.path.replace("<tenant_id>", "acme").replace("<receipt_id>", "x.0")
    path = path.replace("<key_id>", "none")
    async with memory_house.client(role) as client:
        response = await client.request(route.method, path)
    if role in route.roles:
        assert response.status_code not in (401, 403, 405), response.text
    else:
        expect_problem(response, 403, "role_may_not")


@pytest.mark.parametrize("route", ROUTES, ids=[route.name for route in ROUTES])
@pytest.mark.parametrize("header", [None, "Bearer nobody", "Basic YTpi", "Bearer"])
async def test_without_a_key_there_is_no_entry(
    memory_house: House, route: Route, header: str | None
) -> None:
    path = route.path.replace("<tenant_id>", "acme").replace("<receipt_id>", "x.0")
    headers = {} if header is None else {"Authorization": header}
    async with memory_house.client(headers=headers) as client:
        response = await client.request(route.method, path)
    if route.name in ("live", "ready") or (route.name == "health" and header is None):
        assert response.status_code == 200
    elif route.name == "sign_up":
        expect_problem(response, 415, "not_a_form")  # its key is in the form
    else:
        expect_problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")


ALLOWED: dict[str, set[Role]] = {
    "push": {"operator", "admin", "tenant", "push"},
    "signal": {"operator", "admin", "tenant", "push"},
    "health": {"operator", "admin", "tenant", "push"},
    "live": {"operator", "admin", "tenant", "push"},
    "ready": {"operator", "admin", "tenant", "push"},
    "sign_up": {"operator", "admin", "tenant", "push"},
    "receipts": {"operator", "admin", "tenant"},
    "receipt": {"operator", "admin", "tenant"},
    "related": {"operator", "admin", "tenant"},
    "proof": {"operator", "admin", "tenant"},
    "tenant": {"operator", "admin", "tenant"},
    "export": {"operator", "admin", "tenant"},
    "vkey": {"operator", "admin", "tenant"},
    "line": {"operator", "admin", "tenant"},
}


def test_what_is_not_for_tenants_is_for_admins_alone() -> None:
    for route in ROUTES:
        assert route.roles == ALLOWED.get(route.name, {"operator", "admin"}), route.name
    assert len({route.name for route in ROUTES}) == len(ROUTES)


async def test_the_platforms_own_log_is_exported_for_admins_alone(house: House) -> None:
    async with house.client("admin") as client:
        export = await client.get("/v1/tenants/platform/export")
        vkey = await client.get("/v1/tenants/platform/vkey")
    assert (export.status_code, vkey.status_code) == (200, 200)
    assert "/platform+" in vkey.text
    async with house.client("tenant") as client:
        assert (await client.get("/v1/tenants/platform/export")).status_code == 404
