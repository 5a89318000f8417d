from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import httpx2
import pytest
import trio

from autonomics.config import GOOGLE_ISSUER
from autonomics.http.marketplace import BODY_LIMIT_BYTES, FIELD
from autonomics.http.setting import DoorSettings
from autonomics.integrations.google_sign_up import GoogleSignUp
from autonomics.integrations.key_set_file import KeySetFile
from autonomics.tenancy.sign_up import Account
from autonomics.testing.door import House, expect_problem, furnish
from autonomics.testing.memory_control_plane import MemoryControlPlane
from autonomics.testing.token_issuer import (
    AUDIENCE,
    certificates,
    key_set,
    sign_up_claims,
    token_issuer,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ISSUER, NEXT = token_issuer("key-1"), token_issuer("key-2")
ACCOUNT = Account("E-1234-5678-9ABC-DEF0")
FORM = "application/x-www-form-urlencoded"
Heard = list[tuple[str, dict[str, Any]]]


def token_for(account: object = ACCOUNT.id, **changes: Any) -> str:
    return ISSUER.sign(sign_up_claims(account, NOW, **changes))


@attrs.frozen
class Desk:
    """A house whose door takes sign-ups under the keys of a file."""

    house: House
    path: Path
    settings: DoorSettings

    def client(self, role: str | None = None) -> httpx2.AsyncClient:
        return self.house.client(role, settings=self.settings)

    async def post(self, token: str) -> httpx2.Response:
        async with self.client() as client:
            return await client.post("/marketplace", data={FIELD: token})

    async def send(self, body: bytes, content_type: str = FORM) -> httpx2.Response:
        async with self.client() as client:
            headers = {"Content-Type": content_type}
            return await client.post("/marketplace", content=body, headers=headers)


def open_desk(house: House, folder: Path, now: datetime = NOW) -> Desk:
    path = folder / "keys.json"
    path.write_text(certificates(ISSUER))
    google = GoogleSignUp(
        KeySetFile(path), issuer=GOOGLE_ISSUER, audience=AUDIENCE, clock=lambda: now
    )
    return Desk(house, path, DoorSettings(sign_up=google))


@pytest.fixture
async def desk(house: House, tmp_path: Path) -> Desk:
    return open_desk(house, tmp_path)


@pytest.fixture
async def memory_desk(memory_house: House, tmp_path: Path) -> Desk:
    return open_desk(memory_house, tmp_path)


async def test_a_valid_token_makes_a_pending_tenant(desk: Desk) -> None:
    response = await desk.post(token_for())

    body = response.json()
    assert response.status_code == 201
    assert body == {
        "tenant": ACCOUNT.tenant_id,
        "state": "pending",
        "receipt": body["receipt"],
        "duplicate": False,
        "next": "wait until the operator activates the tenant; its signals are received meanwhile",
    }
    assert response.headers["receipt-id"] == body["receipt"]
    assert response.headers["location"] == f"/v1/tenants/{ACCOUNT.tenant_id}"
    assert response.headers["cache-control"] == "no-store"
    async with desk.client("admin") as client:
        tenant = (await client.get(response.headers["location"])).json()
        keys = (await client.get("/v1/api-keys")).json()["api_keys"]
    assert (tenant["state"], tenant["price_plan"]) == ("pending", "evaluation")
    assert tenant["account"] == ACCOUNT.id
    assert not [key for key in keys if key["tenant"] == ACCOUNT.tenant_id]


async def test_the_platforms_log_has_the_account_in_one_receipt(desk: Desk) -> None:
    first = (await desk.post(token_for())).json()
    await desk.post(token_for())

    async with desk.client("admin") as client:
        shown = (await client.get(f"/v1/receipts/{first['receipt']}")).json()
    assert (shown["kind"], shown["payload"]["event"]) == ("tenant", "signed_up")
    log = await desk.house.control.receipts("platform", 0, 1000)
    named = [view.id for view in log if ACCOUNT.id.encode() in (view.payload or b"")]
    assert named == [first["receipt"]]


async def test_however_often_it_comes_there_is_one_tenant(desk: Desk) -> None:
    first = await desk.post(token_for())
    replay = await desk.post(token_for())
    another = await desk.post(token_for(iat=int(NOW.timestamp()) - 1))

    assert [answer.status_code for answer in (first, replay, another)] == [201, 200, 200]
    for answer in (replay, another):
        assert answer.json() == {**first.json(), "duplicate": True}
        assert answer.headers["receipt-id"] == first.headers["receipt-id"]
    assert len(await desk.house.control.tenants()) == 3


async def test_many_at_once_make_one_tenant(desk: Desk) -> None:
    answers: list[httpx2.Response] = []

    async def post() -> None:
        answers.append(await desk.post(token_for()))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(post)

    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.headers["receipt-id"] for answer in answers}) == 1
    assert len(await desk.house.control.tenants()) == 3


