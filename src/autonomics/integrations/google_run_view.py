"""What recipes may see of Cloud Run: a selection that holds no env, args or volumes.

The same selection makes the `fields` of a request and cuts its answer, so that an end which does
not know `fields` shows no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from autonomics.errors import InvalidInput
from autonomics.recipes.signal import Json, canonical_tree, parse_moment

Selection = Mapping[str, "Selection"]
ALL: Final[Selection] = {}
"""A leaf: everything below."""

SERVICE: Final[Selection] = {
    "name": ALL,
    "uid": ALL,
    "generation": ALL,
    "observedGeneration": ALL,
    "etag": ALL,
    "labels": ALL,
    "annotations": ALL,
    "reconciling": ALL,
    "terminalCondition": ALL,
    "latestReadyRevision": ALL,
    "latestCreatedRevision": ALL,
    "scaling": ALL,
    "traffic": ALL,
    "trafficStatuses": ALL,
    "template": {
        "revision": ALL,
        "scaling": ALL,
        "maxInstanceRequestConcurrency": ALL,
        "timeout": ALL,
        "containers": {"name": ALL, "image": ALL, "resources": ALL},
    },
}
REVISION: Final[Selection] = {
    "name": ALL,
    "createTime": ALL,
    "conditions": {"type": ALL, "state": ALL},
    "scaling": ALL,
}
REVISIONS: Final[Selection] = {"revisions": REVISION}


def fields_of(selection: Selection) -> str:
    """Write a selection as the system parameter `fields`."""
    return ",".join(
        f"{name}({fields_of(below)})" if below else name for name, below in selection.items()
    )


def select(value: object, selection: Selection) -> Any:
    """Give what is selected of a value; a list is selected element by element."""
    if not selection:
        return value
    if isinstance(value, list):
        return [select(item, selection) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value)
        return {
            name: select(pairs[name], below) for name, below in selection.items() if name in pairs
        }
    return None


def view_service(answer: dict[str, Any]) -> dict[str, Json]:
    """Give a service as recipes read it; raise InvalidInput if it is none."""
    if not isinstance(answer.get("name"), str):
        raise InvalidInput.expected("service", "an object with a name", sorted(answer))
    return canonical_tree(select(answer, SERVICE))


def view_revision(answer: Mapping[str, Any]) -> dict[str, Json]:
    """Give one revision; raise InvalidInput if it is none."""
    revision = select(answer, REVISION)
    name, made = revision.get("name"), revision.get("createTime")
    if not isinstance(name, str) or not isinstance(made, str):
        raise InvalidInput.expected(
            "revision", "an object with name and createTime", sorted(answer)
        )
    return canonical_tree(
        {
            "name": name,
            "id": name.rpartition("/")[2],
            "createTime": made,
            "ready": _is_ready(revision.get("conditions")),
            "scaling": revision.get("scaling") or {},
        }
    )


def view_revisions(answer: Mapping[str, Any]) -> dict[str, Json]:
    """Give a page of revisions, the newest first; raise InvalidInput if it is none."""
    rows = answer.get("revisions", [])
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) for row in cast("list[object]", rows)
    ):
        raise InvalidInput("expected revisions to be a list of objects")
    views = [view_revision(row) for row in cast("list[dict[str, Any]]", rows)]
    views.sort(key=_made_at, reverse=True)
    return {"revisions": cast("list[Json]", views)}


def _made_at(view: Mapping[str, Json]) -> datetime:
    return parse_moment(view["createTime"]).astimezone(UTC)


def _is_ready(conditions: object) -> bool:
    if not isinstance(conditions, list):
        return False
    ready = {"type": "Ready", "state": "CONDITION_SUCCEEDED"}
    return ready in cast("list[object]", conditions)
