from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest
import trio

from autonomics.errors import InvalidInput
from autonomics.recipes import Decision, History, decide, needed_facts, normalise
from autonomics.testing.cloud_fault import CrashesLater, NeverReady
from autonomics.testing.decision_stage import open_decision_stage
from autonomics.testing.discovery import Discovery
from autonomics.testing.local_cloud import LocalCloud
from autonomics.testing.local_reach import reach_cloud
from autonomics.testing.local_schema import MAP, OUTPUT_ONLY, WRITABLE

from .cloud_client import BEGIN, DOCUMENTS, NAME, call_cloud, container, read_refusal, start_clock

LATEST = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}


def to_revision(name: str, percent: int = 100) -> dict[str, Any]:
    kind = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
    return {"type": kind, "revision": name, "percent": percent}


def short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


async def test_a_service_is_answered_as_the_api_does() -> None:
    caller = call_cloud(labels={"team": "web"}, min_instances=1)

    found = await caller.get()

    assert found["name"] == NAME
    assert found["generation"] == found["observedGeneration"] == "1"
    assert found["labels"] == {"team": "web"}
    assert found["scaling"] == {"minInstanceCount": 1}
    assert found["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    assert found["trafficStatuses"] == found["traffic"] == [LATEST]
    assert found["latestReadyRevision"] == found["latestCreatedRevision"]
    assert found == caller.cloud.service(NAME)


async def test_what_is_zero_is_left_out() -> None:
    caller = call_cloud(env={"EMPTY": "", "KEY": "secret"})
    await caller.change({"scaling": {"minInstanceCount": 3}}, "scaling.minInstanceCount")

    await caller.change({"scaling": {"minInstanceCount": 0}}, "scaling.minInstanceCount")
    found = await caller.get()

    assert not {"scaling", "labels", "annotations", "reconciling"} & found.keys()
    # Members of a oneof are written whenever they are set.
    assert found["template"]["containers"][0]["env"][0] == {"name": "EMPTY", "value": ""}
    assert caller.cloud.effects[-1].after == {"scaling.minInstanceCount": None}


async def test_fields_cut_an_answer() -> None:
    caller = call_cloud(env={"KEY": "secret"})

    found = await caller.get(fields="etag,template(containers(image)),template/timeout")

    assert found == {
        "etag": caller.cloud.service(NAME)["etag"],
        "template": {"containers": [{"image": "local"}], "timeout": "300s"},
    }


async def test_a_change_of_the_template_makes_a_revision() -> None:
    caller = call_cloud()
    before = await caller.get()

    operation = await caller.change(
        {"etag": before["etag"], "template": {"containers": [container("1Gi")]}},
        "template.containers",
    )
    after = await caller.get()

    assert operation["done"] is True
    assert operation["response"]["etag"] == after["etag"] != before["etag"]
    assert await caller.get(f"/v2/{operation['name']}") == operation
    assert after["generation"] == "2"
    assert after["latestReadyRevision"] != before["latestReadyRevision"]
    assert short(after["latestReadyRevision"]).startswith("checkout-00002-")
    assert caller.cloud.memory_of(NAME) == "1Gi"


@pytest.mark.parametrize(
    ("body", "mask"),
    [
        ({"scaling": {"minInstanceCount": 2}}, "scaling.minInstanceCount"),
        ({"labels": {"team": "web"}}, "labels"),
        ({"traffic": "now"}, "traffic"),
    ],
)
async def test_a_change_beside_the_template_makes_no_revision(
    body: dict[str, Any], mask: str
) -> None:
    caller = call_cloud()
    before = await caller.get()
    if mask == "traffic":
        body = {"traffic": [to_revision(short(before["latestReadyRevision"]))]}

    await caller.change(body, mask)
    after = await caller.get()

    assert (after["generation"], after["etag"] != before["etag"]) == ("2", True)
    assert after["latestCreatedRevision"] == before["latestCreatedRevision"]
    assert len((await caller.get(f"/v2/{NAME}/revisions"))["revisions"]) == 1


async def test_a_patch_changes_what_its_mask_names_and_no_more() -> None:
    caller = call_cloud(max_instances=10, labels={"team": "web"})

    await caller.change(
        {"labels": {"x": "y"}, "template": {"scaling": {"maxInstanceCount": 20}, "timeout": "9s"}},
        "template.scaling.maxInstanceCount",
    )
    found = await caller.get()

    assert found["template"]["scaling"] == {"maxInstanceCount": 20}
    assert (found["template"]["timeout"], found["labels"]) == ("300s", {"team": "web"})


async def test_a_mask_of_a_list_replaces_the_list() -> None:
    caller = call_cloud(env={"KEY": "secret"})

    await caller.change({"template": {"containers": [container("1Gi")]}}, "template.containers")

    assert "env" not in (await caller.get())["template"]["containers"][0]


async def test_a_field_that_the_mask_names_and_the_body_lacks_is_cleared() -> None:
    caller = call_cloud(labels={"team": "web"})

    await caller.change({}, "labels")

    assert "labels" not in await caller.get()


async def test_without_a_mask_the_whole_service_is_replaced() -> None:
    caller = call_cloud(labels={"team": "web"}, max_instances=7)

    response = await caller.patch({"template": {"containers": [container("1Gi")]}})

    found = await caller.get()
    assert response.status_code == 200
    assert "labels" not in found
    assert "scaling" not in found["template"]
    assert found["traffic"] == [LATEST]


async def test_a_patch_that_changes_nothing_is_no_effect() -> None:
    caller = call_cloud(max_instances=7)
    before = await caller.get()

    body = {"template": {"scaling": {"maxInstanceCount": 7}}}
    operation = await caller.change(body, "template.scaling")

    assert operation["done"] is True
    assert await caller.get() == before
    assert caller.cloud.effects == []


async def test_a_new_revision_can_be_forced() -> None:
    caller = call_cloud(max_instances=7)

    body = {"template": {"scaling": {"maxInstanceCount": 7}}}
    await caller.change(body, "template.scaling", forceNewRevision="true")

    assert (await caller.get())["latestReadyRevision"].startswith(
        f"{NAME}/revisions/checkout-00002"
    )


async def test_validate_only_changes_nothing() -> None:
    caller = call_cloud()
    before = await caller.get()

    body = {"template": {"containers": [container("1Gi")]}}
    operation = await caller.change(body, "template.containers", validateOnly="true")

    assert operation["response"]["template"]["containers"][0]["resources"]["limits"] == {
        "cpu": "1000m",
        "memory": "1Gi",
    }
    assert await caller.get() == before
    assert (caller.cloud.effects, caller.cloud.validations) == ([], 1)
    status, _, _ = await caller.refusal(f"/v2/{operation['name']}")
    assert status == 404


async def test_an_old_etag_conflicts() -> None:
    caller = call_cloud()
    etag = (await caller.get())["etag"]
    caller.cloud.change_elsewhere(NAME, "labels.team", "web")

    response = await caller.patch({"etag": etag, "labels": {"a": "b"}}, "labels")

    assert read_refusal(response)[:2] == (409, "ABORTED")
    assert (await caller.get())["labels"] == {"team": "web"}
    assert caller.cloud.effects == []


@pytest.mark.parametrize(
    ("body", "mask", "message"),
    [
        ({"template": {"containers": [container("64Gi")]}}, "template.containers", "limits"),
        ({"template": {"containers": [container("lots")]}}, "template.containers", "limits"),
        ({"template": {"containers": [container("8Gi")]}}, "template.containers", "needs 2 CPU"),
        ({"template": {"containers": []}}, "template.containers", "at least one container"),
        ({"template": {"timeout": "5m"}}, "template.timeout", "duration"),
        (
            {"template": {"scaling": {"minInstanceCount": 3, "maxInstanceCount": 2}}},
            "template.scaling",
            "minInstanceCount",
        ),
        ({"traffic": [to_revision("checkout-00009-abc")]}, "traffic", "does not exist"),
        ({"traffic": [{**LATEST, "percent": 90}]}, "traffic", "add up to 100"),
        ({"traffic": [{**LATEST, "percent": -1}]}, "traffic", "0 to 100"),
        ({"traffic": [{**LATEST, "revision": "x"}]}, "traffic", "REVISION"),
        ({"labels": {"a": 1}}, "labels", "service.labels.a"),
        ({"labels": ["a"]}, "labels", "service.labels"),
        ({"traffic": {}}, "traffic", "service.traffic"),
        ({"traffic": [{"percent": "9"}]}, "traffic", "service.traffic[0].percent"),
        ({"color": "red"}, "labels", 'Unknown name "color"'),
        ({"name": "projects/x/locations/y/services/z"}, "labels", "name"),
        ([], "labels", "Expected an object"),
        ({}, "template.containers.0.image", "dotted paths"),
        ({}, "labels.team", "repeated"),
        ({}, "uid", "no such field"),
        ({}, "template.none", "no such field"),
        ({}, "template..x", "updateMask"),
        ({"template": {"revision": "search-1"}}, "template.revision", "must begin with"),
    ],
)
async def test_a_patch_that_is_not_valid_changes_nothing(
    body: Any, mask: str, message: str
) -> None:
    caller = call_cloud(takes_any_request=True)
    before = await caller.get()

    response = await caller.http.patch(f"/v2/{NAME}", params={"updateMask": mask}, json=body)

    status, name, text = read_refusal(response)
    assert (status, name) == (400, "INVALID_ARGUMENT")
    assert message in text
    assert await caller.get() == before
    assert caller.cloud.effects == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"allowMissing": "true"}, "allowMissing"),
        ({"validateOnly": "yes"}, "validateOnly"),
        ({"masks": "labels"}, 'Unknown name "masks"'),
        ({"fields": "name("}, "field selection"),
    ],
)
async def test_a_query_that_is_not_valid_is_refused(query: dict[str, str], message: str) -> None:
    caller = call_cloud(takes_any_request=True)

    status, name, text = read_refusal(await caller.patch({}, "description", **query))

    assert (status, name, message in text) == (400, "INVALID_ARGUMENT", True)


