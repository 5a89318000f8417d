"""Cloud Run in this process: services that keep their state, and fail as they are told to.

Answers have the shape of Cloud Run's v2 API: int64 as text, `reconciling` only while true,
`etag` checked where it is given. It keeps no idempotency keys, as the real one keeps none; it
records each effect with the key of its call, so that a test can count what happened twice.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any, Final, TypeAlias, assert_never, cast

import trio
from attrs import frozen

from autonomics.errors import EffectFailed, EffectUnknown, InvalidInput
from autonomics.recipes.effector import (
    EffectResult,
    Fact,
    FactRequest,
    PlannedCall,
    ReadBack,
)
from autonomics.recipes.path import MISSING, parse_path, walk
from autonomics.recipes.quantity import read_number
from autonomics.recipes.signal import Json

_GIB: Final = 2**30
# The least CPU that Cloud Run wants for a memory limit above so many bytes.
_CPU_FOR_MEMORY: Final = ((8 * _GIB, 4), (4 * _GIB, 2), (_GIB, 1))
_SETTABLE: Final = ("template.", "scaling.", "labels.", "annotations.", "traffic.")


@frozen
class Late:
    """Answer after so many seconds."""

    by_s: float


@frozen
class Fail:
    """Answer with an error, having done nothing."""

    message: str = "503 UNAVAILABLE"


@frozen
class Conflict:
    """Answer as if somebody else had changed the service meanwhile."""


@frozen
class Lost:
    """Break the connection before or after the effect: the caller can't know which."""

    has_effect: bool = True


@frozen
class Hang:
    """Never answer, with or without the effect: the caller's deadline has to end it."""

    has_effect: bool = True


Fault: TypeAlias = "Late | Fail | Conflict | Lost | Hang"


@frozen(kw_only=True)
class Effect:
    """One change that took place."""

    idempotency_key: str
    call: str
    resource: str
    set: Mapping[str, Json]
    generation: int


class _Service:
    """One service: its declared state, and what of it has been rolled out."""

    def __init__(self, name: str, tree: dict[str, Any]) -> None:
        self.name = name
        self.tree = tree
        self.generation = 1
        self.ready_generation = 1
        self.ready_at_s = float("-inf")

    def revision(self, generation: int) -> str:
        short = self.name.rsplit("/", 1)[-1]
        return f"{self.name}/revisions/{short}-{generation:05d}-loc"

    @property
    def etag(self) -> str:
        content = f"{self.name} {self.generation} {self.tree!r}"
        return f'"{hashlib.sha256(content.encode()).hexdigest()[:24]}"'

    def view(self, now_s: float) -> dict[str, Any]:
        """Give the service as `services.get` answers."""
        if now_s >= self.ready_at_s:
            self.ready_generation = self.generation
        is_ready = self.ready_generation == self.generation
        state = "CONDITION_SUCCEEDED" if is_ready else "CONDITION_RECONCILING"
        found = {
            "name": self.name,
            "generation": str(self.generation),
            "observedGeneration": str(self.ready_generation),
            "etag": self.etag,
            **deepcopy(self.tree),
            "latestCreatedRevision": self.revision(self.generation),
            "latestReadyRevision": self.revision(self.ready_generation),
            "terminalCondition": {"type": "Ready", "state": state},
        }
        return found if is_ready else {**found, "reconciling": True}


