"""What a plan becomes on the wire, and how its effect is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomics.integrations.google_run_change import read_change
from autonomics.recipes.path import parse_path
from autonomics.testing.discovery import load_document

from .google_end import MEMORY, MOST, PATCH, RUN_URL, SERVICE, service


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (MOST, 0, {}),
        (MOST, 0, {"template": {"scaling": {}}}),
        ("template.containers.0.resources.cpuIdle", False, service(template={"containers": [{}]})),
        ("scaling", {"minInstanceCount": 0}, {}),
        ("traffic", [], {}),
        ("labels.team", "", {"labels": {}}),
        ("scaling.maxInstanceCount", 5, {"scaling": {"maxInstanceCount": "5"}}),
        (
            "scaling",
            {"minInstanceCount": 0, "maxInstanceCount": 5},
            {"scaling": {"maxInstanceCount": 5}},
        ),
        (
            "template.scaling",
            {"cpuUtilization": "0.7"},
            {"template": {"scaling": {"cpuUtilization": 0.7}}},
        ),
        ("traffic", [{"percent": 0, "revision": "a"}], {"traffic": [{"revision": "a"}]}),
    ],
)
def test_a_field_may_be_left_out_as_zero_and_a_number_be_a_text(
    path: str, value: Any, found: dict[str, Any]
) -> None:
    planned = evolve(PATCH, set={path: value}, mask=(path,), before={path: "other"})
    assert read_change(planned).judge(found) == "applied"


ALIKE: list[tuple[str, Any, dict[str, Any]]] = [
    ("labels.size", "1Gi", {"labels": {"size": "1024Mi"}}),
    ("scaling.maxInstanceCount", 1, {"scaling": {"maxInstanceCount": True}}),
    ("traffic", [{}, {}], {"traffic": [{}]}),
    ("template.timeout", "300s", {"template": {"timeout": "60s"}}),
]


@pytest.mark.parametrize(("path", "value", "found"), ALIKE)
def test_what_only_looks_alike_is_not_the_same(path: str, value: Any, found: Any) -> None:
    planned = evolve(PATCH, set={path: value}, mask=(path,), before={path: "other"})
    assert read_change(planned).judge(found) == "unknown"


# Properties

VALUES: dict[str, Callable[[int], Any]] = {
    MEMORY: lambda n: f"{n}Mi",
    "template.containers.1.image": lambda n: f"image-{n}",
    MOST: lambda n: n,
    "template.maxInstanceRequestConcurrency": lambda n: n,
    "scaling.minInstanceCount": lambda n: n,
    "traffic": lambda n: [{"percent": n}],
    "labels.a-b": lambda n: f"v{n}",
}
TEXTS = st.text(max_size=8)


def an_object(required: Mapping[str, Any], **optional: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(dict(required), optional=optional)


def texts() -> st.SearchStrategy[Any]:
    return st.dictionaries(TEXTS, TEXTS, max_size=3)


CONTAINER = an_object(
    {"image": TEXTS},
    env=st.lists(an_object({"name": TEXTS, "value": TEXTS}), max_size=2),
    resources=an_object({"limits": texts()}),
)
SERVICES = an_object(
    {
        "name": st.just(SERVICE),
        "etag": TEXTS.filter(bool),
        "template": an_object(
            {"containers": st.lists(CONTAINER, min_size=2, max_size=3)},
            scaling=an_object(
                {"minInstanceCount": st.integers(0, 9)}, cpuUtilization=st.floats(0, 1)
            ),
            serviceAccount=TEXTS,
        ),
    },
    labels=texts(),
    traffic=st.lists(an_object({"percent": st.integers(0, 100)}), max_size=2),
    scaling=an_object({"maxInstanceCount": st.integers(0, 9)}),
)


@settings(deadline=None)
@given(
    found=SERVICES,
    values=st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(1, 99), min_size=1),
)
def test_nothing_but_the_masked_paths_differs_between_what_was_read_and_what_is_sent(
    found: dict[str, Any], values: dict[str, int]
) -> None:
    planned = evolve(
        PATCH,
        set={path: VALUES[path](number) for path, number in values.items()},
        mask=tuple(values),
    )
    before = deepcopy(found)
    change = read_change(planned)
    body = json.loads(json.dumps(change.build_body(found)))
    load_document("run.v2").check_request(
        "PATCH", f"{RUN_URL}/v2/{SERVICE}?updateMask={change.update_mask}", body
    )
    assert found == before, "what was read is not touched"
    assert change.judge(body) == "applied"
    seen = leaves(body)
    masked = [parse_path(path) for path in planned.mask]
    wire = [tuple(path.split(".")) for path in change.update_mask.split(",")]
    for path in (set(leaves(found)) | set(seen)) - {("name",), ("etag",)}:
        if any(path[: len(mask)] == mask for mask in masked):
            continue
        is_sent = any(path[: len(mask)] == mask for mask in wire)
        assert seen.get(path) == (leaves(found).get(path) if is_sent else None), path


def leaves(value: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    pairs: list[tuple[str, object]]
    if isinstance(value, dict):
        pairs = list(cast("dict[str, object]", value).items())
    elif isinstance(value, list):
        pairs = [(str(index), item) for index, item in enumerate(cast("list[object]", value))]
    else:
        return {path: value}
    return {at: leaf for name, item in pairs for at, leaf in leaves(item, (*path, name)).items()}


def test_the_parts_that_containers_only_answer_with_are_those_of_the_schema() -> None:
    container = load_document("run.v2").schema("GoogleCloudRunV2Container")["properties"]
    read_only = {name for name, row in container.items() if row.get("readOnly")}
    assert read_only == {"buildInfo"}
