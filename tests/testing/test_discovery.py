from __future__ import annotations

import sys
from typing import Any

import httpx2
import pytest

from autonomics.errors import InvalidInput
from autonomics.testing.discovery import NotConforming, load_document
from autonomics.testing.discovery_transport import CheckedTransport
from autonomics.testing.field_selector import parse_fields, select

RUN = load_document("run.v2")
MONITORING = load_document("monitoring.v3")
SERVICE = "/v2/projects/shop/locations/europe-west1/services/checkout"
SERIES = "/v3/projects/shop/timeSeries"
UNTYPED: dict[str, str] = {}
BODY = {
    "name": SERVICE.removeprefix("/v2/"),
    "etag": '"a"',
    "template": {
        "scaling": {"maxInstanceCount": 3},
        "containers": [{"image": "i", "resources": {"limits": {"memory": "1Gi"}}}],
    },
    "traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
}


def test_requests_of_the_api_pass() -> None:
    patch = RUN.check_request("PATCH", f"{SERVICE}?updateMask=template.containers,traffic", BODY)
    assert patch.id == "run.projects.locations.services.patch"
    RUN.check_request("PATCH", f"{SERVICE}?updateMask=*&validateOnly=true", BODY)
    RUN.check_request("GET", f"https://run.googleapis.com{SERVICE}?fields=name,template(scaling)")
    RUN.check_request("GET", f"{SERVICE}/revisions?pageSize=3")
    RUN.check_request("GET", f"{SERVICE}/revisions/checkout-00001-abc")
    query = "filter=x&interval.endTime=2026-03-02T09:00:00Z&view=FULL&pageSize=20"
    more = "aggregation.groupByFields=a&aggregation.groupByFields=b&aggregation.alignmentPeriod=60s"
    listed = MONITORING.check_request("GET", f"{SERIES}?{query}&{more}")
    assert listed.id == "monitoring.projects.timeSeries.list"


@pytest.mark.parametrize(
    ("method", "target", "body", "path", "rule"),
    [
        ("PUT", SERVICE, BODY, "request", "method of the API"),
        ("GET", "/v2/projects/shop/services/checkout", None, "request", "method of the API"),
        ("GET", f"{SERVICE}?mask=name", None, "query.mask", "parameter"),
        ("GET", f"{SERVICE}?name=x", None, "query.name", "parameter"),
        ("GET", f"{SERVICE}?fields=name,nme", None, "query.fields", "response's schema"),
        ("GET", f"{SERVICE}?fields=name(", None, "query.fields", "selector"),
        ("GET", f"{SERVICE}?fields=a&fields=b", None, "query.fields", "response's schema"),
        ("GET", f"{SERVICE}?alt=yaml", None, "query.alt", "one of"),
        ("GET", SERVICE, {}, "body", "absent"),
        ("GET", f"{SERVICE}/revisions?pageSize=many", None, "query.pageSize", "integer int32"),
        ("PATCH", SERVICE, None, "body", "a message"),
        ("PATCH", SERVICE, b"{", "body", "JSON"),
        ("PATCH", SERVICE, [], "body", "an object"),
        ("PATCH", f"{SERVICE}?validateOnly=yes", BODY, "query.validateOnly", "boolean"),
        ("PATCH", f"{SERVICE}?updateMask=template..x", BODY, "query.updateMask", "field mask"),
        ("PATCH", f"{SERVICE}?updateMask=template.memory", BODY, "query.updateMask", "schema"),
        (
            "PATCH",
            f"{SERVICE}?updateMask=template.containers.resources",
            BODY,
            "query.updateMask",
            "list or map template.containers",
        ),
        ("PATCH", f"{SERVICE}?updateMask=labels.team", BODY, "query.updateMask", "list or map"),
        ("PATCH", f"{SERVICE}?updateMask=uid", BODY, "query.updateMask", "may be written"),
        ("PATCH", SERVICE, {"nme": "x"}, "body.nme", "property of GoogleCloudRunV2Service"),
        ("PATCH", SERVICE, {"generation": "2"}, "body.generation", "read-only"),
        ("PATCH", SERVICE, {"labels": {"team": 1}}, "body.labels.team", "string"),
        ("PATCH", SERVICE, {"traffic": {}}, "body.traffic", "a list"),
        (
            "PATCH",
            SERVICE,
            {"traffic": [{"percent": "100"}]},
            "body.traffic[0].percent",
            "integer int32",
        ),
        ("PATCH", SERVICE, {"traffic": [{"percent": True}]}, "body.traffic[0].percent", "integer"),
        ("PATCH", SERVICE, {"traffic": [{"type": "LATEST"}]}, "body.traffic[0].type", "one of"),
        ("PATCH", SERVICE, {"template": {"timeout": "5m"}}, "body.template.timeout", "duration"),
        (
            "PATCH",
            SERVICE,
            {"template": {"containers": [{"resources": {"cpuIdle": "no"}}]}},
            "body.template.containers[0].resources.cpuIdle",
            "boolean",
        ),
    ],
)
def test_a_request_that_the_api_does_not_know_says_where_and_why(
    method: str, target: str, body: object, path: str, rule: str
) -> None:
    with pytest.raises(NotConforming) as caught:
        RUN.check_request(method, target, body)

    assert caught.value.path == path
    assert rule in caught.value.rule
    assert f"expected {path} to be {caught.value.rule}, got " in str(caught.value)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("interval.endTime=yesterday", "query.interval.endTime"),
        ("view=SHORT", "query.view"),
        ("filter=a&filter=b", "query.filter"),
        ("aggregation.alignmentPeriod=60", "query.aggregation.alignmentPeriod"),
    ],
)
def test_parameters_of_monitoring_have_their_types(query: str, path: str) -> None:
    with pytest.raises(NotConforming) as caught:
        MONITORING.check_request("GET", f"{SERIES}?{query}")
    assert caught.value.path == path


