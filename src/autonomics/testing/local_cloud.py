"""Cloud Run and Cloud Monitoring in this process: an HTTP end that keeps its state.

    cloud = LocalCloud(clock)
    cloud.add_service("projects/shop/locations/europe-west1/services/checkout")
    client = httpx2.AsyncClient(transport=cloud.transport())   # in process, under trio's clock
    await serve(cloud.app, config)                             # or on a port, behind hypercorn

It serves what recipes use of the Admin API v2 (services, revisions, operations) and Monitoring's
`timeSeries.list`; tests hold its answers to Google's discovery documents. It fails as told to.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final, Literal, assert_never

import trio

from autonomics.errors import InvalidInput
from autonomics.recipes.quantity import read_number
from autonomics.recipes.signal import Json
from autonomics.testing.cloud_fault import Conflict, Fail, Fate, Fault, Hang, Late, Lost
from autonomics.testing.field_selector import parse_fields, select
from autonomics.testing.local_effect import Effect, count_doubled
from autonomics.testing.local_http import (
    Answer,
    AsgiApp,
    ConnectionCut,
    LocalTransport,
    Refused,
    Request,
)
from autonomics.testing.local_monitoring import MEMORY, LocalMonitoring, make_course
from autonomics.testing.local_run import LocalRun
from autonomics.testing.local_schema import without_zeros
from autonomics.testing.local_signal import Entry, write_exit, write_kill, write_no_instance

CALLS: Final = (
    "run.services.get",
    "run.services.patch",
    "run.services.validate",
    "run.revisions.list",
    "run.revisions.get",
    "run.operations.get",
    "monitoring.timeSeries.list",
    "read_back",
)
"""What can be scripted. A get of a service by whoever was left without an answer to its patch is a
`read_back`; a patch with `validateOnly` is a `run.services.validate`."""
_SERVICE: Final = r"(projects/[^/]+/locations/[^/]+/services/[^/]+)"
_OPERATION: Final = r"(projects/[^/]+/locations/[^/]+/operations/[^/]+)"
_ROUTES: Final = (
    ("GET", re.compile(rf"/v2/{_SERVICE}"), "run.services.get"),
    ("PATCH", re.compile(rf"/v2/{_SERVICE}"), "run.services.patch"),
    ("GET", re.compile(rf"/v2/{_SERVICE}/revisions"), "run.revisions.list"),
    ("GET", re.compile(rf"/v2/{_SERVICE}/revisions/([^/]+)"), "run.revisions.get"),
    ("GET", re.compile(rf"/v2/{_OPERATION}"), "run.operations.get"),
    ("GET", re.compile(r"/v3/projects/([^/]+)/timeSeries"), "monitoring.timeSeries.list"),
)


class LocalCloud:
    """An HTTP end for Cloud Run and Monitoring, and the hands that a test has in it.

    `clock` dates what happens; a change takes `reconcile_s` of trio's time to be rolled out.
    """

    def __init__(self, clock: Callable[[], datetime], *, reconcile_s: float = 0.0) -> None:
        self._clock = clock
        self._run = LocalRun(clock, reconcile_s)
        self._faults: dict[str, deque[Fault]] = {}
        self._tokens: dict[str, datetime | None] | None = None
        self._monitoring = LocalMonitoring(clock, self._serving)
        self.requests: Counter[str] = Counter()
        """Requests by call, see `CALLS`."""
        self.app = AsgiApp(self.handle)
        """The same end as an ASGI application, for a real server on trio."""

    def transport(self) -> LocalTransport:
        """Serve clients of this process, whatever host they name."""
        return LocalTransport(self.handle)

    # What a test sets up

    def add_service(
        self,
        name: str,
        *,
        memory: str = "512Mi",
        cpu: str = "1000m",
        image: str = "local",
        max_instances: int = 100,
        min_instances: int = 0,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Deploy a service; its full name is projects/../locations/../services/.."""
        container: dict[str, Any] = {
            "image": image,
            "resources": {"limits": {"cpu": cpu, "memory": memory}},
            "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        }
        tree = without_zeros(
            {
                "labels": dict(labels or {}),
                "annotations": dict(annotations or {}),
                "scaling": {"minInstanceCount": min_instances},
                "template": {
                    "scaling": {"maxInstanceCount": max_instances},
                    "containers": [container],
                },
            }
        )
        self._run.deploy(name, tree)

    def script(self, call: str, *faults: Fault) -> None:
        """Let the next requests of that call fail in turn, see `CALLS`; `read_back` is one."""
        if call not in CALLS:
            raise InvalidInput.expected("call", f"one of {CALLS}", call)
        self._faults.setdefault(call, deque()).extend(faults)

    def set_fate(self, image: str, fate: Fate | None) -> None:
        """Say what becomes of the revisions that will be made of an image; None: they serve."""
        if fate is None:
            self._run.fates.pop(image, None)
        else:
            self._run.fates[image] = fate

    def demand_token(self, token: str, expires_at: datetime | None = None) -> None:
        """Answer 401 from now on to whoever has not this token, or another that was demanded."""
        self._tokens = {**(self._tokens or {}), token: expires_at}

    def set_course(
        self,
        name: str,
        metric: str,
        values: Sequence[str | float | Sequence[float]],
        step_s: int = 60,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Say how a metric of a service went until now; one that is set before is replaced.

        A distribution takes a number or all samples per point; memory is a share of the limit.
        """
        self._run.look_at(name)
        end_s = int(self._clock().timestamp())
        course = make_course(metric, values, step_s, end_s, labels or {})
        self._monitoring.set_course(name, course)

    def set_memory_course(self, name: str, shares: Sequence[str], step_s: int = 1800) -> None:
        """Say how a service's memory went, as shares of its limit that end now."""
        self.set_course(name, MEMORY, shares, step_s)

    def change_elsewhere(self, name: str, path: str, value: Json) -> None:
        """Change a service as somebody else would: its etag and generation move on."""
        self._run.change_elsewhere(name, path, value)

    # What a test looks at

    def service(self, name: str) -> dict[str, Any]:
        """Look at a service, as `services.get` would."""
        return self._run.look_at(name).view(self._run.now())

    def memory_of(self, name: str) -> str:
        """Give a service's memory limit."""
        containers = self._run.look_at(name).tree["template"]["containers"]
        return str(containers[0]["resources"]["limits"]["memory"])

    def shares_of(self, name: str) -> dict[str, int]:
        """Give the percents of traffic by the short names of the revisions that serve."""
        return self._run.look_at(name).shares()

    def crashing(self, name: str) -> list[str]:
        """Give the short names of the revisions that get traffic and whose containers exit."""
        service, now = self._run.look_at(name), self._run.now()
        found = [service.find(revision) for revision in service.shares()]
        return [each.name for each in found if each is not None and each.is_crashing(now)]

    @property
    def effects(self) -> list[Effect]:
        """The changes that took place through the API, in order."""
        return self._run.effects

    @property
    def validations(self) -> int:
        """How many patches were only to be validated."""
        return self.requests["run.services.validate"]

    def doubled_effects(self) -> dict[str, int]:
        """Count the effects per change that was made more than once, see `count_doubled`."""
        return count_doubled(self.effects)

    # What the platform writes

    def kill_entry(self, name: str, *, insert_id: str, over_mib: int = 4) -> Entry:
        """Write the log entry of an instance of the service that was killed for memory now."""
        mib = int(read_number(self.memory_of(name)) or 0) // 2**20
        return write_kill(
            name,
            self._revision_of(name),
            self._clock(),
            insert_id,
            limit_mib=mib,
            used_mib=mib + over_mib,
        )

    def no_instance_entry(
        self, name: str, insert_id: str, status: Literal[429, 500] = 429
    ) -> Entry:
        """Write the log entry of a request that found no instance: 429 at the limit, else 500."""
        return write_no_instance(name, self._revision_of(name), self._clock(), insert_id, status)

    def exit_entry(
        self, name: str, insert_id: str, code: int = 1, revision: str | None = None
    ) -> Entry:
        """Write the log entry of a container that exits now, a crashing one if there is one."""
        crashing = [*self.crashing(name), self._revision_of(name)]
        return write_exit(name, revision or crashing[0], self._clock(), insert_id, code)

    # The end itself

    async def handle(self, request: Request) -> Answer:
        """Answer one request; raises ConnectionCut where there is to be no answer."""
        try:
            self._check_token(request)
            call, arguments = self._route(request)
            self.requests[call] += 1
            return _cut_to_fields(request, await self._serve(call, arguments, request))
        except Refused as refused:
            return refused.answer

    def _check_token(self, request: Request) -> None:
        if self._tokens is None:
            return
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and token in self._tokens:
            expires_at = self._tokens[token]
            if expires_at is None or self._clock() < expires_at:
                return
            reason = "ACCESS_TOKEN_EXPIRED"
        else:
            reason = "ACCESS_TOKEN_TYPE_UNSUPPORTED" if token else "CREDENTIALS_MISSING"
        message = "Request had invalid authentication credentials."
        headers = {"www-authenticate": 'Bearer realm="https://accounts.google.com/"'}
        raise Refused(401, message, headers=headers, reason=reason)

    def _route(self, request: Request) -> tuple[str, tuple[str, ...]]:
        for method, path, call in _ROUTES:
            found = path.fullmatch(request.path)
            if found is None or method != request.method:
                continue
            if call == "run.services.patch" and ("validateOnly", "true") in request.query:
                return "run.services.validate", found.groups()
            if call == "run.services.get":
                service = self._run.services.get(found[1])
                if service is not None and service.is_unanswered:
                    return "read_back", found.groups()
            return call, found.groups()
        raise Refused(404, f"Method not found: {request.method} {request.path}")

    async def _serve(self, call: str, arguments: tuple[str, ...], request: Request) -> Answer:
        """Answer under the fault that is next for the call, in the order of the real thing."""
        waiting = self._faults.get(call)
        fault = waiting.popleft() if waiting else None
        with self._unanswered_until_left(call, arguments):
            match fault:
                case None:
                    await trio.lowlevel.checkpoint()
                case Late(by_s, has_effect_first):
                    answer = self._answer(call, arguments, request) if has_effect_first else None
                    await trio.sleep(by_s)
                    if answer is not None:
                        return answer
                case Fail():
                    wait_s = fault.retry_after_s
                    headers = {} if wait_s is None else {"retry-after": str(wait_s)}
                    raise Refused(fault.code, fault.reason, fault.status, headers)
                case Conflict():
                    raise Refused(409, f"Conflict for resource '{arguments[0]}' by script.")
                case Lost(has_effect) | Hang(has_effect):
                    if has_effect:
                        with suppress(Refused):
                            self._answer(call, arguments, request)
                    if isinstance(fault, Hang):
                        await trio.sleep_forever()
                    raise ConnectionCut
                case _:
                    assert_never(fault)
            return self._answer(call, arguments, request)

    @contextmanager
    def _unanswered_until_left(self, call: str, arguments: tuple[str, ...]) -> Generator[None]:
        """Know of a patch whose caller was left without an answer, or had gone by then."""
        service = self._run.services.get(arguments[0])
        if service is None or call not in ("run.services.patch", "read_back"):
            yield
            return
        service.is_unanswered = True
        try:
            yield
        except Refused:
            service.is_unanswered = call == "read_back"
            raise
        service.is_unanswered = False

    def _answer(self, call: str, arguments: tuple[str, ...], request: Request) -> Answer:
        if call == "monitoring.timeSeries.list":
            return self._monitoring.list_series(arguments[0], request)
        return self._run.answer(call, arguments, request)

    def _revision_of(self, name: str) -> str:
        """Give the short name of the revision with the most traffic."""
        shares = self.shares_of(name)
        return max(shares, key=lambda revision: shares[revision])

    def _serving(self) -> dict[str, str]:
        return {name: self._revision_of(name) for name in self._run.services}


def _cut_to_fields(request: Request, answer: Answer) -> Answer:
    text = dict(request.query).get("fields")
    if text is None:
        return answer
    try:
        return Answer(select(answer.body, parse_fields(text)), answer.status, answer.headers)
    except InvalidInput as error:
        raise Refused(400, f"Invalid field selection: {error}") from None
