from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from autonomics.errors import EffectFailed, EffectUnknown, TokenUnavailable
from autonomics.integrations.google_api import SIZE_LIMIT_BYTES
from autonomics.integrations.google_credential import NoToken, TokenSource
from autonomics.integrations.google_run import GoogleRun
from autonomics.recipes.effector import PlannedCall
from autonomics.recipes.path import parse_path, walk

from .google_end import (
    CONTAINERS,
    ETAG,
    MEMORY,
    MOST,
    OPERATION,
    PATCH,
    RUN_URL,
    SECRET,
    SERVICE,
    VALIDATED,
    Answer,
    End,
    FixedToken,
    Hang,
    ok,
    refusal,
    service,
    virtual_now,
)

DONE = {
    "operation": "projects/shop/locations/europe-west1/operations/4f",
    "generation": "42",
    "etag": '"new"',
}


def google_run(end: End, tokens: TokenSource | None = None) -> GoogleRun:
    return GoogleRun(end.client(), base_url=RUN_URL, tokens=tokens or NoToken(), clock=virtual_now)


# What is sent


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


async def test_a_plan_may_be_validated_first_with_the_same_body() -> None:
    end = End(ok(service()), ok({}), ok(OPERATION))
    await google_run(end).call(VALIDATED)
    assert end.methods == ["GET", "PATCH", "PATCH"]
    assert end.query(1) == {"updateMask": "template.containers", "validateOnly": "true"}
    assert end.query(2) == {"updateMask": "template.containers"}
    assert end.body(1) == end.body(2)


async def test_objects_on_the_way_to_a_path_are_made() -> None:
    end = End(ok({"name": SERVICE, "etag": ETAG}), ok(OPERATION))
    await google_run(end).call(evolve(PATCH, set={MOST: 20}, mask=(MOST,), before={}))
    assert end.query(1) == {"updateMask": MOST}
    body = {"name": SERVICE, "etag": ETAG, "template": {"scaling": {"maxInstanceCount": 20}}}
    assert end.body(1) == body


async def test_a_masked_path_that_is_not_set_is_cleared() -> None:
    end = End(ok(service(template={"scaling": {"maxInstanceCount": 20}})), ok(OPERATION))
    undo = evolve(PATCH, set={}, mask=(MOST,), before={MOST: 20}, etag=None)
    await google_run(end).call(undo)
    assert end.query(1) == {"updateMask": MOST}
    assert end.body(1) == {"name": SERVICE, "etag": ETAG}


async def test_paths_into_one_list_or_map_share_a_mask() -> None:
    kind = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
    traffic = [
        {"type": kind, "revision": "a", "percent": 100},
        {"type": kind, "revision": "b"},
    ]
    values: dict[str, Any] = {
        "traffic.0.percent": 0,
        "traffic.1.percent": 100,
        'labels."team.io"': "web",
    }
    end = End(ok(service(traffic=traffic, labels={"a": "b"})), ok(OPERATION))
    await google_run(end).call(evolve(PATCH, set=values, mask=tuple(values), before={}))
    assert end.query(1) == {"updateMask": "labels,traffic"}
    assert [row["percent"] for row in end.body(1)["traffic"]] == [0, 100]
    assert end.body(1)["labels"] == {"a": "b", "team.io": "web"}


# A roll-back has no etag


async def test_a_roll_back_is_made_on_the_etag_that_it_reads() -> None:
    undo = evolve(PATCH, set=PATCH.before, before=PATCH.set, etag=None)
    end = End(ok(service("1024Mi", etag='"after"')), ok(OPERATION))
    await google_run(end).call(undo)
    assert end.body(1)["etag"] == '"after"'
    assert walk(end.body(1), parse_path(MEMORY)) == "512Mi"


async def test_a_roll_back_does_not_undo_what_somebody_else_has_set_since() -> None:
    undo = evolve(PATCH, set=PATCH.before, before=PATCH.set, etag=None)
    end = End(ok(service("2Gi")))
    with pytest.raises(EffectFailed, match="conflict: .* holds neither what was planned nor what"):
        await google_run(end).call(undo)
    assert end.methods == ["GET"]


# What becomes of it: one row per outcome


def broken(kind: type[httpx2.RequestError], text: str = "") -> Answer:
    return kind(text)


