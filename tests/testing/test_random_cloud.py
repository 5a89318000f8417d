"""Whatever is asked of the local cloud, and however it fails: its answers and its state hold."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

import attrs
import httpx2
import pytest
import trio
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomics.testing.cloud_fault import (
    Conflict,
    CrashesLater,
    Fail,
    Fault,
    Hang,
    Late,
    Lost,
    NeverReady,
)
from autonomics.testing.local_schema import MAP, WRITABLE, look_up

from .cloud_client import NAME, Caller, call_cloud, container

RECONCILE_S = 10.0
LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
NAMED = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"


FAULTS: tuple[Fault, ...] = (
    Late(3.0),
    Late(3.0, has_effect_first=True),
    Fail(),
    Fail("429"),
    Conflict(),
    Lost(has_effect=True),
    Lost(has_effect=False),
    Hang(),
)
ETAGS: tuple[Literal["none", "fresh", "stale"], ...] = ("none", "none", "fresh", "stale")
Change: TypeAlias = tuple[dict[str, Any], str]
"""A body, and the mask that goes with it."""


@attrs.frozen
class Patch:
    change: Change
    etag: Literal["none", "fresh", "stale"] = "none"
    is_validation: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class Move:
    """Split traffic: percents to revisions by their place, counted from the newest."""

    shares: list[tuple[int, int]]
    latest: int


@attrs.frozen
class Elsewhere:
    by: str


@attrs.frozen
class Script:
    call: str
    fault: Fault


@attrs.frozen
class Wait:
    seconds: float


Step: TypeAlias = Patch | Move | Elsewhere | Script | Wait


def change_container(memory: str, image: str) -> Change:
    return {"template": {"containers": [container(memory, image=image)]}}, "template.containers"


def change_most(count: int) -> Change:
    return {"template": {"scaling": {"maxInstanceCount": count}}}, "template.scaling"


def change_least(count: int) -> Change:
    return {"scaling": {"minInstanceCount": count}}, "scaling.minInstanceCount"


def change_labels(text: str) -> Change:
    return {"labels": {"a": text} if text else {}}, "labels"


def name_revision(name: str) -> Change:
    return {"template": {"revision": name}}, "template.revision"


def changes() -> st.SearchStrategy[Change]:
    return st.one_of(
        st.builds(
            change_container,
            st.sampled_from(("256Mi", "512Mi", "1Gi", "64Gi")),
            st.sampled_from(("local", "bad", "shaky")),
        ),
        st.builds(change_most, st.integers(0, 4)),
        st.builds(change_least, st.integers(-1, 3)),
        st.builds(change_labels, st.sampled_from(("", "x", "y"))),
        st.builds(name_revision, st.sampled_from(("checkout-own", "search-own"))),
    )


def steps() -> st.SearchStrategy[Step]:
    patch = st.builds(
        Patch,
        changes(),
        st.sampled_from(ETAGS),
        is_validation=st.sampled_from((False, False, False, True)),
    )
    shares = st.lists(st.tuples(st.integers(0, 4), st.sampled_from((10, 50, 100))), max_size=2)
    faults: st.SearchStrategy[Fault] = st.sampled_from(FAULTS)
    calls = st.sampled_from(("run.services.patch", "run.services.patch", "run.services.validate"))
    return st.one_of(
        patch,
        patch,
        patch,
        st.builds(Move, shares, st.sampled_from((0, 50, 90, 100))),
        st.builds(Elsewhere, st.sampled_from(("hand", "script"))),
        st.builds(Script, calls, faults),
        st.builds(Wait, st.sampled_from((0.5, 9.0, RECONCILE_S, 100.0))),
    )


class Watch:
    """What was seen of the service, and must hold from one look to the next."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.seen = caller.cloud.service(NAME)
        self.effects = 0
        self.first_etag = self.seen["etag"]

    @property
    def generation(self) -> int:
        return int(self.seen["generation"])

    async def look(self, *, may_change: bool) -> bool:
        """Check the service as it is; tell whether it was changed since the last look."""
        before, self.seen = self.seen, await self.caller.get()
        revisions = (await self.caller.get(f"/v2/{NAME}/revisions"))["revisions"]
        check_service(self.seen, {each["name"]: each for each in revisions})
        check_zeros(self.seen)
        rise = self.generation - int(before["generation"])
        assert rise in ((0, 1) if may_change else (0,))
        assert (self.seen["etag"] != before["etag"]) is bool(rise)
        effects = self.caller.cloud.effects
        if rise and len(effects) > self.effects:
            effect = effects[-1]
            assert effect.generation == self.generation
            for path in effect.mask:
                way = tuple(path.split("."))
                assert look_up(before, way) == effect.before[path] != effect.after[path]
                assert look_up(self.seen, way) == effect.after[path]
        else:
            assert len(effects) == self.effects
        self.effects = len(effects)
        return bool(rise)


def check_service(service: dict[str, Any], revisions: dict[str, dict[str, Any]]) -> None:
    states = {
        name.rsplit("/", 1)[-1]: revision["conditions"][0]["state"]
        for name, revision in revisions.items()
    }
    for key in ("traffic", "trafficStatuses"):
        assert sum(target.get("percent", 0) for target in service[key]) == 100
        assert {target["revision"] for target in service[key] if target["type"] == NAMED} <= set(
            states
        )
    for target in service["trafficStatuses"]:
        if target["type"] == NAMED:
            assert states[target["revision"]] != "CONDITION_FAILED"
    assert service["latestCreatedRevision"] in revisions
    assert states[service["latestReadyRevision"].rsplit("/", 1)[-1]] == "CONDITION_SUCCEEDED"
    generation, observed = int(service["generation"]), int(service["observedGeneration"])
    state = service["terminalCondition"]["state"]
    assert observed <= generation
    assert service.get("reconciling", False) is (state == "CONDITION_RECONCILING")
    assert (state == "CONDITION_SUCCEEDED") is (observed == generation)
    if state == "CONDITION_SUCCEEDED":
        assert service["traffic"] == service["trafficStatuses"]
        assert service["latestReadyRevision"] == service["latestCreatedRevision"]