async def test_different_accounts_are_different_tenants(desk: Desk) -> None:
    tenants = {(await desk.post(token_for(f"account-{n}"))).json()["tenant"] for n in range(3)}
    assert len(tenants) == 3


@pytest.mark.parametrize(
    ("verbs", "state", "next_word"),
    [
        (("activate",), "active", "keys"),
        (("activate", "suspend"), "suspended", "suspended"),
        (("close",), "closed", "closed"),
    ],
)
async def test_who_signs_up_again_hears_how_the_tenant_is_and_changes_nothing(
    desk: Desk, verbs: tuple[str, ...], state: str, next_word: str
) -> None:
    first = (await desk.post(token_for())).json()
    async with desk.client("admin") as client:
        for verb in verbs:
            changed = await client.post(f"/v1/tenants/{first['tenant']}/{verb}")
            assert changed.status_code == 200, changed.text
        before = (await client.get(f"/v1/tenants/{first['tenant']}")).json()
        again = await desk.post(token_for())
        after = (await client.get(f"/v1/tenants/{first['tenant']}")).json()

    body = again.json()
    assert (again.status_code, body["duplicate"], body["state"]) == (200, True, state)
    assert body["receipt"] == first["receipt"]
    assert next_word in body["next"]
    assert after == before


async def test_activating_is_for_pending_tenants_and_admins(desk: Desk) -> None:
    tenant = (await desk.post(token_for())).json()["tenant"]
    async with desk.client("tenant") as client:
        refused = await client.post(f"/v1/tenants/{tenant}/activate")
        expect_problem(refused, 403, "role_may_not")
    async with desk.client("admin") as client:
        expect_problem(await client.post("/v1/tenants/acme/activate"), 422, "invalid_input")
        assert (await client.post(f"/v1/tenants/{tenant}/activate")).json()["state"] == "active"
        again = await client.post(f"/v1/tenants/{tenant}/activate")
        expect_problem(again, 422, "invalid_input")


async def test_a_tenant_made_by_hand_under_the_same_id_is_not_handed_over(desk: Desk) -> None:
    await desk.house.control.create_tenant(ACCOUNT.tenant_id, "by hand", "standard", "test")
    expect_problem(await desk.post(token_for()), 409, "conflict")


def changed(**changes: Any) -> str:
    return token_for(**changes)


def no_signature() -> str:
    return token_for().rpartition(".")[0] + ".AAAA"


WRONG: dict[str, tuple[Callable[[], str], str]] = {
    "garbage": (lambda: "garbage", "malformed"),
    "empty": (lambda: "", "malformed"),
    "no signature": (no_signature, "wrong_signature"),
    "alg none": (lambda: ISSUER.sign({}, alg="none"), "wrong_algorithm"),
    "alg HS256": (lambda: ISSUER.sign({}, alg="HS256"), "wrong_algorithm"),
    "unknown kid": (lambda: NEXT.sign(sign_up_claims("a", NOW)), "unknown_key"),
    "another's key": (lambda: NEXT.sign(sign_up_claims("a", NOW), kid="key-1"), "wrong_signature"),
    "issuer": (lambda: changed(iss="https://evil.example.com"), "wrong_issuer"),
    "audience": (lambda: changed(aud="another.example.com"), "wrong_audience"),
    "audiences": (lambda: changed(aud=["another.example.com"]), "wrong_audience"),
    "expired": (lambda: changed(exp=int(NOW.timestamp()) - 61), "expired"),
    "from the future": (lambda: changed(iat=int(NOW.timestamp()) + 61), "from_the_future"),
    "no subject": (lambda: changed(account=""), "wrong_subject"),
    "10 kB of header": (lambda: ISSUER.sign({}, x="x" * 10_000), "too_long"),
}


@pytest.mark.parametrize(("make", "reason"), WRONG.values(), ids=WRONG)
async def test_a_token_that_is_wrong_makes_nobody_a_tenant(
    memory_desk: Desk,
    memory: MemoryControlPlane,
    heard: Heard,
    make: Callable[[], str],
    reason: str,
) -> None:
    token = make()
    response = await memory_desk.post(token)

    problem = expect_problem(response, 401, "sign_up_refused")
    assert problem["detail"] == "the sign-up token was not accepted"  # and not why
    assert memory.strangers == 1
    assert len(await memory.tenants()) == 2
    (refused,) = (fields for event, fields in heard if event == "marketplace.refused")
    assert (refused["reason"], refused["setting"]) == (reason, None)
    for part in token.split("."):
        assert len(part) < 8 or part not in repr(heard) + response.text


async def test_nothing_of_a_valid_token_is_told_either(memory_desk: Desk, heard: Heard) -> None:
    token = token_for()
    response = await memory_desk.post(token)
    assert response.status_code == 201
    for part in token.split("."):
        assert part not in repr(heard) + response.text