READ = ok(service())
BAD = refusal(400, "INVALID_ARGUMENT", "memory must be\n at least 128Mi")
LATER = {"Retry_After": "30"}
IN_A_MINUTE = {
    "Retry_After": "Mon, 02 Mar 2026 09:01:00 GMT",
    "Date": "Mon, 02 Mar 2026 09:00:00 GMT",
}
BUSY = "429 RESOURCE_EXHAUSTED: slow down"
Row = tuple[str, list[Answer], type[EffectFailed], str]
FAILED = EffectFailed
UNKNOWN = EffectUnknown
FIRST: list[Row] = [
    ("400", [BAD], FAILED, "400 INVALID_ARGUMENT: memory must be at least 128Mi"),
    ("401", [refusal(401, "UNAUTHENTICATED", "who?")], FAILED, "401 UNAUTHENTICATED: who?"),
    ("403", [refusal(403, "PERMISSION_DENIED", "no")], FAILED, "403 PERMISSION_DENIED: no"),
    ("404", [refusal(404, "NOT_FOUND", "gone")], FAILED, "404 NOT_FOUND: gone"),
    ("409", [refusal(409, "ABORTED", "etag")], FAILED, "409 ABORTED: etag"),
    ("412", [refusal(412, "FAILED_PRECONDITION", "x")], FAILED, "412 FAILED_PRECONDITION: x"),
    (
        "429 with seconds",
        [refusal(429, "RESOURCE_EXHAUSTED", "slow down", **LATER)],
        FAILED,
        f"{BUSY} (retry after 30 s)",
    ),
    (
        "429 with a date",
        [refusal(429, "RESOURCE_EXHAUSTED", "slow down", **IN_A_MINUTE)],
        FAILED,
        f"{BUSY} (retry after 60 s)",
    ),
    (
        "429 with nonsense",
        [refusal(429, "RESOURCE_EXHAUSTED", "slow down", Retry_After="soon")],
        FAILED,
        BUSY,
    ),
    (
        "an error that can't be read",
        [httpx2.Response(403, text="<html>")],
        FAILED,
        "403 PERMISSION_DENIED",
    ),
    ("an error of no name", [httpx2.Response(418, json={"error": 1})], FAILED, "418 UNKNOWN"),
    (
        "a name that is none",
        [refusal(400, "x y\n", "bad")],
        FAILED,
        "400 INVALID_ARGUMENT: bad",
    ),
    (
        "no connection",
        [broken(httpx2.ConnectError, "refused")],
        FAILED,
        "no connection to run.googleapis.com: connect error: refused",
    ),
    (
        "no connection in time",
        [broken(httpx2.ConnectTimeout)],
        FAILED,
        "no connection to run.googleapis.com: connect timeout",
    ),
    (
        "no connection free",
        [broken(httpx2.PoolTimeout)],
        FAILED,
        "no connection to run.googleapis.com: pool timeout",
    ),
]
SENT: list[Row] = [
    ("500", [refusal(500, "INTERNAL", "oops")], UNKNOWN, "500 INTERNAL: oops"),
    (
        "503",
        [refusal(503, "UNAVAILABLE", "later", Retry_After="5")],
        UNKNOWN,
        "503 UNAVAILABLE: later (retry after 5 s)",
    ),
    ("a proxy's 502", [httpx2.Response(502, text="Bad Gateway")], UNKNOWN, "502 UNKNOWN"),
    ("408", [httpx2.Response(408)], UNKNOWN, "408 UNKNOWN"),
    (
        "a redirect",
        [httpx2.Response(302, headers={"Location": "https://x.example"})],
        UNKNOWN,
        "302 UNKNOWN",
    ),
    (
        "no answer in time",
        [broken(httpx2.ReadTimeout)],
        UNKNOWN,
        "no answer from run.googleapis.com: read timeout",
    ),
    (
        "a broken connection",
        [broken(httpx2.ReadError, "reset by peer")],
        UNKNOWN,
        "no answer from run.googleapis.com: read error: reset by peer",
    ),
    (
        "a connection closed without an answer",
        [broken(httpx2.RemoteProtocolError, "disconnected")],
        UNKNOWN,
        "no answer from run.googleapis.com: remote protocol error: disconnected",
    ),
    (
        "an answer that is not JSON",
        [httpx2.Response(200, text="<html>")],
        UNKNOWN,
        "200: expected the answer to be a JSON object",
    ),
    (
        "an answer that is too long",
        [httpx2.Response(200, content=b" " * SIZE_LIMIT_BYTES + b"{}")],
        UNKNOWN,
        "200: expected the answer to be a JSON object",
    ),
    (
        "a packed answer",
        [httpx2.Response(200, headers={"Content-Encoding": "br"}, content=b"{}")],
        UNKNOWN,
        "200: expected the answer to be a JSON object",
    ),
    (
        "an answer of a number that is none",
        [httpx2.Response(200, text='{"name": "o", "x": 1e999}')],
        UNKNOWN,
        "200: expected the answer to be a JSON object",
    ),
    (
        "an answer that nests too deep",
        [httpx2.Response(200, text='{"a":' * 100_000)],
        UNKNOWN,
        "200: expected the answer to be a JSON object",
    ),
]
NO_OPERATION: Row = (
    "no operation",
    [ok({})],
    UNKNOWN,
    "expected the answer to be an operation with a name",
)
FAILED_OPERATION: Row = (
    "an operation that failed",
    [ok({"name": "o", "done": True, "error": {"code": 9, "message": "no\nquota"}})],
    UNKNOWN,
    "the operation failed with code 9: no quota",
)


