from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomics.errors import InvalidInput
from autonomics.integrations.google_credential import NoToken
from autonomics.integrations.google_monitoring import GoogleMonitoring
from autonomics.integrations.google_name import (
    check_metric,
    check_revision_id,
    check_revision_name,
    parse_service_name,
)
from autonomics.integrations.google_run import GoogleRun
from autonomics.integrations.google_run_view import REVISIONS, fields_of, select
from autonomics.integrations.google_run_view import SERVICE as SEEN
from autonomics.recipes.effector import Fact, FactRequest
from autonomics.testing.discovery import load_document

from .google_end import (
    BEGIN,
    CONTAINERS,
    RUN_URL,
    SECRET,
    SERVICE,
    End,
    Hang,
    ok,
    refusal,
    virtual_now,
)
from .google_end import service as make_service

REVISION = f"{SERVICE}/revisions/checkout-00041-abc"


def ask(call: str, args: Mapping[str, str] | None = None) -> FactRequest:
    found = {"name": SERVICE} if args is None else args
    return FactRequest(name="fact", call=call, args=found, timeout_s=2, max_age_s=30)


def google_run(end: End) -> GoogleRun:
    return GoogleRun(end.client(), base_url=RUN_URL, tokens=NoToken(), clock=virtual_now)


def revision(number: int, made: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"{SERVICE}/revisions/checkout-{number:05d}-abc",
        "createTime": made,
        "conditions": [
            {"type": "ContainerHealthy", "state": "CONDITION_FAILED"},
            {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
        ],
        **changes,
    }


# Services


async def test_a_service_is_asked_for_by_parts_that_hold_nothing_secret(
    autojump_clock: MockClock,
) -> None:
    end = End(ok(make_service(generation="41", labels={"team": "web"})))
    fact = await google_run(end).read(ask("run.services.get"))
    assert (fact.key, fact.read_at, fact.error) == (
        f"run.services.get?name={SERVICE}",
        BEGIN,
        None,
    )
    containers = [
        {key: row[key] for key in ("name", "image", "resources") if key in row}
        for row in CONTAINERS
    ]
    assert fact.value == {
        "name": SERVICE,
        "generation": "41",
        "etag": '"CJ2kmq8GEKi"',
        "labels": {"team": "web"},
        "template": {"containers": containers},
    }
    fields = end.query(0)["fields"]
    for word in ("env", "args", "command", "volumes", "serviceAccount", "uri"):
        assert not re.search(rf"\b{word}\b", fields)


async def test_an_end_that_shows_more_than_it_was_asked_for_is_cut(
    autojump_clock: MockClock,
) -> None:
    found = make_service(
        uri="https://x", creator="who@x", template={"containers": CONTAINERS, "volumes": [SECRET]}
    )
    fact = await google_run(End(ok(found))).read(ask("run.services.get"))
    assert fact.error is None
    assert SECRET not in repr(fact.value)
    assert "who@x" not in repr(fact.value)


async def test_decimals_are_texts_and_great_integers_too(autojump_clock: MockClock) -> None:
    scaling = {"cpuUtilization": 0.7, "minInstanceCount": 2**60}
    end = End(ok(make_service(template={"scaling": scaling})))
    fact = await google_run(end).read(ask("run.services.get"))
    assert isinstance(fact.value, dict)
    assert fact.value["template"] == {
        "scaling": {"cpuUtilization": "0.7", "minInstanceCount": str(2**60)}
    }


# Revisions


async def test_revisions_come_newest_first_and_say_whether_they_are_ready(
    autojump_clock: MockClock,
) -> None:
    rows = [
        revision(1, "2026-03-01T08:00:00Z"),
        revision(3, "2026-03-01T10:00:00.5Z", conditions=[], scaling={"maxInstanceCount": 7}),
        revision(
            2,
            "2026-03-01T11:00:00+02:00",
            conditions=[{"type": "Ready", "state": "CONDITION_FAILED"}],
        ),
    ]
    end = End(ok({"revisions": rows, "nextPageToken": "more"}))
    fact = await google_run(end).read(
        ask("run.revisions.list", {"name": SERVICE, "page_size": "3"})
    )
    assert fact.error is None
    assert isinstance(fact.value, dict)
    assert fact.value["revisions"] == [
        {
            "name": f"{SERVICE}/revisions/checkout-00003-abc",
            "id": "checkout-00003-abc",
            "createTime": "2026-03-01T10:00:00.5Z",
            "ready": False,
            "scaling": {"maxInstanceCount": 7},
        },
        {
            "name": f"{SERVICE}/revisions/checkout-00002-abc",
            "id": "checkout-00002-abc",
            "createTime": "2026-03-01T11:00:00+02:00",
            "ready": False,
            "scaling": {},
        },
        {
            "name": f"{SERVICE}/revisions/checkout-00001-abc",
            "id": "checkout-00001-abc",
            "createTime": "2026-03-01T08:00:00Z",
            "ready": True,
            "scaling": {},
        },
    ]
    assert end.query(0)["pageSize"] == "3"


async def test_one_revision_is_read_by_its_full_name(autojump_clock: MockClock) -> None:
    end = End(ok(revision(41, "2026-03-01T08:00:00Z")))
    fact = await google_run(end).read(ask("run.revisions.get", {"name": REVISION}))
    assert isinstance(fact.value, dict)
    assert (fact.value["id"], fact.value["ready"]) == ("checkout-00041-abc", True)


# Failures are facts


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(404, "NOT_FOUND", "no such service"), "404 NOT_FOUND: no such service"),
        (
            refusal(429, "RESOURCE_EXHAUSTED", "slow", Retry_After="9"),
            "429 RESOURCE_EXHAUSTED: slow (retry after 9 s)",
        ),
        (refusal(503, "UNAVAILABLE", "later"), "503 UNAVAILABLE: later"),
        (
            httpx2.ConnectError("refused"),
            "no connection to run.googleapis.com: connect error: refused",
        ),
        (httpx2.ReadTimeout(""), "no answer from run.googleapis.com: read timeout"),
        (httpx2.Response(200, text="<html>"), "200: expected the answer to be a JSON object"),
        (ok({}), "expected service to be an object with a name, got []"),
        (ok({"env": SECRET}), "expected service to be an object with a name, got ['env']"),
        (Hang(), "no answer within 2 s"),
    ],
)
async def test_a_fact_that_can_not_be_read_says_why(
    answer: Any, error: str, autojump_clock: MockClock
) -> None:
    fact = await google_run(End(answer)).read(ask("run.services.get"))
    assert fact == Fact(key=f"run.services.get?name={SERVICE}", read_at=BEGIN, error=error)
    assert trio.current_time() <= 2


