"""The part of Cloud Run's `Service` that the local end keeps, and how a patch changes it.

A test holds this table to the discovery document. What the API has beyond it is refused here as
the API refuses what it does not know: nothing is taken and then forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, cast

from autonomics.errors import InvalidInput
from autonomics.recipes.quantity import read_number
from autonomics.testing.field_selector import parse_mask
from autonomics.testing.local_http import Refused

Tree = dict[str, Any]

MAP: Final = "map of texts"
_PROBE: Final = {
    "initialDelaySeconds": int,
    "timeoutSeconds": int,
    "periodSeconds": int,
    "failureThreshold": int,
    "httpGet": {"path": str, "port": int},
    "tcpSocket": {"port": int},
}
_CONTAINER: Final = {
    "name": str,
    "image": str,
    "command": [str],
    "args": [str],
    "env": [
        {
            "name": str,
            "value": str,
            "valueSource": {"secretKeyRef": {"secret": str, "version": str}},
        }
    ],
    "resources": {"limits": MAP, "cpuIdle": bool, "startupCpuBoost": bool},
    "ports": [{"name": str, "containerPort": int}],
    "startupProbe": _PROBE,
    "livenessProbe": _PROBE,
    "workingDir": str,
}
WRITABLE: Final[Tree] = {
    "description": str,
    "labels": MAP,
    "annotations": MAP,
    "client": str,
    "clientVersion": str,
    "ingress": str,
    "launchStage": str,
    "template": {
        "revision": str,
        "labels": MAP,
        "annotations": MAP,
        "scaling": {"minInstanceCount": int, "maxInstanceCount": int},
        "timeout": str,
        "serviceAccount": str,
        "executionEnvironment": str,
        "maxInstanceRequestConcurrency": int,
        "sessionAffinity": bool,
        "containers": [_CONTAINER],
    },
    "traffic": [{"type": str, "revision": str, "percent": int, "tag": str}],
    "scaling": {
        "minInstanceCount": int,
        "maxInstanceCount": int,
        "scalingMode": str,
        "manualInstanceCount": int,
    },
}
OUTPUT_ONLY: Final = frozenset(
    {
        "uid",
        "generation",
        "createTime",
        "updateTime",
        "deleteTime",
        "expireTime",
        "creator",
        "lastModifier",
        "observedGeneration",
        "terminalCondition",
        "conditions",
        "latestReadyRevision",
        "latestCreatedRevision",
        "trafficStatuses",
        "uri",
        "urls",
        "satisfiesPzs",
        "reconciling",
        "threatDetectionEnabled",
    }
)
"""What a request may hold, and the API passes over."""
LATEST: Final = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
NAMED: Final = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
_GIB: Final = 2**30
# The least CPU that Cloud Run wants for a memory limit above so many bytes.
_CPU_FOR_MEMORY: Final = ((8 * _GIB, 4), (4 * _GIB, 2), (_GIB, 1))
_TYPES: Final = {str: "TYPE_STRING", int: "TYPE_INT32", bool: "TYPE_BOOL"}
_DURATION: Final = re.compile(r"\d{1,9}(\.\d{1,9})?s")


def check_body(body: object, name: str) -> Tree:
    """Check that a body is a Service of that name; give it without what is output only."""
    if not isinstance(body, Mapping):
        raise Refused(400, "Invalid JSON payload received. Expected an object.")
    found = dict(cast("Mapping[str, Any]", body))
    if found.pop("name", name) != name:
        raise Refused(400, "The name in the body is not the one in the path.")
    found.pop("etag", None)
    found = {key: value for key, value in found.items() if key not in OUTPUT_ONLY}
    _check(found, WRITABLE, "service")
    return found


def _check(value: object, schema: Any, path: str) -> None:
    if value is None:
        return  # In proto3 JSON null is a field that was left out.
    if isinstance(schema, dict):
        _check_message(_object(value, path), cast("Tree", schema), path)
    elif schema == MAP:
        for key, item in _object(value, path).items():
            _check(item, str, f"{path}.{key}")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise Refused(400, f"Invalid value at '{path}': Expected a list.")
        for index, item in enumerate(cast("list[object]", value)):
            if item is None:
                raise Refused(400, f"Invalid value at '{path}[{index}]': Expected no null.")
            _check(item, schema[0], f"{path}[{index}]")
    elif type(value) is not schema:
        raise Refused(400, f"Invalid value at '{path}' ({_TYPES[schema]})")


def _check_message(value: Mapping[str, object], known: Tree, path: str) -> None:
    for key, item in value.items():
        if key not in known:
            text = f"Unknown name \"{key}\" at '{path}': Cannot find field."
            raise Refused(400, f"Invalid JSON payload received. {text}")
        _check(item, known[key], f"{path}.{key}")


def _object(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise Refused(400, f"Invalid value at '{path}': Expected an object.")
    return cast("Mapping[str, object]", value)


def read_mask(text: str | None) -> tuple[tuple[str, ...], ...]:
    """Read an `updateMask`; without one, or with `*`, every field that may be written."""
    if text in (None, "", "*"):
        return tuple((name,) for name in WRITABLE)
    try:
        paths = parse_mask(str(text))
    except InvalidInput as error:
        raise Refused(400, str(error)) from None
    for path in paths:
        schema: Any = WRITABLE
        for place, segment in enumerate(path):
            shown = ".".join(path)
            if isinstance(schema, list) or schema == MAP:
                within = ".".join(path[:place])
                message = f"Invalid field mask {shown}: {within} is repeated, it must come last."
                raise Refused(400, message)
            if not isinstance(schema, dict) or segment not in schema:
                raise Refused(400, f"Invalid field mask {shown}: no such field can be updated.")
            schema = cast("Tree", schema)[segment]
    return paths


def apply_mask(tree: Tree, body: Tree, mask: tuple[tuple[str, ...], ...]) -> Tree:
    """Give a copy in which what the mask names is as the body has it; what it lacks is cleared."""
    changed = deepcopy(tree)
    for path in mask:
        value = look_up(body, path)
        node: Tree = changed
        for segment in path[:-1]:
            node = node.setdefault(segment, {})
        if value is None:
            node.pop(path[-1], None)
        else:
            node[path[-1]] = deepcopy(value)
    return without_zeros(changed)


def look_up(tree: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Follow a path of a mask; None where it ends early."""
    node: Any = tree
    for segment in path:
        node = cast("Mapping[str, Any]", node).get(segment) if isinstance(node, Mapping) else None
    return node