@pytest.mark.parametrize("query", [{"pageSize": "-1"}, {"pageToken": "x"}])
async def test_a_page_that_can_not_be_is_refused(query: dict[str, str]) -> None:
    caller = call_cloud(takes_any_request=True)

    assert (await caller.refusal(f"/v2/{NAME}/revisions", **query))[0] == 400


async def test_a_parameter_that_is_given_twice_is_refused() -> None:
    caller = call_cloud(takes_any_request=True)

    response = await caller.http.get(f"/v2/{NAME}?alt=json&alt=json")

    assert read_refusal(response)[0] == 400


async def test_null_is_a_field_that_was_left_out() -> None:
    caller = call_cloud(labels={"team": "web"}, takes_any_request=True)

    await caller.change({"labels": None}, "labels")

    assert "labels" not in await caller.get()


async def test_a_body_that_is_not_json_is_refused() -> None:
    caller = call_cloud(takes_any_request=True)

    response = await caller.http.patch(f"/v2/{NAME}", content=b"{")

    assert read_refusal(response)[0] == 400


async def test_what_is_not_there_is_not_found() -> None:
    caller = call_cloud()
    other = NAME.replace("checkout", "search")

    assert (await caller.refusal(f"/v2/{other}"))[:2] == (404, "NOT_FOUND")
    assert (await caller.refusal(f"/v2/{NAME}/revisions/none"))[:2] == (404, "NOT_FOUND")
    assert read_refusal(await caller.patch({}, "labels", other))[0] == 404

    # No document has this method, so nothing checks its answer.
    async with httpx2.AsyncClient(transport=caller.cloud.transport()) as client:
        assert (await client.delete(f"http://cloud/v2/{NAME}")).status_code == 404