SHAPES: list[tuple[str, Any, str]] = [
    ("run.revisions.list", {"revisions": {}}, "expected revisions to be a list of objects"),
    ("run.revisions.list", {"revisions": [1]}, "expected revisions to be a list of objects"),
    ("run.revisions.list", {"revisions": [{}]}, "expected revision to be an object with name"),
    (
        "run.revisions.list",
        {"revisions": [revision(1, "yesterday")]},
        "expected moment to be RFC 3339",
    ),
    (
        "run.services.get",
        {"name": SERVICE, "labels": {"a": {"b": 1}, "x" * 600: "y"}},
        "expected key in a signal",
    ),
]


@pytest.mark.parametrize(("call", "answer", "error"), SHAPES)
async def test_an_answer_of_another_shape_is_an_error(
    call: str, answer: Any, error: str, autojump_clock: MockClock
) -> None:
    fact = await google_run(End(ok(answer))).read(ask(call))
    assert fact.value is None
    assert (fact.error or "").startswith(error)


@pytest.mark.parametrize(
    ("call", "args", "error"),
    [
        (
            "run.services.gt",
            {"name": SERVICE},
            "unknown call 'run.services.gt' (did you mean run.services.get?)",
        ),
        ("run.services.get", {}, "expected run.services.get to have the argument name"),
        (
            "run.services.get",
            {"name": SERVICE, "nmae": ""},
            "unknown argument 'nmae' (did you mean name?) of run.services.get",
        ),
        (
            "run.services.get",
            {"name": REVISION},
            "expected name to be projects/../locations/../services/.., got",
        ),
        (
            "run.revisions.get",
            {"name": SERVICE},
            "expected name to be projects/../locations/../services/../revisions",
        ),
        (
            "run.revisions.list",
            {"name": SERVICE, "page_size": "101"},
            "expected page_size to be an integer from 1 to 100, got '101'",
        ),
        (
            "run.revisions.list",
            {"name": SERVICE, "page_size": "1e1"},
            "expected page_size to be an integer",
        ),
        (
            "run.revisions.list",
            {"name": SERVICE, "page_size": "٣"},
            "expected page_size to be an integer",
        ),
    ],
)
async def test_a_question_that_makes_no_sense_is_not_sent(
    call: str, args: dict[str, str], error: str
) -> None:
    end = End()
    fact = await google_run(end).read(ask(call, args))
    assert (fact.error or "").startswith(error)
    assert end.requests == []