def operation(response: dict[str, Any]) -> dict[str, Any]:
    typed = {"@type": "type.googleapis.com/google.cloud.run.v2.Service", **response}
    return {"name": "projects/p/locations/l/operations/o", "done": True, "response": typed}


def test_answers_of_the_api_pass() -> None:
    RUN.check_response("GET", SERVICE, 200, {"generation": "2", "reconciling": True})
    RUN.check_response("PATCH", SERVICE, 200, operation({"generation": "2"}))
    point = {"interval": {"endTime": "2026-03-02T09:00:00Z"}, "value": {"doubleValue": 0.5}}
    MONITORING.check_response("GET", SERIES, 200, {"timeSeries": [{"points": [point]}]})
    error = {"code": 409, "message": "m", "status": "ABORTED"}
    RUN.check_response("PATCH", SERVICE, 409, {"error": error})


@pytest.mark.parametrize(
    ("status", "body", "path"),
    [
        (200, None, "body"),
        (200, operation({"generation": 2}), "body.response.generation"),
        (200, {"state": "done"}, "body.state"),
        (200, {"error": {"code": "5"}}, "body.error.code"),
        (404, {"code": 404}, "body"),
        (404, {"error": {"code": 404, "message": "m", "status": "GONE"}}, "body.error.status"),
        (404, {"error": {"code": 5, "message": "m", "status": "NOT_FOUND"}}, "body.error.code"),
        (404, {"error": {"code": 404, "status": "NOT_FOUND"}}, "body.error.message"),
        (
            404,
            {"error": {"code": 404, "message": "m", "status": "NOT_FOUND", "details": [UNTYPED]}},
            "body.error.details",
        ),
        (
            404,
            {"error": {"code": 404, "message": "m", "status": "NOT_FOUND", "x": 1}},
            "body.error",
        ),
    ],
)
def test_an_answer_that_the_api_would_not_give_says_where(
    status: int, body: object, path: str
) -> None:
    with pytest.raises(NotConforming) as caught:
        RUN.check_response("PATCH", SERVICE, status, body)
    assert caught.value.path == path


async def test_a_transport_checks_what_goes_through_it() -> None:
    answers: list[object] = [{"generation": "1"}, {"generation": 1}]
    inner = httpx2.MockTransport(lambda _: httpx2.Response(200, json=answers.pop(0)))
    checked = CheckedTransport(inner, RUN, MONITORING)
    async with httpx2.AsyncClient(transport=checked, base_url="http://end") as client:
        await client.get(SERVICE)
        with pytest.raises(NotConforming, match=r"body\.generation"):
            await client.get(SERVICE)
        with pytest.raises(NotConforming, match=r"query\.mask"):
            await client.get(SERVICE, params={"mask": "x"})
        with pytest.raises(NotConforming, match=r"query\.view"):
            await client.get(SERIES, params={"view": "x"})
    assert checked.checked == ["run.projects.locations.services.get"]


def test_a_selection_is_cut_from_a_message() -> None:
    tree = {"a": [{"b": 1, "c": 2}, {"c": 3}], "d": {"e": 4}, "f": 5}

    assert select(tree, parse_fields("a/b,d(e)")) == {"a": [{"b": 1}, {}], "d": {"e": 4}}
    assert select(tree, parse_fields("*")) == tree
    assert select(tree, parse_fields("a(*),f.g,none")) == {"a": tree["a"], "f": 5}
    for text in ("", "a,", "a(b", "a)b", "a//b", "a b%"):
        with pytest.raises(InvalidInput, match="expected fields"):
            parse_fields(text)


def test_a_document_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"got 'run\.v9'"):
        load_document("run.v9")


def test_the_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "googleapiclient", None)

    with pytest.raises(ModuleNotFoundError, match="google-api-python-client"):
        load_document("run.v1")