def name_of(row: Row) -> str:
    return row[0]


async def outcome_of(end: End, planned: PlannedCall) -> tuple[type[Exception], str]:
    with pytest.raises(EffectFailed) as caught:
        await google_run(end).call(planned)
    assert not end.answers
    return caught.type, str(caught.value)


@pytest.mark.parametrize("row", [*FIRST, *SENT], ids=name_of)
async def test_whatever_ends_the_reading_before_has_changed_nothing(row: Row) -> None:
    _, answers, _, text = row
    assert await outcome_of(End(*answers), PATCH) == (EffectFailed, text)


@pytest.mark.parametrize("row", [*FIRST, *SENT, FAILED_OPERATION], ids=name_of)
async def test_whatever_ends_the_validation_has_changed_nothing(row: Row) -> None:
    _, answers, _, text = row
    assert await outcome_of(End(READ, *answers), VALIDATED) == (EffectFailed, text)


@pytest.mark.parametrize("row", [*FIRST, *SENT, NO_OPERATION, FAILED_OPERATION], ids=name_of)
async def test_a_patch_that_was_refused_has_failed_and_one_that_was_sent_is_unknown(
    row: Row,
) -> None:
    _, answers, kind, text = row
    end = End(READ, *answers)
    assert await outcome_of(end, PATCH) == (kind, text)
    assert end.methods == ["GET", "PATCH"], "it is never sent again"


def test_the_page_lists_exactly_these_outcomes() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "design" / "effectors.md"
    table = page.read_text(encoding="utf-8").partition("### What becomes of a patch\n")[2]
    words = {EffectFailed: "failed", EffectUnknown: "unknown"}
    rows = [*FIRST, *SENT, NO_OPERATION, FAILED_OPERATION]
    listed = re.findall(r"^\| ([^|]+) \| (failed|unknown) \|$", table, re.MULTILINE)
    assert listed == [(name, words[kind]) for name, _, kind, _ in rows]


async def test_a_refused_token_is_dropped() -> None:
    tokens = FixedToken()
    end = End(READ, refusal(401, "UNAUTHENTICATED", "expired"))
    with pytest.raises(EffectFailed, match="401 UNAUTHENTICATED: expired"):
        await google_run(end, tokens).call(PATCH)
    assert tokens.dropped == [tokens.text]