def without_zeros(tree: Mapping[str, Any]) -> Tree:
    """Leave out what proto3 JSON does not write: 0, false, "", empty lists and maps, null.

    The value of an env entry stays: it is a member of a oneof, which is written whenever it is set.
    """
    found: Tree = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            pruned: Any = without_zeros(cast("Tree", value))
        elif isinstance(value, list):
            pruned = [
                without_zeros(cast("Tree", item)) if isinstance(item, Mapping) else item
                for item in cast("list[object]", value)
            ]
        else:
            pruned = value
        if pruned or (key == "value" and pruned is not None):
            found[key] = pruned
    return found


def fill_defaults(tree: Tree) -> Tree:
    """Populate what the API populates where it is left out."""
    template = tree.get("template", {})
    template.setdefault("timeout", "300s")
    template.setdefault("maxInstanceRequestConcurrency", 80)
    for container in template.get("containers", []):
        limits = container.setdefault("resources", {}).setdefault("limits", {})
        limits.setdefault("cpu", "1000m")
        limits.setdefault("memory", "512Mi")
    tree.setdefault("traffic", [{"type": LATEST, "percent": 100}])
    return tree


def check_service(tree: Tree, revisions: frozenset[str]) -> None:
    """Check what the API checks of a whole service; `revisions` are the short names there are."""
    template = tree.get("template", {})
    containers = template.get("containers", [])
    if not containers or any("image" not in container for container in containers):
        raise Refused(400, "template.containers: at least one container with an image is needed.")
    for container in containers:
        _check_limits(container["resources"]["limits"])
    if _DURATION.fullmatch(template["timeout"]) is None:
        raise Refused(400, "template.timeout: expected a duration in seconds that ends in `s`.")
    for scaling in (template.get("scaling", {}), tree.get("scaling", {})):
        least, most = scaling.get("minInstanceCount", 0), scaling.get("maxInstanceCount")
        if least < 0 or (most is not None and not max(1, least) <= most <= 1000):
            raise Refused(400, "scaling: expected 0 <= minInstanceCount <= maxInstanceCount.")
    _check_traffic(tree["traffic"], revisions)


def _check_limits(limits: Mapping[str, str]) -> None:
    memory, cpu = read_number(limits["memory"]), read_number(limits["cpu"])
    if memory is None or cpu is None or not 128 * 2**20 <= memory <= 32 * _GIB:
        raise Refused(400, f"Invalid value specified for container limits: {dict(limits)}")
    for above, least in _CPU_FOR_MEMORY:
        if memory > above and cpu < least:
            raise Refused(400, f"A memory limit of {limits['memory']} needs {least} CPU.")


def _check_traffic(targets: list[Tree], revisions: frozenset[str]) -> None:
    for target in targets:
        revision = target.get("revision")
        if target.get("type", NAMED if revision else LATEST) != (NAMED if revision else LATEST):
            raise Refused(400, "traffic: expected a revision with type REVISION, none with LATEST.")
        if revision is not None and revision not in revisions:
            text = "does not exist or is deleted. Update all traffic to route to currently"
            raise Refused(400, f"Revision '{revision}' {text} available revisions.")
        if target.get("percent", 0) < 0:
            raise Refused(400, "traffic: expected percents from 0 to 100.")
    if sum(target.get("percent", 0) for target in targets) != 100:
        raise Refused(400, "traffic: expected percents that add up to 100.")