async def test_a_change_is_rolled_out_after_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    caller = call_cloud(reconcile_s=30)
    first = (await caller.get())["latestReadyRevision"]
    body = {"template": {"containers": [container("1Gi")]}}
    operation = await caller.change(body, "template.containers")

    during = await caller.get()
    await trio.sleep(30)
    after = await caller.get()

    assert "done" not in operation
    assert during["reconciling"] is True
    assert during["latestReadyRevision"] == first != during["latestCreatedRevision"]
    assert during["terminalCondition"]["state"] == "CONDITION_RECONCILING"
    assert (during["generation"], during["observedGeneration"]) == ("2", "1")
    assert "reconciling" not in after
    assert after["latestReadyRevision"] == after["latestCreatedRevision"] != first
    assert after["observedGeneration"] == after["generation"] == "2"
    assert (await caller.get(f"/v2/{operation['name']}"))["done"] is True


async def test_revisions_are_listed_the_newest_first_by_pages(
    autojump_clock: trio.testing.MockClock,
) -> None:
    caller = call_cloud()
    for most in (2, 3):
        await trio.sleep(60)
        body = {"template": {"scaling": {"maxInstanceCount": most}}}
        await caller.change(body, "template.scaling")

    whole = await caller.get(f"/v2/{NAME}/revisions")
    first = await caller.get(f"/v2/{NAME}/revisions", pageSize="2")
    second = await caller.get(
        f"/v2/{NAME}/revisions", pageSize="2", pageToken=first["nextPageToken"]
    )

    assert first["revisions"] + second["revisions"] == whole["revisions"]
    assert "nextPageToken" not in second
    assert [each["scaling"]["maxInstanceCount"] for each in whole["revisions"]] == [3, 2, 100]
    times = [each["createTime"] for each in whole["revisions"]]
    assert times == sorted(times, reverse=True)
    newest = whole["revisions"][0]
    assert await caller.get(f"/v2/{newest['name']}") == newest
    assert newest["conditions"][0]["state"] == "CONDITION_SUCCEEDED"


