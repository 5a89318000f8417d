"""The way of a customer through real processes: sign-up, activation, keys, a signal."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from autonomics.http.marketplace import FIELD
from autonomics.tenancy.sign_up import Account
from autonomics.testing.token_issuer import (
    AUDIENCE,
    certificates,
    key_set,
    sign_up_claims,
    token_issuer,
)

from .conftest import Serve, ServerProcess, Shell

ACCOUNT = Account("E-1234-5678-9ABC-DEF0")
ISSUER, NEXT = token_issuer("key-1"), token_issuer("key-2")


def configure(shell: Shell, **settings: object) -> Path:
    path = shell.data.parent / "autonomics.toml"
    rows = {"marketplace_keys": str(shell.data.parent / "keys.json"), **settings}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in rows.items() if value)
    path.write_text(f"port = 0\n{text}")
    return path


def post(server: ServerProcess, token: str) -> httpx2.Response:
    return httpx2.post(f"{server.url}/marketplace", data={FIELD: token}, timeout=20)


def test_a_customer_signs_up_is_activated_and_sends_a_signal(
    new_house: Shell, serve: Serve
) -> None:
    keys = new_house.data.parent / "keys.json"
    keys.write_text(certificates(ISSUER))
    config = configure(new_house, marketplace_audience=AUDIENCE)
    token = ISSUER.sign(sign_up_claims(ACCOUNT.id, datetime.now(UTC)))
    server = serve(new_house.data, "--config", str(config)).wait_ready()

    first = post(server, token)
    assert first.status_code == 201, first.text
    server.end(signal.SIGKILL)
    server = serve(new_house.data, "--config", str(config)).wait_ready()
    again = post(server, token)
    assert (again.status_code, again.json()) == (200, {**first.json(), "duplicate": True})
    forged = NEXT.sign(sign_up_claims("forged", datetime.now(UTC)), kid=ISSUER.kid)
    assert post(server, forged).status_code == 401
    following = NEXT.sign(sign_up_claims("another", datetime.now(UTC)))
    assert post(server, following).status_code == 401
    keys.write_text(key_set(NEXT))
    assert post(server, following).status_code == 201

    tenant = first.json()["tenant"]
    assert f"account     {ACCOUNT.id}" in new_house.say("tenants", "show", tenant)
    said = new_house.say("tenants", "activate", tenant)
    assert "state       active" in said
    assert f"api-keys create --role tenant --tenant {tenant}" in said
    key = new_house.value("api-keys", "create", "--role", "tenant", "--tenant", tenant)["secret"]
    headers = {"Authorization": f"Bearer {key}"}
    decided = httpx2.post(
        f"{server.url}/v1/signals", json={"kind": "none such"}, headers=headers, timeout=20
    )
    assert decided.status_code == 200, decided.text
    assert "pending" not in new_house.say("tenants", "show", tenant)

    assert server.end() == 0
    server.wait_for("serve.stopping")
    refused = [event for event in server.events if event["event"] == "marketplace.refused"]
    assert [event["reason"] for event in refused] == ["wrong_signature", "unknown_key"]
    (read,) = (event for event in server.events if event["event"] == "keys.read")
    assert read["kids"] == ["key-2"]
    assert all(part not in repr(server.events) for part in token.split(".")[1:])
    log = new_house.say("receipts", "platform", "--json")
    assert all(part not in log for part in token.split(".")[1:])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"marketplace_audience": AUDIENCE}, "can't read .*keys.json: No such file"),
        ({}, "expected marketplace_audience to be the product's domain"),
        ({"marketplace_audience": " "}, "expected marketplace_audience to be a text"),
    ],
)
def test_a_server_that_could_let_nobody_sign_up_does_not_start(
    new_house: Shell, settings: dict[str, object], says: str
) -> None:
    config = configure(new_house, **settings)
    code, line = new_house.fail("serve", "--config", str(config))
    assert code in (1, 2)
    assert says.replace(".*", str(new_house.data.parent) + "/") in line
    assert not (new_house.data / "control.sock").exists()


def test_other_commands_need_no_keys(new_house: Shell) -> None:
    config = configure(new_house)
    assert new_house.value("tenants", "list", "--config", str(config)) == {"tenants": []}
