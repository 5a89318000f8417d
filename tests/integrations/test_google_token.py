from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomics.config import load_settings
from autonomics.errors import InvalidConfig, TokenUnavailable
from autonomics.integrations.google_api import open_client
from autonomics.integrations.google_credential import COOLDOWN, MARGIN, NoToken
from autonomics.integrations.google_service_account import read_service_account
from autonomics.integrations.google_token import (
    SCOPES,
    MetadataToken,
    ServiceAccountToken,
    open_tokens,
)
from autonomics.testing.discovery import load_document
from autonomics.testing.token_issuer import token_issuer

from .google_end import BEGIN, virtual_now

METADATA = "http://metadata.google.internal"
FLAVOR = {"Metadata-Flavor": "Google"}
COOLDOWN_S = COOLDOWN.total_seconds()
MARGIN_S = MARGIN.total_seconds()
LIFE_S = 3600


def token_answer(number: int, life_s: object = LIFE_S, **changes: Any) -> httpx2.Response:
    body = {"access_token": f"ya29.t-{number}", "expires_in": life_s, "token_type": "Bearer"}
    return httpx2.Response(200, json={**body, **changes}, headers=FLAVOR)


class Giver:
    """Gives numbered tokens, or answers as it is told; each takes a second."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        number = len(self.requests)
        await trio.sleep(1)
        answer = self.answers.pop(0) if self.answers else token_answer(number)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self) -> httpx2.AsyncClient:
        return open_client(httpx2.MockTransport(self))

    def metadata(self) -> MetadataToken:
        return MetadataToken(self.client(), base_url=METADATA, clock=virtual_now)


async def test_a_machines_token_is_asked_for_as_the_server_wants_it(
    autojump_clock: MockClock,
) -> None:
    giver = Giver()
    assert await giver.metadata().token() == "ya29.t-1"
    (request,) = giver.requests
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    assert (request.method, str(request.url)) == ("GET", METADATA + path)
    assert request.headers["Metadata-Flavor"] == "Google"


async def test_a_token_is_kept_until_shortly_before_its_end(autojump_clock: MockClock) -> None:
    giver = Giver()
    tokens = giver.metadata()
    assert await tokens.token() == "ya29.t-1"
    # It was asked for at 0, so that is when its hour began at the latest.
    await trio.sleep(LIFE_S - MARGIN_S - 1.5)
    assert await tokens.token() == "ya29.t-1"
    await trio.sleep(1)
    assert await tokens.token() == "ya29.t-2"
    assert len(giver.requests) == 2


async def test_a_token_that_lives_briefly_serves_half_its_life(autojump_clock: MockClock) -> None:
    giver = Giver(token_answer(1, 60))
    tokens = giver.metadata()
    assert await tokens.token() == "ya29.t-1"
    await trio.sleep(28)
    assert await tokens.token() == "ya29.t-1"
    await trio.sleep(2)
    assert await tokens.token() == "ya29.t-2"


async def test_however_many_ask_one_request_is_made(autojump_clock: MockClock) -> None:
    giver = Giver()
    tokens = giver.metadata()
    found: list[str] = []

    async def ask() -> None:
        found.append(await tokens.token())

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert found == ["ya29.t-1"] * 20
    assert len(giver.requests) == 1


async def test_a_failure_is_told_to_all_who_wait_and_not_hammered(
    autojump_clock: MockClock,
) -> None:
    giver = Giver(httpx2.Response(503, text="away"))
    tokens = giver.metadata()
    told: list[str] = []

    async def ask() -> None:
        with pytest.raises(TokenUnavailable) as caught:
            await tokens.token()
        told.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert told == ["no token: metadata.google.internal answered 503"] * 20
    await trio.sleep(COOLDOWN_S - 0.1)
    await ask()
    assert len(giver.requests) == 1
    await trio.sleep(0.2)
    assert await tokens.token() == "ya29.t-2"


async def test_a_clock_that_is_set_back_does_not_prolong_a_failure() -> None:
    now = [BEGIN]
    giver = Giver(httpx2.Response(503))
    tokens = MetadataToken(giver.client(), base_url=METADATA, clock=lambda: now[0])
    with pytest.raises(TokenUnavailable):
        await tokens.token()
    now[0] -= timedelta(days=1)
    assert await tokens.token() == "ya29.t-2"


async def test_who_gives_up_waiting_does_not_take_the_token_from_the_others(
    autojump_clock: MockClock,
) -> None:
    giver = Giver()
    tokens = giver.metadata()
    found: list[str] = []

    async def ask_briefly() -> None:
        with trio.move_on_after(0.5):
            found.append(await tokens.token())

    async def ask() -> None:
        found.append(await tokens.token())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_briefly)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask)
    assert found == ["ya29.t-2"]


async def test_the_old_token_serves_while_a_new_one_can_not_be_had(
    autojump_clock: MockClock,
) -> None:
    giver = Giver(token_answer(1), *(httpx2.ConnectError("down") for _ in range(1000)))
    tokens = giver.metadata()
    await tokens.token()
    await trio.sleep(LIFE_S - MARGIN_S)
    assert await tokens.token() == "ya29.t-1"
    asked = len(giver.requests)
    assert await tokens.token() == "ya29.t-1"
    assert len(giver.requests) == asked, "not hammered meanwhile"
    await trio.sleep(MARGIN_S)
    with pytest.raises(TokenUnavailable, match=r"no connection to metadata\.google\.internal"):
        await tokens.token()


async def test_only_the_token_that_was_refused_is_dropped(autojump_clock: MockClock) -> None:
    tokens = Giver().metadata()
    first = await tokens.token()
    tokens.drop(first)
    second = await tokens.token()
    assert second != first
    tokens.drop(first)
    assert await tokens.token() == second


GOOD = {"access_token": "ya29.t", "expires_in": 60, "token_type": "Bearer"}
USELESS = "no token: expected access_token, expires_in and token_type Bearer"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (httpx2.Response(200, json=GOOD), "metadata.google.internal is no metadata server of"),
        (httpx2.Response(404, headers=FLAVOR), "metadata.google.internal answered 404"),
        (httpx2.Response(302, headers={"Location": "https://x.example"}), "answered 302"),
        (token_answer(1, access_token="two words"), USELESS),
        (token_answer(1, access_token="a\r\nX-Evil: 1"), USELESS),
        (token_answer(1, access_token=None), USELESS),
        (token_answer(1, token_type="mac"), USELESS),
        (token_answer(1, "3600"), USELESS),
        (token_answer(1, life_s=True), USELESS),
        (token_answer(1, 5), "no token: the new one has run out already"),
        (httpx2.Response(200, text="<html>", headers=FLAVOR), USELESS),
        (httpx2.ReadTimeout(""), "no token: no answer from metadata.google.internal: read timeout"),
    ],
)
async def test_an_answer_that_is_no_token_is_told_and_not_shown(
    answer: httpx2.Response | Exception, text: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        await Giver(answer).metadata().token()
    assert text in str(caught.value)
    assert "ya29" not in str(caught.value)
    assert "Evil" not in str(caught.value)


# A service account's key

EMAIL = "autonomics@shop.iam.gserviceaccount.com"
TOKEN_URI = "https://oauth2.googleapis.com/token"


def to_pem(key: Any, passphrase: bytes | None = None) -> str:
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode())


def members(**changes: Any) -> dict[str, Any]:
    row = {
        "type": "service_account",
        "project_id": "shop",
        "private_key_id": "0f1e",
        "private_key": to_pem(token_issuer().key),
        "client_email": EMAIL,
        "token_uri": TOKEN_URI,
        **changes,
    }
    return {name: value for name, value in row.items() if value is not None}


def write(folder: Path, content: object) -> Path:
    path = folder / "key.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


async def test_a_signed_assertion_buys_a_token(tmp_path: Path, autojump_clock: MockClock) -> None:
    giver = Giver()
    account = read_service_account(write(tmp_path, members()))
    tokens = ServiceAccountToken(giver.client(), account, clock=virtual_now)
    assert await tokens.token() == "ya29.t-1"
    (request,) = giver.requests
    assert (request.method, str(request.url)) == ("POST", TOKEN_URI)
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = {name: text for name, (text,) in parse_qs(request.content.decode()).items()}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, body, signature = form["assertion"].split(".")
    assert read_part(head) == {"alg": "RS256", "typ": "JWT", "kid": "0f1e"}
    now_s = int(BEGIN.timestamp())
    assert read_part(body) == {
        "iss": EMAIL,
        "scope": " ".join(SCOPES),
        "aud": TOKEN_URI,
        "iat": now_s,
        "exp": now_s + 3600,
    }
    assert unpad(signature) == token_issuer().sign_bytes(f"{head}.{body}".encode())


def unpad(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def read_part(part: str) -> Any:
    return json.loads(unpad(part))


async def test_googles_own_library_makes_the_same_assertion(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    from google.oauth2 import service_account

    credentials: Any = service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
        members(token_uri="https://oauth2.googleapis.com/token"), scopes=SCOPES
    )
    theirs = credentials._make_authorization_grant_assertion().decode().split(".")
    giver = Giver()
    account = read_service_account(write(tmp_path, members()))
    await ServiceAccountToken(giver.client(), account, clock=virtual_now).token()
    ours = parse_qs(giver.requests[0].content.decode())["assertion"][0].split(".")
    assert read_part(ours[0]) == read_part(theirs[0])
    our_claims, their_claims = read_part(ours[1]), read_part(theirs[1])
    assert our_claims.keys() == their_claims.keys()
    for name in ("iss", "scope", "aud"):
        assert our_claims[name] == their_claims[name]
    life = [claims["exp"] - claims["iat"] for claims in (our_claims, their_claims)]
    assert life[0] == life[1]


async def test_a_refused_assertion_is_told_as_the_server_says_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    body = {"error": "invalid_grant", "error_description": "Invalid JWT\nSignature."}
    giver = Giver(httpx2.Response(400, json=body))
    account = read_service_account(write(tmp_path, members()))
    with pytest.raises(TokenUnavailable) as caught:
        await ServiceAccountToken(giver.client(), account, clock=virtual_now).token()
    text = "no token: oauth2.googleapis.com answered 400 invalid_grant: Invalid JWT Signature."
    assert str(caught.value) == text


BAD_KEY = "to be an RSA key in PEM without a passphrase, of 2048 to 8192 bits"
Make = Callable[[], object]
BAD_FILES: list[tuple[Make, str]] = [
    (lambda: "{", "to be a JSON object, got something else"),
    (lambda: "[]", "to be a JSON object, got something else"),
    (dict, "expected type of "),
    (lambda: members(type="authorized_user"), "to be service_account"),
    (lambda: members(client_email=None), "expected client_email of "),
    (lambda: members(client_email=7), "expected client_email of "),
    (lambda: members(private_key_id=""), "expected private_key_id of "),
    (lambda: members(token_uri=None), "expected token_uri of "),
    (lambda: members(token_uri="http://oauth2.googleapis.com/token"), "to be an https URL"),
    (lambda: members(token_uri="file:///etc/passwd"), "to be an https URL"),
    (lambda: members(private_key=None), "expected private_key of "),
    (lambda: members(private_key="-----BEGIN PRIVATE KEY-----\nMIIE"), BAD_KEY),
    (lambda: members(private_key=to_pem(token_issuer().key, b"secret")), BAD_KEY),
    (lambda: members(private_key=to_pem(token_issuer("weak", 1024).key)), BAD_KEY),
    (lambda: members(private_key=to_pem(ec.generate_private_key(ec.SECP256R1()))), BAD_KEY),
]


@pytest.mark.parametrize(("make", "text"), BAD_FILES)
def test_a_key_file_that_can_not_be_used_is_named_and_not_shown(
    make: Make, text: str, tmp_path: Path
) -> None:
    path = write(tmp_path, make())
    with pytest.raises(InvalidConfig) as caught:
        read_service_account(path)
    assert text in str(caught.value)
    assert str(path) in str(caught.value)
    assert "MII" not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_a_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"can't read .*absent\.json: No such file"):
        read_service_account(tmp_path / "absent.json")


def test_nothing_that_is_secret_stands_in_a_repr(tmp_path: Path) -> None:
    account = read_service_account(write(tmp_path, members()))
    key: rsa.RSAPrivateKey = token_issuer().key
    shown = repr(account)
    assert "0f1e" in shown
    assert str(key.private_numbers().d) not in shown
    assert "MII" not in shown
    assert "RSAKey" not in shown


def test_the_scopes_are_among_those_of_each_method_that_is_called() -> None:
    run, monitoring = load_document("run.v2"), load_document("monitoring.v3")
    methods = [
        run.find("PATCH", "/v2/projects/p/locations/l/services/s"),
        run.find("GET", "/v2/projects/p/locations/l/services/s"),
        run.find("GET", "/v2/projects/p/locations/l/services/s/revisions"),
        run.find("GET", "/v2/projects/p/locations/l/services/s/revisions/r"),
        monitoring.find("GET", "/v3/projects/p/timeSeries"),
    ]
    for method in methods:
        assert set(SCOPES) & set(method.document["scopes"]), method.id
    for scope in SCOPES:
        assert any(scope in method.document["scopes"] for method in methods)


@pytest.mark.parametrize(
    ("credentials", "kind"),
    [("none", NoToken), ("metadata", MetadataToken), ("key.json", ServiceAccountToken)],
)
def test_the_settings_name_the_source(credentials: str, kind: type, tmp_path: Path) -> None:
    write(tmp_path, members())
    place = str(tmp_path / credentials) if credentials.endswith(".json") else credentials
    local = {"google_run_url": "http://127.0.0.1:1", "google_monitoring_url": "http://[::1]:1"}
    settings = load_settings({"google_credentials": place, **local}, environ={})
    assert isinstance(open_tokens(settings, open_client(), virtual_now), kind)