async def test_without_a_token_nothing_is_sent() -> None:
    class Tokenless(NoToken):
        async def token(self) -> str | None:
            raise TokenUnavailable("no token: the key was revoked")

    end = End()
    with pytest.raises(EffectFailed, match="no token: the key was revoked"):
        await google_run(end, Tokenless()).call(PATCH)
    assert end.requests == []


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (service(etag='"other"'), 'conflict: expected etag "CJ2kmq8GEKi", got "other": it was'),
        ({"name": SERVICE}, "the service has no etag, so no change of it can be conditional"),
        ({"name": SERVICE, "etag": ETAG}, f"the service has no place for {MEMORY}"),
        (service(template={"containers": []}), f"the service has no element for {MEMORY}"),
        (service(template="x"), f"the service has no place for {MEMORY}"),
    ],
)
async def test_a_service_that_is_not_as_planned_is_left_alone(
    found: dict[str, Any], text: str
) -> None:
    end = End(ok(found))
    with pytest.raises(EffectFailed) as caught:
        await google_run(end).call(PATCH)
    assert caught.type is EffectFailed
    assert str(caught.value).startswith(text)
    assert end.methods == ["GET"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"call": "run.services.pach"}, "(did you mean run.services.patch?)"),
        ({"args": {"force": "1"}}, "unknown argument 'force' of run.services.patch"),
        ({"mask": ()}, "expected the mask to name all that is set"),
        ({"set": {MEMORY: "1Gi", "traffic": []}}, "expected the mask to name all that is set"),
        ({"set": {}, "mask": ("template..x",)}, "expected path to be segments joined by dots"),
        *(
            ({"set": {}, "mask": (path,)}, f"may not set {path}: it is none of the fields")
            for path in (
                "template",
                "template.containers",
                "template.containers.0",
                "template.containers.app.image",
                "template.containers.0.env",
                "template.serviceAccount",
                "invokerIamDisabled",
                "ingress",
                "etag",
                "name",
            )
        ),
    ],
)
async def test_what_no_plan_may_do_is_refused_before_anything_is_sent(
    changes: dict[str, Any], text: str
) -> None:
    end = End()
    with pytest.raises(EffectFailed) as caught:
        await google_run(end).call(evolve(PATCH, **changes))
    assert text in str(caught.value)
    assert await google_run(end).read_back(evolve(PATCH, **changes)) == "unknown"
    assert end.requests == []


# Secrets


async def test_an_error_that_repeats_a_secret_is_told_without_it() -> None:
    tokens = FixedToken()
    said = f"env API_KEY={SECRET} and --verbose for {tokens.text}"
    end = End(READ, refusal(400, "INVALID_ARGUMENT", said))
    with pytest.raises(EffectFailed) as caught:
        await google_run(end, tokens).call(PATCH)
    assert str(caught.value) == "400 INVALID_ARGUMENT: env API_KEY=*** and *** for ***"


async def test_nothing_of_an_operation_is_kept_that_may_be_secret() -> None:
    end = End(READ, ok(OPERATION))
    result = await google_run(end).call(PATCH)
    assert SECRET not in json.dumps(dict(result.detail))


async def test_a_long_message_is_cut() -> None:
    end = End(refusal(400, "INVALID_ARGUMENT", "x" * 10_000))
    with pytest.raises(EffectFailed) as caught:
        await google_run(end).call(PATCH)
    assert len(str(caught.value)) < 400


# Deadlines


@pytest.mark.parametrize("answers", [[Hang()], [READ, Hang()]], ids=["reading", "patching"])
async def test_the_callers_deadline_ends_a_call_that_hangs(
    answers: list[Answer], autojump_clock: MockClock
) -> None:
    end = End(*answers)
    with pytest.raises(trio.TooSlowError), trio.fail_after(60):
        await google_run(end).call(PATCH)
    assert trio.current_time() == 60


# Read-back


@pytest.mark.parametrize(
    ("memory", "seen"),
    [
        ("1Gi", "applied"),
        ("1024Mi", "applied"),
        ("512Mi", "not_applied"),
        ("2Gi", "unknown"),
    ],
)
async def test_what_is_there_says_whether_the_change_took_place(
    memory: str, seen: str, autojump_clock: MockClock
) -> None:
    end = End(ok(service(memory)), ok(service(memory)))
    assert await google_run(end).read_back(PATCH) == seen


async def test_a_change_that_comes_late_is_seen_by_the_second_look(
    autojump_clock: MockClock,
) -> None:
    end = End(ok(service("512Mi")), ok(service("1Gi")))
    assert await google_run(end).read_back(PATCH) == "applied"
    assert 0 < trio.current_time() < 10


@pytest.mark.parametrize("row", [*FIRST, *SENT], ids=name_of)
async def test_an_end_that_can_not_say_leaves_it_unknown(row: Row) -> None:
    assert await google_run(End(*row[1])).read_back(PATCH) == "unknown"