def check_zeros(value: object, key: str = "") -> None:
    """Nothing that proto3 JSON leaves out is in an answer."""
    if isinstance(value, dict):
        for name, item in cast("dict[str, object]", value).items():
            check_zeros(item, name)
    elif isinstance(value, list):
        assert value, key
        for item in cast("list[object]", value):
            check_zeros(item, key)
    else:
        assert value, key


async def play(schedule: list[Step]) -> None:
    caller = call_cloud(RECONCILE_S)
    caller.cloud.set_fate("bad", NeverReady())
    caller.cloud.set_fate("shaky", CrashesLater(5.0))
    watch = Watch(caller)
    for step in schedule:
        match step:
            case Patch():
                await take_patch(watch, step)
            case Move():
                await take_patch(watch, Patch(await split_traffic(caller, step)))
            case Elsewhere(by):
                caller.cloud.change_elsewhere(NAME, "labels.by", by)
                await watch.look(may_change=True)
            case Script(call, fault):
                caller.cloud.script(call, fault)
            case Wait(seconds):
                await trio.sleep(seconds)
                await watch.look(may_change=False)
    await trio.sleep(RECONCILE_S)
    await watch.look(may_change=False)
    assert "reconciling" not in watch.seen


async def split_traffic(caller: Caller, step: Move) -> Change:
    revisions = (await caller.get(f"/v2/{NAME}/revisions"))["revisions"]
    names = [each["name"].rsplit("/", 1)[-1] for each in revisions]
    targets = [
        {"type": NAMED, "revision": names[place % len(names)], "percent": percent}
        for place, percent in step.shares
    ]
    return {"traffic": [*targets, {"type": LATEST, "percent": step.latest}]}, "traffic"


async def take_patch(watch: Watch, step: Patch) -> None:
    """Send a patch, and hold what it did against what was answered."""
    body, mask = step.change
    etag = {"none": None, "fresh": watch.seen["etag"], "stale": watch.first_etag}[step.etag]
    is_stale = etag not in (None, watch.seen["etag"])
    query = {"validateOnly": "true"} if step.is_validation else {}
    status: int | None = None
    operation: dict[str, Any] = {}
    with trio.move_on_after(60.0):
        try:
            sent = body if etag is None else {**body, "etag": etag}
            response = await watch.caller.patch(sent, mask, **query)
        except httpx2.TransportError:
            pass
        else:
            status, operation = response.status_code, response.json()
    is_changed = await watch.look(may_change=not (step.is_validation or is_stale))
    if status is not None and status >= 400:
        assert not is_changed
    if status == 200:
        assert not is_stale
        assert operation["metadata"]["etag"] == watch.seen["etag"] or step.is_validation
        check_zeros(operation)


@settings(
    max_examples=100,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(steps(), min_size=5, max_size=30))
def test_whatever_is_asked_of_the_cloud_it_stays_a_cloud(schedule: list[Step]) -> None:
    note(f"schedule: {schedule}")
    trio.run(play, schedule, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_between_two_changes_leaves_the_cloud_whole(fault: Fault) -> None:
    schedule: list[Step] = [
        Patch(change_container("1Gi", "bad"), "fresh"),
        Script("run.services.patch", fault),
        Move([(1, 50), (0, 50)], 0),
        Wait(RECONCILE_S),
        Move([(1, 100)], 0),
        Wait(RECONCILE_S),
    ]
    trio.run(play, schedule, clock=MockClock(autojump_threshold=0))


LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 101),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(("", "1Gi", "64Gi", "x", "checkout-00001-abc", "30s", LATEST, NAMED)),
)


def resemble(table: Any) -> st.SearchStrategy[Any]:
    """Give values that look like a message of the API, here and there with another value in it."""
    if table == MAP:
        keys = st.sampled_from(("cpu", "memory", "team"))
        right: st.SearchStrategy[Any] = st.dictionaries(keys, LEAVES, max_size=2)
    elif isinstance(table, list):
        right = st.lists(resemble(table[0]), max_size=2)
    elif isinstance(table, dict):
        # One field each, so that what is wrong with it is not hidden by another's fault.
        right = st.one_of(
            *(
                st.fixed_dictionaries({name: resemble(below)})
                for name, below in cast("dict[str, Any]", table).items()
            )
        )
    else:
        return st.from_type(table) if table is bool else LEAVES
    return st.one_of(right, right, right, LEAVES)


async def send_nonsense(body: Any, mask: str) -> None:
    caller = call_cloud(takes_any_request=True)
    before = await caller.get()

    params = {"updateMask": mask} if mask else {}
    response = await caller.http.patch(f"/v2/{NAME}", params=params, json=body)

    after = await caller.get()
    assert response.status_code in (200, 400, 409), response.text
    if response.status_code != 200:
        assert after == before
    check_zeros(after)


@settings(max_examples=200, deadline=None)
@given(
    resemble(WRITABLE),
    st.sampled_from(("", "*", "labels", "template", "template.containers", "traffic", "scaling")),
)
@example({"traffic": [None]}, "traffic")
@example({"template": {"containers": [{"resources": None}]}}, "template.containers")
def test_nonsense_is_refused_and_never_breaks_the_cloud(body: Any, mask: str) -> None:
    trio.run(send_nonsense, body, mask, clock=MockClock(autojump_threshold=0))