class LocalCloud:
    """An end for `run.services.patch`, `run.services.get` and `monitoring.timeSeries.list`.

    `clock` dates the facts; a change takes `reconcile_s` of trio's time to be rolled out.
    """

    def __init__(self, clock: Callable[[], datetime], *, reconcile_s: float = 0.0) -> None:
        self._clock = clock
        self._reconcile_s = reconcile_s
        self._services: dict[str, _Service] = {}
        self._courses: dict[str, list[Json]] = {}
        self._faults: dict[str, deque[Fault]] = {}
        self.effects: list[Effect] = []
        self.requests: Counter[str] = Counter()
        self.validations = 0

    def add_service(
        self,
        name: str,
        *,
        memory: str = "512Mi",
        cpu: str = "1000m",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Deploy a service; its full name is projects/../locations/../services/.."""
        limits = {"cpu": cpu, "memory": memory}
        tree = {
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
            "template": {"containers": [{"image": "local", "resources": {"limits": limits}}]},
        }
        self._services[name] = _Service(name, tree)

    def service(self, name: str) -> dict[str, Any]:
        """Look at a service, as `run.services.get` would."""
        return self._require(name).view(trio.current_time())

    def memory_of(self, name: str) -> str:
        """Give a service's memory limit."""
        containers = self._require(name).tree["template"]["containers"]
        return str(containers[0]["resources"]["limits"]["memory"])

    def change_elsewhere(self, name: str, path: str, value: Json) -> None:
        """Change a service as somebody else would: its etag and generation move on."""
        service = self._require(name)
        _put(service.tree, path, value)
        service.generation += 1

    def set_memory_course(self, name: str, shares: list[str], step_s: int = 1800) -> None:
        """Say how a service's memory went, as shares of its limit that end now."""
        end_s = int(self._clock().timestamp())
        start_s = end_s - step_s * (len(shares) - 1)
        self._courses[name] = [[start_s + i * step_s, share] for i, share in enumerate(shares)]

    def script(self, call: str, *faults: Fault) -> None:
        """Let the next calls of that name fail in turn; `read_back` is a name of its own."""
        self._faults.setdefault(call, deque()).extend(faults)

    def doubled_effects(self) -> dict[str, int]:
        """Count the effects per idempotency key, where there was more than one."""
        counts = Counter(effect.idempotency_key for effect in self.effects)
        return {key: count for key, count in counts.items() if count > 1}

    def kill_entry(self, name: str, *, insert_id: str, over_mib: int = 4) -> dict[str, Any]:
        """Write the log entry of an instance of the service that was killed for memory now."""
        parts = name.split("/")
        service = self.service(name)
        limit = read_number(self.memory_of(name))
        mib = int(limit or 0) // 2**20
        labels = {
            "project_id": parts[1],
            "location": parts[3],
            "service_name": parts[5],
            "revision_name": str(service["latestReadyRevision"]).rsplit("/", 1)[-1],
        }
        return {
            "insertId": insert_id,
            "logName": f"projects/{parts[1]}/logs/run.googleapis.com%2Fvarlog%2Fsystem",
            "resource": {"type": "cloud_run_revision", "labels": labels},
            "severity": "ERROR",
            "textPayload": f"Memory limit of {mib} MiB exceeded with {mib + over_mib} MiB used.",
            "timestamp": self._clock().isoformat().replace("+00:00", "Z"),
        }

    async def call(self, planned: PlannedCall) -> EffectResult:
        """Carry out a patch, in the order of the real thing: validate, then change."""
        self.requests[planned.call] += 1
        fault = self._next_fault(planned.call)
        match fault:
            case None:
                await trio.lowlevel.checkpoint()
            case Late(by_s):
                await trio.sleep(by_s)
            case Fail(message):
                raise EffectFailed(message)
            case Conflict():
                raise EffectFailed(f"409 ABORTED: {planned.resource} was changed meanwhile")
            case Lost(has_effect):
                if has_effect:
                    self._patch(planned)
                raise EffectUnknown(f"the connection broke during {planned.call}")
            case Hang(has_effect):
                if has_effect:
                    self._patch(planned)
                await trio.sleep_forever()
            case _:
                assert_never(fault)
        return self._patch(planned)

    async def read_back(self, planned: PlannedCall) -> ReadBack:
        """Compare what the mask holds with what was planned, and with what was before."""
        self.requests["read_back"] += 1
        fault = self._next_fault("read_back")
        if isinstance(fault, Hang):
            await trio.sleep_forever()
        if isinstance(fault, Late):
            await trio.sleep(fault.by_s)
        elif fault is not None:
            return "unknown"
        await trio.lowlevel.checkpoint()
        service = self._services.get(planned.resource)
        if service is None:
            return "unknown"
        present = {path: walk(service.tree, parse_path(path)) for path in planned.mask}
        if present == dict(planned.set):
            return "applied"
        return "not_applied" if present == dict(planned.before) else "unknown"

    async def read(self, request: FactRequest) -> Fact:
        """Answer a fact request within its deadline."""
        self.requests[request.call] += 1
        fault = self._next_fault(request.call)
        with trio.move_on_after(request.timeout_s) as deadline:
            if isinstance(fault, Hang):
                await trio.sleep_forever()
            await trio.sleep(fault.by_s if isinstance(fault, Late) else 0)
        if deadline.cancelled_caught:
            return self._fact(request, error=f"no answer within {request.timeout_s} s")
        if fault is not None and not isinstance(fault, Late):
            return self._fact(request, error=getattr(fault, "message", "the connection broke"))
        name = request.args.get("name", "")
        if name not in self._services:
            return self._fact(request, error=f"404 NOT_FOUND: {name}")
        if request.call == "run.services.get":
            return self._fact(request, value=self.service(name))
        if request.call == "monitoring.timeSeries.list":
            return self._fact(request, value={"points": self._course(name)})
        return self._fact(request, error=f"unknown call {request.call}")

    def _course(self, name: str) -> list[Json]:
        if name not in self._courses:
            now_s = int(self._clock().timestamp())
            return [[now_s - (11 - i) * 1800, "0.6"] for i in range(12)]
        return self._courses[name]

    def _fact(self, request: FactRequest, value: Json = None, error: str | None = None) -> Fact:
        return Fact(key=request.key, value=value, read_at=self._clock(), error=error)

    def _next_fault(self, call: str) -> Fault | None:
        waiting = self._faults.get(call)
        return waiting.popleft() if waiting else None

    def _require(self, name: str) -> _Service:
        if name not in self._services:
            raise InvalidInput.expected("service", f"one of {sorted(self._services)}", name)
        return self._services[name]

    def _patch(self, planned: PlannedCall) -> EffectResult:
        if planned.validate_only_first:
            self.validations += 1
            self._validate(planned)
        service, tree = self._validate(planned)
        service.tree = tree
        service.generation += 1
        service.ready_at_s = trio.current_time() + self._reconcile_s
        self.effects.append(
            Effect(
                idempotency_key=planned.idempotency_key,
                call=planned.call,
                resource=planned.resource,
                set=dict(planned.set),
                generation=service.generation,
            )
        )
        return EffectResult(detail={"generation": str(service.generation), "etag": service.etag})

    def _validate(self, planned: PlannedCall) -> tuple[_Service, dict[str, Any]]:
        """Build the changed tree, or raise as the API answers; nothing is changed here."""
        if planned.call != "run.services.patch":
            raise EffectFailed(f"501 UNIMPLEMENTED: {planned.call}")
        service = self._services.get(planned.resource)
        if service is None:
            raise EffectFailed(f"404 NOT_FOUND: {planned.resource}")
        if planned.etag is not None and planned.etag != service.etag:
            raise EffectFailed(f"409 ABORTED: etag of {planned.resource} is {service.etag}")
        if sorted(planned.mask) != sorted(planned.set):
            raise EffectFailed(f"400 INVALID_ARGUMENT: updateMask {list(planned.mask)}")
        tree = deepcopy(service.tree)
        for path, value in planned.set.items():
            if not path.startswith(_SETTABLE) or walk(tree, parse_path(path)) is MISSING:
                raise EffectFailed(f"400 INVALID_ARGUMENT: no field {path}")
            _put(tree, path, value)
        _check_limits(tree)
        return service, tree


def _put(tree: dict[str, Any], path: str, value: Json) -> None:
    *way, last = parse_path(path)
    node: Any = tree
    for segment in way:
        node = (
            cast("dict[str, Any]", node)[segment] if isinstance(node, dict) else node[int(segment)]
        )
    node[last] = value


def _check_limits(tree: dict[str, Any]) -> None:
    limits = tree["template"]["containers"][0]["resources"]["limits"]
    memory, cpu = read_number(limits["memory"]), read_number(limits["cpu"])
    if memory is None or cpu is None or not 128 * 2**20 <= memory <= 32 * _GIB:
        raise EffectFailed(f"400 INVALID_ARGUMENT: resources.limits {limits}")
    for above, least in _CPU_FOR_MEMORY:
        if memory > above and cpu < least:
            raise EffectFailed(f"400 INVALID_ARGUMENT: {limits['memory']} needs {least} CPU")