# Hostile names

HOSTILE = (
    "projects/a/../..",
    "projects/../locations/l/services/s",
    "projects/p/locations/l/services/..",
    "projects/p/locations/l/services/.",
    "projects/p/locations/-/services/s",
    "projects/-/locations/l/services/s",
    "projects/p/locations/l/services/-",
    "projects/p/locations/l/services/s?key=1",
    "projects/p/locations/l/services/s#x",
    "projects/p/locations/l/services/s\n",
    "projects/p/locations/l/services/s:getIamPolicy",
    "projects/p/locations/l/services/s:run",
    "projects/p/locations/l/services/s/",
    "projects/p/locations/l/services/%2e%2e",
    "projects/p/locations/l/services/s%2f..",
    "projects/p/locations/l/services/s\\..",
    "projects/p/locations/l/services/s ",
    "projects/p@evil.example/locations/l/services/s",
    "projects/p/locations/l/services/\uff53",
    "/projects/p/locations/l/services/s",
    "//evil.example/projects/p/locations/l/services/s",
    "https://evil.example/projects/p/locations/l/services/s",
    "projects/p/locations/l/services/" + "s" * 64,
    "",
)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_refused_before_anything_is_sent(name: str) -> None:
    end = End()
    for call in ("run.services.get", "run.revisions.list", "run.revisions.get"):
        fact = await google_run(end).read(ask(call, {"name": name}))
        assert (fact.error or "").startswith("expected name to be projects/")
        revision_name = f"{name}/revisions/r"
        assert (await google_run(end).read(ask(call, {"name": revision_name}))).error
    monitoring = GoogleMonitoring(
        end.client(),
        base_url="https://monitoring.googleapis.com",
        tokens=NoToken(),
        clock=virtual_now,
    )
    args = {"name": name, "metric": "run.googleapis.com/request_count", "window_s": "600"}
    fact = await monitoring.read(ask("monitoring.timeSeries.list", args))
    assert (fact.error or "").startswith("expected name to be projects/")
    assert end.requests == []


SEGMENTS = st.one_of(
    st.text(max_size=6),
    st.text("ab-.:/%?#\\\n@09", max_size=8),
    st.sampled_from(["..", ".", "-", "a", "shop", "example.com:shop", "s:x"]),
)
URL = re.compile(
    r"https://end\.example/base/v2/projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/services/[a-z0-9-]+"
    r"(/revisions/[a-z0-9-]+)?"
)


@settings(deadline=None)
@given(project=SEGMENTS, location=SEGMENTS, service=SEGMENTS, revision_id=SEGMENTS)
def test_no_name_leaves_the_base_url_or_its_place_in_the_path(
    project: str, location: str, service: str, revision_id: str
) -> None:
    name = f"projects/{project}/locations/{location}/services/{service}"
    longer = f"{name}/revisions/{revision_id}"
    for text, check in ((name, parse_service_name), (longer, check_revision_name)):
        try:
            check(text)
        except InvalidInput:
            continue
        url = httpx2.Request("GET", f"https://end.example/base/v2/{text}").url
        assert URL.fullmatch(str(url)), url
        assert str(url) == f"https://end.example/base/v2/{text}"
        load_document("run.v2").check_request("GET", f"/v2/{text}")
        segments = text.split("/")
        assert len(segments) in (6, 8)
        assert not set(segments) & {"..", ".", "-", ""}


@pytest.mark.parametrize(
    "name",
    [
        SERVICE,
        "projects/example.com:shop/locations/l/services/s",
        "projects/42/locations/europe-west1/services/a-1",
    ],
)
def test_lawful_names_are_taken(name: str) -> None:
    parts = parse_service_name(name)
    assert name == f"projects/{parts.project}/locations/{parts.location}/services/{parts.service}"
    assert check_revision_name(f"{name}/revisions/s-00001-abc")
    assert check_revision_id("s-00001-abc") == "s-00001-abc"
    assert check_metric("run.googleapis.com/container/memory/utilizations")


def test_the_selections_are_of_the_schema_and_cut_as_the_api_does() -> None:
    run = load_document("run.v2")
    run.check_request("GET", f"/v2/{SERVICE}?fields={fields_of(SEEN)}")
    run.check_request("GET", f"/v2/{SERVICE}/revisions?fields={fields_of(REVISIONS)}")
    found = {"a": 1, "template": {"revision": "r", "serviceAccount": "x", "containers": 7}}
    assert select(found, SEEN) == {"template": {"revision": "r", "containers": None}}
