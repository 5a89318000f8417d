"""The Cloud Run side of the local cloud: its services, and what of the Admin API v2 it answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any, Final, cast

import trio

from autonomics.errors import InvalidInput
from autonomics.recipes.path import parse_path
from autonomics.recipes.signal import Json
from autonomics.testing.cloud_fault import Fate
from autonomics.testing.local_effect import Effect
from autonomics.testing.local_http import SYSTEM_PARAMETERS, Answer, Refused, Request
from autonomics.testing.local_schema import (
    Tree,
    apply_mask,
    check_body,
    check_service,
    fill_defaults,
    look_up,
    read_mask,
)
from autonomics.testing.local_service import Moment, Service, operation_name

_FLAGS: Final = frozenset({"validateOnly", "allowMissing", "forceNewRevision"})
_PATCH: Final = SYSTEM_PARAMETERS | _FLAGS | {"updateMask"}
_LIST: Final = SYSTEM_PARAMETERS | {"pageSize", "pageToken", "showDeleted"}


class LocalRun:
    """Keeps services and answers requests about them. A change takes `reconcile_s` to roll out."""

    def __init__(self, clock: Callable[[], datetime], reconcile_s: float) -> None:
        self._clock = clock
        self._reconcile_s = reconcile_s
        self._operations: dict[str, tuple[Service, int]] = {}
        self.services: dict[str, Service] = {}
        self.fates: dict[str, Fate] = {}
        """What becomes of a revision, by its image."""
        self.effects: list[Effect] = []

    def now(self) -> Moment:
        """Give the present."""
        return Moment(self._clock(), trio.current_time())

    def deploy(self, name: str, tree: Tree) -> None:
        """Put a service there, all rolled out."""
        now = self.now()
        service = Service(name, fill_defaults(tree), now.at)
        service.add_revision(now, float("-inf"), self._fate_of(tree))
        service.settle(now)
        self.services[name] = service

    def look_at(self, name: str) -> Service:
        """Give a service as it is by now; raise InvalidInput if it was never deployed."""
        if name not in self.services:
            raise InvalidInput.expected("service", f"one of {sorted(self.services)}", name)
        service = self.services[name]
        service.settle(self.now())
        return service

    def change_elsewhere(self, name: str, path: str, value: Json) -> None:
        """Set one value, checked by nobody."""
        service = self.look_at(name)
        tree = deepcopy(service.tree)
        _put(tree, path, value)
        self._change(service, tree, is_forced=False)

    def answer(self, call: str, arguments: tuple[str, ...], request: Request) -> Answer:
        """Answer a request that was routed; raise Refused as the API would."""
        match call, arguments:
            case (("run.services.get" | "read_back"), (name,)):
                request.parameters(SYSTEM_PARAMETERS)
                return Answer(self._find(name).view(self.now()))
            case (("run.services.patch" | "run.services.validate"), (name,)):
                return self._patch(name, request)
            case "run.revisions.list", (name,):
                return self._list_revisions(name, request)
            case "run.revisions.get", (name, short):
                request.parameters(SYSTEM_PARAMETERS)
                revision = self._find(name).find(short)
                if revision is None:
                    raise Refused(404, f"Revision '{short}' does not exist or is deleted.")
                return Answer(revision.view(name))
            case "run.operations.get", (name,):
                request.parameters(SYSTEM_PARAMETERS)
                if name not in self._operations:
                    raise Refused(404, f"Operation '{name}' was not found.")
                service, generation = self._operations[name]
                return Answer(service.operation(generation, self.now()))
            case _:
                raise AssertionError(call)

    def _patch(self, name: str, request: Request) -> Answer:
        """Validate, then change, as the real thing does."""
        given = request.parameters(_PATCH)
        flags = {flag: _read_flag(given, flag) for flag in _FLAGS}
        if flags["allowMissing"]:
            raise Refused(400, "allowMissing: this local end makes no services.")
        body = request.json()
        mask = read_mask(given.get("updateMask"))
        wanted = check_body(body, name)
        service = self._find(name)
        etag = cast("Mapping[str, Any]", body).get("etag") or None
        if etag not in (None, service.etag):
            text = f"version '{etag}' was specified but current version is '{service.etag}'."
            raise Refused(409, f"Conflict for resource '{service.short}': {text}")
        tree = fill_defaults(apply_mask(service.tree, wanted, mask))
        check_service(tree, service.names)
        service.check_revision_name(tree)
        if flags["validateOnly"]:
            trial = deepcopy(service)
            self._roll_out(trial, tree, is_forced=flags["forceNewRevision"])
            found = trial.operation(trial.generation, self.now())
            found.pop("error", None)
            return Answer({**found, "done": True, "response": found["metadata"]})
        before = service.tree
        if self._change(service, tree, is_forced=flags["forceNewRevision"]):
            changed = [path for path in mask if look_up(before, path) != look_up(tree, path)]
            self.effects.append(
                Effect(
                    resource=name,
                    mask=tuple(".".join(path) for path in changed),
                    before={".".join(path): look_up(before, path) for path in changed},
                    after={".".join(path): look_up(tree, path) for path in changed},
                    generation=service.generation,
                    etag=etag,
                )
            )
        return Answer(service.operation(service.generation, self.now()))

    def _change(self, service: Service, tree: Tree, *, is_forced: bool) -> bool:
        is_changed = self._roll_out(service, tree, is_forced=is_forced)
        operation = operation_name(service.name, service.generation)
        self._operations[operation] = (service, service.generation)
        return is_changed

    def _roll_out(self, service: Service, tree: Tree, *, is_forced: bool) -> bool:
        return service.change(
            tree,
            self.now(),
            reconcile_s=self._reconcile_s,
            fate=self._fate_of(tree),
            is_forced=is_forced,
        )

    def _fate_of(self, tree: Tree) -> Fate | None:
        fates = (self.fates.get(each["image"]) for each in tree["template"]["containers"])
        return next((fate for fate in fates if fate is not None), None)

    def _list_revisions(self, name: str, request: Request) -> Answer:
        given = request.parameters(_LIST)
        size, token = given.get("pageSize") or "0", given.get("pageToken") or "at-0"
        if re.fullmatch(r"\d{1,9}", size) is None or re.fullmatch(r"at-\d{1,9}", token) is None:
            raise Refused(400, "Invalid value for pageSize or pageToken.")
        newest_first = self._find(name).revisions[::-1]
        begin = int(token[3:])
        end = begin + (int(size) or len(newest_first))
        page: dict[str, Any] = {}
        if shown := newest_first[begin:end]:
            page["revisions"] = [revision.view(name) for revision in shown]
        if end < len(newest_first):
            page["nextPageToken"] = f"at-{end}"
        return Answer(page)

    def _find(self, name: str) -> Service:
        if name not in self.services:
            raise Refused(404, f"Resource '{name.rsplit('/', 1)[-1]}' of kind 'SERVICE' not found.")
        return self.look_at(name)


def _read_flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(400, f"Invalid value at '{name}' (TYPE_BOOL), \"{text}\"")
    return text == "true"


def _put(tree: Tree, path: str, value: Json) -> None:
    *way, last = parse_path(path)
    node: Any = tree
    for segment in way:
        if isinstance(node, dict):
            node = cast("dict[str, Any]", node).setdefault(segment, {})
        else:
            node = node[int(segment)]
    node[last] = value