async def test_an_image_that_does_not_come_up_gets_no_traffic(
    autojump_clock: trio.testing.MockClock,
) -> None:
    caller = call_cloud(reconcile_s=10)
    caller.cloud.set_fate("bad", NeverReady())
    before = await caller.get()
    body = {"template": {"containers": [container(image="bad")]}}
    operation = await caller.change(body, "template.containers")
    await trio.sleep(10)

    after = await caller.get()
    ended = await caller.get(f"/v2/{operation['name']}")
    [failed, _] = (await caller.get(f"/v2/{NAME}/revisions"))["revisions"]

    assert after["terminalCondition"]["state"] == "CONDITION_FAILED"
    assert after["terminalCondition"]["revisionReason"] == "HEALTH_CHECK_CONTAINER_ERROR"
    assert after["latestReadyRevision"] == before["latestReadyRevision"]
    assert after["observedGeneration"] == "1"
    assert failed["name"] == after["latestCreatedRevision"]
    assert failed["conditions"][0]["state"] == "CONDITION_FAILED"
    assert caller.cloud.shares_of(NAME) == {short(before["latestReadyRevision"]): 100}
    assert (ended["done"], ended["error"]["code"]) == (True, 9)
    # Traffic to the failed revision leaves it where it was.
    await caller.change({"traffic": [to_revision(short(failed["name"]))]}, "traffic")
    await trio.sleep(10)
    assert caller.cloud.shares_of(NAME) == {short(before["latestReadyRevision"]): 100}


