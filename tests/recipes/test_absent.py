"""What a field means where the answer leaves it out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.recipes.path import MISSING, UNREAD, Path, is_left_out, parse_path, walk
from autonomics.recipes.signal import Json, Signal, canonical_tree
from autonomics.recipes.view import SignalView

ABSENT: dict[Path, Json] = {
    ("service", "reconciling"): False,
    ("service", "scaling", "minInstanceCount"): 0,
    ("service", "template", "containers", "0", "resources", "startupCpuBoost"): False,
    ("service", "traffic"): [],
}


def look(path: str, service: object = UNREAD) -> object:
    view = SignalView(
        signal=Signal(kind="text"),
        extracts={},
        facts={} if service is UNREAD else canonical_tree({"service": service}),
        counts={},
        recipe_id="run.x",
        fingerprint="f",
        now=datetime(2026, 3, 1, tzinfo=UTC),
        absent=ABSENT,
    )
    return view.lookup(("fact", "service", *parse_path(path)))


BOOST = "template.containers.0.resources.startupCpuBoost"


CASES: list[tuple[str, object, object]] = [
    ("reconciling", {}, False),
    ("reconciling", {"reconciling": True}, True),
    ("reconciling", {"reconciling": None}, None),
    ("scaling.minInstanceCount", {}, 0),
    ("scaling.minInstanceCount", {"scaling": {}}, 0),
    ("scaling.minInstanceCount", {"scaling": {"minInstanceCount": 2}}, 2),
    # What is there in another form is not left out.
    ("scaling.minInstanceCount", {"scaling": "none"}, MISSING),
    ("scaling.minInstanceCount", {"scaling": None}, MISSING),
    ("scaling.minInstanceCount", "no object", MISSING),
    ("scaling.minInstanceCount", [], MISSING),
    (BOOST, {"template": {"containers": [{}]}}, False),
    (BOOST, {"template": {"containers": [{"resources": {}}]}}, False),
    # A container that is not there has no boost to be off.
    (BOOST, {"template": {"containers": []}}, MISSING),
    (BOOST, {"template": {}}, MISSING),
    (BOOST, {}, MISSING),
    ("traffic", {}, []),
    ("traffic.1", {}, MISSING),
    ("etag", {}, MISSING),
    ("reconciling", UNREAD, UNREAD),
]


@pytest.mark.parametrize(("path", "service", "expected"), CASES)
def test_a_field_that_is_left_out_means_what_was_declared(
    path: str, service: object, expected: object
) -> None:
    found = look(path, service)

    assert found == expected
    assert type(found) is type(expected)


trees = st.recursive(
    st.none() | st.integers() | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab0"), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(trees, st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=1, max_size=4))
def test_what_is_left_out_is_missing(tree: object, path: list[str]) -> None:
    if is_left_out(tree, tuple(path)):
        assert walk(tree, tuple(path)) is MISSING
        assert isinstance(tree, dict | list)


def test_what_is_there_is_not_left_out() -> None:
    assert not is_left_out({"a": {"b": 0}}, ("a", "b"))