async def test_without_keys_nobody_signs_up_and_the_operator_hears_which_setting(
    memory_house: House, memory: MemoryControlPlane, heard: Heard
) -> None:
    async with memory_house.client() as client:
        response = await client.post("/marketplace", data={FIELD: token_for()})

    expect_problem(response, 401, "sign_up_refused")
    assert "marketplace_keys" not in response.text
    (refused,) = (fields for event, fields in heard if event == "marketplace.refused")
    assert (refused["reason"], refused["setting"]) == ("not_configured", "marketplace_keys")
    assert memory.strangers == 1


async def test_a_key_of_ours_is_no_sign_up_token(memory_desk: Desk) -> None:
    for role in ("admin", "tenant", "operator"):
        async with memory_desk.client(role) as client:
            response = await client.post("/marketplace", data={FIELD: "none"})
            expect_problem(response, 401, "sign_up_refused")


async def test_keys_are_rotated_without_a_restart(memory_desk: Desk) -> None:
    following = NEXT.sign(sign_up_claims("later", NOW))
    expect_problem(await memory_desk.post(following), 401, "sign_up_refused")

    memory_desk.path.write_text(key_set(ISSUER, NEXT))
    assert (await memory_desk.post(following)).status_code == 201
    memory_desk.path.write_text("broken")
    assert (await memory_desk.post(token_for())).status_code == 201
    memory_desk.path.write_text(certificates(NEXT))
    expect_problem(await memory_desk.post(token_for()), 401, "sign_up_refused")


def form(*fields: tuple[str, str]) -> bytes:
    return urlencode(fields).encode()


TOKEN = token_for()


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (form((FIELD, TOKEN)), FORM, 201, ""),
        (form((FIELD, TOKEN)), f"{FORM}; charset=UTF-8", 201, ""),
        (form((FIELD, TOKEN), ("more", "")), FORM, 201, ""),
        (b"", FORM, 401, "sign_up_refused"),
        (form(("token", TOKEN)), FORM, 401, "sign_up_refused"),
        (form((FIELD.upper(), TOKEN)), FORM, 401, "sign_up_refused"),
        (form((FIELD, "ä")), FORM, 401, "sign_up_refused"),
        (form((FIELD, TOKEN), (FIELD, TOKEN)), FORM, 400, "bad_request"),
        (form(*((f"f{n}", "") for n in range(17))), FORM, 400, "bad_request"),
        (FIELD.encode() + b"=%ff", FORM, 400, "bad_request"),
        (FIELD.encode() + b"=\xff", FORM, 400, "bad_request"),
        (FIELD.encode(), FORM, 400, "bad_request"),
        (b"&&", FORM, 400, "bad_request"),
        (form((FIELD, "x" * BODY_LIMIT_BYTES)), FORM, 413, "body_too_large"),
        (json.dumps({FIELD: TOKEN}).encode(), "application/json", 415, "not_a_form"),
        (form((FIELD, TOKEN)), "", 415, "not_a_form"),
        (form((FIELD, TOKEN)), f"{FORM}; charset=utf-16", 415, "not_a_form"),
        (b"--x", "multipart/form-data; boundary=x", 415, "not_a_form"),
    ],
)
async def test_only_a_plain_form_with_the_field_once_is_read(
    memory_desk: Desk, body: bytes, content_type: str, status: int, code: str
) -> None:
    response = await memory_desk.send(body, content_type)
    if status == 201:
        assert response.status_code == 201, response.text
    else:
        expect_problem(response, status, code)


async def test_a_body_that_announces_no_length_is_bounded_too(memory_desk: Desk) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * (BODY_LIMIT_BYTES // 4)

    async with memory_desk.client() as client:
        headers = {"Content-Type": FORM}
        response = await client.post("/marketplace", content=chunks(), headers=headers)
    expect_problem(response, 413, "body_too_large")


async def test_other_methods_and_parameters_are_refused(memory_desk: Desk) -> None:
    async with memory_desk.client("admin") as client:
        answer = await client.get("/marketplace")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    async with memory_desk.client() as client:
        answer = await client.post(f"/marketplace?{FIELD}={TOKEN}", data={FIELD: TOKEN})
        expect_problem(answer, 400, "bad_request")
        assert TOKEN not in answer.text


async def test_a_store_that_is_away_signs_nobody_up(
    memory_desk: Desk, memory: MemoryControlPlane
) -> None:
    memory.is_store_down = True
    response = await memory_desk.post(token_for())
    expect_problem(response, 503, "store_unavailable")
    assert response.headers["retry-after"]
    memory.is_store_down = False
    assert (await memory_desk.post(token_for())).status_code == 201


async def test_a_token_is_good_until_a_minute_after_its_time(tmp_path: Path) -> None:
    house = await furnish(MemoryControlPlane())
    for seconds, status in ((359, 201), (360, 401)):
        desk = open_desk(house, tmp_path, NOW + timedelta(seconds=seconds))
        assert (await desk.post(token_for())).status_code == status