async def test_an_image_that_crashes_later_stays_ready_until_traffic_is_moved(
    autojump_clock: trio.testing.MockClock,
) -> None:
    caller = call_cloud()
    caller.cloud.set_fate("shaky", CrashesLater(after_s=60, exit_code=3))
    good = short((await caller.get())["latestReadyRevision"])
    body = {"template": {"containers": [container(image="shaky")]}}
    await caller.change(body, "template.containers")
    shaky = short((await caller.get())["latestReadyRevision"])

    assert caller.cloud.crashing(NAME) == []
    await trio.sleep(60)
    assert caller.cloud.crashing(NAME) == [shaky]
    assert (await caller.get())["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    entry = caller.cloud.exit_entry(NAME, "e", 3)
    await caller.change({"traffic": [to_revision(good)]}, "traffic")

    assert caller.cloud.crashing(NAME) == []
    assert caller.cloud.shares_of(NAME) == {good: 100}
    assert (await caller.get())["trafficStatuses"] == [to_revision(good)]
    assert entry["textPayload"] == "Container called exit(3)."
    assert entry["resource"]["labels"]["revision_name"] == shaky


async def test_traffic_can_be_split() -> None:
    caller = call_cloud()
    first = short((await caller.get())["latestReadyRevision"])
    await caller.change({"template": {"scaling": {"maxInstanceCount": 5}}}, "template.scaling")
    second = short((await caller.get())["latestReadyRevision"])

    body = {"traffic": [to_revision(first, 75), {**LATEST, "percent": 25}]}
    await caller.change(body, "traffic")

    assert caller.cloud.shares_of(NAME) == {first: 75, second: 25}


async def test_a_changed_template_under_an_old_name_conflicts() -> None:
    caller = call_cloud()
    body = {"template": {"revision": "checkout-blue", "timeout": "10s"}}
    await caller.change(body, "template.revision,template.timeout")

    response = await caller.patch({"template": {"timeout": "20s"}}, "template.timeout")

    assert (await caller.get())["latestReadyRevision"] == f"{NAME}/revisions/checkout-blue"
    assert read_refusal(response)[:2] == (409, "ALREADY_EXISTS")


async def test_effects_tell_what_was_before_and_after() -> None:
    caller = call_cloud(max_instances=10)
    etag = (await caller.get())["etag"]

    await caller.change(
        {"etag": etag, "template": {"scaling": {"maxInstanceCount": 15}}},
        "template.scaling.maxInstanceCount,template.timeout",
    )

    [effect] = caller.cloud.effects
    assert (effect.resource, effect.generation, effect.etag) == (NAME, 2, etag)
    assert effect.mask == ("template.scaling.maxInstanceCount",)
    assert effect.before == {"template.scaling.maxInstanceCount": 10}
    assert effect.after == {"template.scaling.maxInstanceCount": 15}


async def test_the_same_change_after_a_revert_is_done_twice() -> None:
    caller = call_cloud(max_instances=10)
    mask, grown = "template.scaling", {"template": {"scaling": {"maxInstanceCount": 15}}}
    await caller.change(grown, mask)
    await caller.change(grown, mask)
    assert caller.cloud.doubled_effects() == {}
    caller.cloud.change_elsewhere(NAME, "template.scaling.maxInstanceCount", 10)

    await caller.change(grown, mask)

    [(change, count)] = caller.cloud.doubled_effects().items()
    assert (change.endswith(f"on {NAME}"), count) == (True, 2)


async def test_a_token_is_demanded(autojump_clock: trio.testing.MockClock) -> None:
    caller = call_cloud()
    caller.cloud.demand_token("lasting")
    caller.cloud.demand_token("short", BEGIN + timedelta(seconds=60))

    async def status(token: str | None) -> tuple[int, str]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = await caller.http.get(f"/v2/{NAME}", headers=headers)
        if response.status_code == 200:
            return 200, ""
        assert response.headers["www-authenticate"].startswith("Bearer")
        return response.status_code, response.json()["error"]["details"][0]["reason"]

    assert await status("lasting") == await status("short") == (200, "")
    await trio.sleep(60)
    assert await status("short") == (401, "ACCESS_TOKEN_EXPIRED")
    assert await status("lasting") == (200, "")
    assert await status(None) == (401, "CREDENTIALS_MISSING")
    assert (await status("forged"))[0] == 401


@pytest.mark.parametrize(
    ("status", "severity"),
    [(429, "WARNING"), (500, "ERROR")],
)
async def test_a_request_that_finds_no_instance_is_logged(status: Any, severity: str) -> None:
    caller = call_cloud()

    entry = caller.cloud.no_instance_entry(NAME, "e", status)

    signal = normalise(entry)
    assert (entry["severity"], entry["httpRequest"]["status"]) == (severity, status)
    assert entry["logName"] == "projects/shop/logs/run.googleapis.com%2Frequests"
    assert "aborted because there was no available instance" in entry["textPayload"]
    assert signal.record()["kind"] == "gcp_log_entry"


async def test_a_service_that_was_not_added_is_an_error_of_the_test() -> None:
    cloud = LocalCloud(start_clock())

    with pytest.raises(InvalidInput, match="expected service"):
        cloud.memory_of("projects/none")
    with pytest.raises(InvalidInput, match="expected call"):
        cloud.script("run.services.delete")


def test_the_table_of_fields_is_a_part_of_the_discovery_document() -> None:
    run = DOCUMENTS[0]
    service = run.schema("GoogleCloudRunV2Service")

    expect_part(run, WRITABLE, service)
    assert {
        name for name in OUTPUT_ONLY if not service["properties"][name].get("readOnly")
    } == set()


def expect_part(run: Discovery, table: Any, schema: Any) -> None:
    found = run.resolve(schema)
    assert not schema.get("readOnly", False)
    if table == MAP:
        assert found["additionalProperties"] == {"type": "string"}
    elif isinstance(table, dict):
        for name, below in table.items():  # pyright: ignore[reportUnknownVariableType]
            expect_part(run, below, found["properties"][name])
    elif isinstance(table, list):
        assert found["type"] == "array"
        expect_part(run, table[0], found["items"])
    else:
        assert found["type"] == {str: "string", int: "integer", bool: "boolean"}[table]


async def test_kills_of_the_service_end_in_one_patch_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = open_decision_stage()
    caller = call_cloud(reconcile_s=5, env={"KEY": "secret"})
    reach = reach_cloud(caller.cloud, caller.clock, transport=caller.transport)
    run = reach.effectors["run"]
    history = History.empty()
    decisions: list[Decision] = []
    for number in range(3):
        await trio.sleep(60)
        signal = normalise(caller.cloud.kill_entry(NAME, insert_id=f"i{number}"))
        requests = needed_facts(signal, history, stage.recipes, caller.clock())
        facts = {
            request.key: await reach.readers[request.call.partition(".")[0]].read(request)
            for request in requests
        }
        decision = decide(signal, facts, history, stage.recipes, stage.policy, caller.clock())
        decisions.append(decision)
        history = stage.after(history, decision)
        if decision.answer == "act" and decision.plan is not None:
            await run.call(decision.plan.calls[0])

    assert [decision.answer for decision in decisions] == ["refuse", "act", "refuse"]
    assert decisions[-1].code == "bounds_exceeded"
    assert (len(caller.cloud.effects), caller.cloud.memory_of(NAME)) == (1, "1Gi")
    plan = decisions[1].plan
    assert plan is not None
    await run.call(plan.rollback[0])
    assert caller.cloud.memory_of(NAME) == "512Mi"
    [kept] = caller.cloud.service(NAME)["template"]["containers"]
    assert kept["env"] == [{"name": "KEY", "value": "secret"}]
