"""One Cloud Run service as the platform keeps it: what is wanted, what serves, and every revision.

Nothing runs in the background: what time has brought about is worked out when somebody looks.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, field, frozen

from autonomics.testing.cloud_fault import CrashesLater, Fate, NeverReady
from autonomics.testing.local_http import Refused
from autonomics.testing.local_schema import LATEST, NAMED, Tree

SUCCEEDED: Final = "CONDITION_SUCCEEDED"
RECONCILING: Final = "CONDITION_RECONCILING"
FAILED: Final = "CONDITION_FAILED"
_PREFIX: Final = "type.googleapis.com/google.cloud.run.v2"
_FAILED_PRECONDITION: Final = 9


@frozen
class Moment:
    """The present: as a date, and on trio's clock."""

    at: datetime
    s: float


@define
class Revision:
    """One revision; its state follows from its fate once its time has come."""

    name: str
    generation: int
    template: Tree
    created_at: datetime
    ready_at_s: float
    fate: Fate | None
    state: str = RECONCILING
    changed_at: datetime = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin in the state of being made."""
        self.changed_at = self.created_at

    def settle(self, now: Moment) -> None:
        """Become ready or fail, if it is time."""
        if self.state == RECONCILING and now.s >= self.ready_at_s:
            self.state = FAILED if isinstance(self.fate, NeverReady) else SUCCEEDED
            self.changed_at = now.at

    def is_crashing(self, now: Moment) -> bool:
        """Tell whether its containers exit by now."""
        fate = self.fate
        is_due = isinstance(fate, CrashesLater) and now.s >= self.ready_at_s + fate.after_s
        return is_due and self.state == SUCCEEDED

    def failure(self) -> Tree:
        """Say in the members of a condition why it is not ready."""
        if not isinstance(self.fate, NeverReady):
            return {}
        text = f"Revision '{self.name}' is not ready and cannot serve traffic. {self.fate.message}"
        return {"message": text, "revisionReason": self.fate.revision_reason}

    def view(self, service: str) -> Tree:
        """Give the revision as `revisions.get` answers."""
        why = self.failure() if self.state == FAILED else {}
        conditions = [
            _condition(kind, self.state, self.changed_at, why)
            for kind in ("Ready", "ContainerReady")
        ]
        template = {name: deepcopy(self.template[name]) for name in self.template}
        template.pop("revision", None)
        found: Tree = {
            **template,
            "name": f"{service}/revisions/{self.name}",
            "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{service}/{self.name}")),
            "generation": "1",
            "observedGeneration": "1",
            "createTime": write_moment(self.created_at),
            "updateTime": write_moment(self.changed_at),
            "service": service.rsplit("/", 1)[-1],
            "conditions": conditions,
            "etag": _etag(f"{service} {self.name} {self.state}"),
        }
        return {**found, "reconciling": True} if self.state == RECONCILING else found


@define
class Service:
    """One service. Its tree is what the caller may write; all else is worked out."""

    name: str
    tree: Tree
    created_at: datetime
    updated_at: datetime = field(init=False)
    generation: int = 1
    observed_generation: int = 0
    settled_generation: int = 0
    ready_at_s: float = float("-inf")
    revisions: list[Revision] = field(factory=list[Revision])
    serving: list[Tree] = field(factory=list[Tree])
    route_failure: Tree = field(factory=dict[str, Any])
    is_unanswered: bool = False
    """Whether the caller of the last patch got no answer, and so has to read it back."""

    def __attrs_post_init__(self) -> None:
        """Date the first generation."""
        self.updated_at = self.created_at

    @property
    def short(self) -> str:
        """The last part of the name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def etag(self) -> str:
        """The fingerprint of what is wanted; it changes with each accepted change."""
        return _etag(f"{self.name} {self.generation}")

    @property
    def names(self) -> frozenset[str]:
        """The short names of all revisions."""
        return frozenset(revision.name for revision in self.revisions)

    @property
    def latest_ready(self) -> Revision | None:
        """The newest revision that is ready."""
        ready = [revision for revision in self.revisions if revision.state == SUCCEEDED]
        return ready[-1] if ready else None

    def find(self, name: str) -> Revision | None:
        """Find a revision by its short name."""
        return next((each for each in self.revisions if each.name == name), None)

    def add_revision(self, now: Moment, ready_at_s: float, fate: Fate | None) -> None:
        """Make a revision of the template as it is."""
        wanted = self.tree["template"].get("revision")
        digest = hashlib.sha256(f"{self.name} {self.generation}".encode()).digest()
        suffix = "".join(chr(ord("a") + byte % 26) for byte in digest[:3])
        name = wanted or f"{self.short}-{self.generation:05d}-{suffix}"
        template = deepcopy(self.tree["template"])
        self.revisions.append(Revision(name, self.generation, template, now.at, ready_at_s, fate))

    def check_revision_name(self, tree: Mapping[str, Any]) -> None:
        """Refuse a changed template under the name of a revision that there is."""
        wanted = tree["template"].get("revision")
        if wanted is None or tree["template"] == self.tree["template"]:
            return
        if not wanted.startswith(f"{self.short}-"):
            raise Refused(400, f"Revision name '{wanted}' must begin with '{self.short}-'.")
        if wanted in self.names:
            text = f"Revision named '{wanted}' with different configuration already exists."
            raise Refused(409, text, "ALREADY_EXISTS")

    def change(
        self, tree: Tree, now: Moment, *, reconcile_s: float, fate: Fate | None, is_forced: bool
    ) -> bool:
        """Want another tree from now on; False if it is the same, and nothing changes."""
        is_new_template = is_forced or tree["template"] != self.tree["template"]
        if tree == self.tree and not is_new_template:
            return False
        self.settle(now)
        self.tree = tree
        self.generation += 1
        self.updated_at = now.at
        self.ready_at_s = now.s + reconcile_s
        if is_new_template:
            self.add_revision(now, self.ready_at_s, fate)
        return True

    def settle(self, now: Moment) -> None:
        """Bring the service to where it is by now.

        Routes and revisions are reconciled apart, as in Knative: traffic that was moved to a ready
        revision is moved, though the newest revision fails.
        """
        for revision in self.revisions:
            revision.settle(now)
        if self.settled_generation == self.generation or now.s < self.ready_at_s:
            return
        self.settled_generation = self.generation
        named = [self.find(target.get("revision", "")) for target in self.tree["traffic"]]
        broken = next((each for each in named if each is not None and each.state == FAILED), None)
        self.route_failure = {} if broken is None else broken.failure()
        if broken is None and self.latest_ready is not None:
            self.serving = deepcopy(self.tree["traffic"])
        if not self.failure():
            self.observed_generation = self.generation

    def failure(self) -> Tree:
        """Say in the members of a condition why the service is not as wanted; empty if it is."""
        newest = self.revisions[-1]
        return newest.failure() if newest.state == FAILED else self.route_failure

    def shares(self) -> dict[str, int]:
        """Give the percents of traffic by the short names of the revisions that serve."""
        found: dict[str, int] = {}
        latest = self.latest_ready
        for target in self.serving:
            name = target.get("revision") or (latest.name if latest is not None else "")
            if name and target.get("percent"):
                found[name] = found.get(name, 0) + target["percent"]
        return found

    def view(self, now: Moment) -> Tree:
        """Give the service as `services.get` answers."""
        self.settle(now)
        is_settled = self.settled_generation == self.generation
        why = self.failure() if is_settled else {}
        state = (FAILED if why else SUCCEEDED) if is_settled else RECONCILING
        newest, ready = self.revisions[-1], self.latest_ready
        route_state = RECONCILING if not is_settled else FAILED if self.route_failure else SUCCEEDED
        newest_why = newest.failure() if newest.state == FAILED else {}
        project = self.name.split("/")[1]
        uri = f"https://{self.short}-{project}.{self.name.split('/')[3]}.run.example"
        found: Tree = {
            **deepcopy(self.tree),
            "name": self.name,
            "uid": str(uuid.uuid5(uuid.NAMESPACE_URL, self.name)),
            "generation": str(self.generation),
            "createTime": write_moment(self.created_at),
            "updateTime": write_moment(self.updated_at),
            "etag": self.etag,
            "latestCreatedRevision": f"{self.name}/revisions/{newest.name}",
            "trafficStatuses": [_status(target) for target in self.serving],
            "terminalCondition": _condition("Ready", state, self.updated_at, why),
            "conditions": [
                _condition("RoutesReady", route_state, self.updated_at, self.route_failure),
                _condition("ConfigurationsReady", newest.state, newest.changed_at, newest_why),
            ],
            "uri": uri,
            "urls": [uri],
        }
        if self.observed_generation:
            found["observedGeneration"] = str(self.observed_generation)
        if ready is not None:
            found["latestReadyRevision"] = f"{self.name}/revisions/{ready.name}"
        if not is_settled:
            found["reconciling"] = True
        return {key: value for key, value in found.items() if value not in ([], {})}

    def operation(self, generation: int, now: Moment) -> Tree:
        """Give the operation that brings about a generation, as it is by now."""
        view = {"@type": f"{_PREFIX}.Service", **self.view(now)}
        found: Tree = {"name": operation_name(self.name, generation), "metadata": view}
        if self.settled_generation < generation:
            return found
        if self.generation == generation and (why := self.failure()):
            error = {"code": _FAILED_PRECONDITION, "message": why["message"]}
            return {**found, "done": True, "error": error}
        return {**found, "done": True, "response": view}


def operation_name(service: str, generation: int) -> str:
    """Name an operation by what it brings about."""
    where = service.rsplit("/", 2)[0]
    return f"{where}/operations/{uuid.uuid5(uuid.NAMESPACE_URL, f'{service} {generation}')}"


def write_moment(at: datetime) -> str:
    """Write a date as google.protobuf.Timestamp is written."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _status(target: Mapping[str, Any]) -> Tree:
    kind = NAMED if target.get("revision") else LATEST
    return {"type": kind, **target}


def _condition(kind: str, state: str, at: datetime, why: Mapping[str, Any]) -> Tree:
    return {"type": kind, "state": state, "lastTransitionTime": write_moment(at), **why}


def _etag(content: str) -> str:
    return f'"{hashlib.sha256(content.encode()).hexdigest()[:24]}"'
