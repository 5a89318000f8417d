"""Signals for the demo, in the formats that Google Cloud, Prometheus and our own meter use.

All of them were written for this purpose; none is a copy of a real one. Given the same numbers
they are the same again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import attrs

from autonomics.errors import InvalidConfig

Json: TypeAlias = "dict[str, Any]"
SUBSCRIPTION = "projects/demo/subscriptions/autonomics-push"


@attrs.frozen
class Push:
    """One request to `/pubsub`: the raw body, and what it names itself."""

    body: bytes
    message_id: str


def wrap(data: bytes, message_id: str, at: datetime, attributes: Mapping[str, str]) -> Push:
    """Wrap data as Google's push does."""
    published = at.isoformat().replace("+00:00", "Z")
    envelope = {
        "message": {
            "attributes": dict(attributes),
            "data": base64.b64encode(data).decode(),
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": published,
            "publish_time": published,
        },
        "subscription": SUBSCRIPTION,
    }
    return Push(json.dumps(envelope).encode(), message_id)


def malformed(index: int, at: datetime) -> Push:
    """Give a push that can't be read, a different fault each time."""
    message_id = f"malformed-{index}"
    good = wrap(b"{}", message_id, at, {})
    faults = (
        b"{not json",
        good.body.replace(b'"data": "e30="', b'"data": "%%%"'),
        wrap(b"[1, 2", message_id, at, {}).body,
        wrap(b'{"value": NaN}', message_id, at, {}).body,
        wrap(b"\xff\xfe", message_id, at, {}).body,
        wrap(b"[" * 200 + b"]" * 200, message_id, at, {}).body,
        b'{"subscription": "%s"}' % SUBSCRIPTION.encode(),
        b'"a string"',
    )
    return Push(faults[index % len(faults)], message_id)


def everyday(index: int, project: str, at: datetime) -> Json:
    """Give the signal number `index` of an ordinary day: mostly nothing that a recipe is for."""
    makers = (
        _request_log,
        _container_line,
        _admin_activity,
        _cpu_incident,
        _prometheus_alert,
        _api_error,
        _closed_incident,
        _build_line,
    )
    return makers[index % len(makers)](index, project, at)


def quota_report(quota: str, used: int, limit: int) -> Json:
    """Give the meter's own report about a quota of the platform."""
    return {"kind": "quota", "quota": quota, "used": used, "limit": limit}


def read_samples(folder: Path) -> list[Json]:
    """Read the payloads of every `samples.jsonl` below a folder, by path and line.

    Raises InvalidConfig where there are none, or a line is not a sample.
    """
    samples: list[Json] = []
    for path in sorted(folder.rglob("samples.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                payload = json.loads(line)["payload"]
            except (ValueError, KeyError, TypeError):
                raise InvalidConfig(
                    f"expected {path}:{number} to be a JSON object with a payload"
                ) from None
            samples.append(cast("Json", payload))
    if not samples:
        raise InvalidConfig.expected("signals folder", "one with samples.jsonl files", str(folder))
    return samples


def _stamp(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _revision(project: str, service: str) -> Json:
    return {
        "type": "cloud_run_revision",
        "labels": {
            "project_id": project,
            "location": "europe-west1",
            "service_name": service,
            "revision_name": f"{service}-00001-aaa",
            "configuration_name": service,
        },
    }


def _request_log(index: int, project: str, at: datetime) -> Json:
    status = (200, 204, 404, 502)[index // 8 % 4]
    return {
        "insertId": f"req{index:08x}",
        "logName": f"projects/{project}/logs/run.googleapis.com%2Frequests",
        "resource": _revision(project, "search"),
        "severity": "ERROR" if status >= 500 else "INFO",
        "httpRequest": {
            "requestMethod": "GET",
            "requestUrl": f"https://search.example/items/{index}",
            "status": status,
            "latency": "0.0412s",
        },
        "timestamp": _stamp(at),
        "receiveTimestamp": _stamp(at),
    }


def _container_line(index: int, project: str, at: datetime) -> Json:
    lines = (
        "cache warmed in 312 ms",
        "memory use is at 61 percent, all well",
        "retrying the payment provider, attempt 2",
    )
    return {
        "insertId": f"out{index:08x}",
        "logName": f"projects/{project}/logs/run.googleapis.com%2Fstderr",
        "resource": _revision(project, "checkout"),
        "severity": "DEFAULT",
        "textPayload": lines[index // 8 % 3],
        "timestamp": _stamp(at),
        "receiveTimestamp": _stamp(at),
    }


def _admin_activity(index: int, project: str, at: datetime) -> Json:
    return {
        "insertId": f"adm{index:08x}",
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity",
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "authenticationInfo": {"principalEmail": "deployer@example.com"},
            "methodName": "google.cloud.run.v2.Services.GetService",
            "resourceName": f"projects/{project}/locations/europe-west1/services/search",
            "serviceName": "run.googleapis.com",
            "status": {},
        },
        "resource": _revision(project, "search"),
        "severity": "NOTICE",
        "timestamp": _stamp(at),
    }


def _incident(index: int, project: str, at: datetime, state: str) -> Json:
    return {
        "version": "1.2",
        "incident": {
            "incident_id": f"0.{index:012d}",
            "scoping_project_id": project,
            "state": state,
            "started_at": int(at.timestamp()),
            "summary": "CPU utilization of search is above the threshold of 0.9",
            "observed_value": "0.93",
            "threshold_value": "0.9",
            "resource": _revision(project, "search"),
            "metric": {
                "type": "run.googleapis.com/container/cpu/utilizations",
                "displayName": "Container CPU utilization",
                "labels": {},
            },
            "policy_name": "search: CPU",
            "condition_name": "CPU above 0.9 for 5 minutes",
        },
    }


def _cpu_incident(index: int, project: str, at: datetime) -> Json:
    return _incident(index, project, at, "open")


def _closed_incident(index: int, project: str, at: datetime) -> Json:
    return _incident(index, project, at, "closed")


def _prometheus_alert(index: int, project: str, at: datetime) -> Json:
    return {
        "labels": {
            "alertname": "NodeClockSkew",
            "severity": "warning",
            "instance": f"node-{index % 5}.{project}",
        },
        "annotations": {"summary": "The clock of a node is off by more than 50 ms."},
        "startsAt": _stamp(at),
    }


def _api_error(index: int, project: str, _at: datetime) -> Json:
    return {
        "error": {
            "code": 404,
            "message": f"Resource 'projects/{project}/topics/orders-{index}' was not found",
            "status": "NOT_FOUND",
        }
    }


def _build_line(index: int, project: str, at: datetime) -> Json:
    return {
        "insertId": f"bld{index:08x}",
        "logName": f"projects/{project}/logs/cloudbuild",
        "resource": {"type": "build", "labels": {"project_id": project, "build_id": str(index)}},
        "severity": "INFO",
        "textPayload": "Step #1: pushed europe-docker.pkg.dev/demo/shop/search",
        "timestamp": _stamp(at),
    }
