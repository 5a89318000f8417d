"""Log entries as Cloud Run writes them, about services of the local cloud.

https://cloud.google.com/run/docs/troubleshooting has the texts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from autonomics.testing.local_service import write_moment

Entry = dict[str, Any]

_SYSTEM: Final = "varlog%2Fsystem"
_REQUESTS: Final = "requests"
_NO_INSTANCE: Final = {
    429: (
        "WARNING",
        (
            "The request was aborted because there was no available instance. Additional"
            " troubleshooting can be found at:"
            " https://cloud.google.com/run/docs/troubleshooting#abort-request"
        ),
    ),
    500: ("ERROR", "The request was aborted because there was no available instance."),
}
"""Severity and text by status: too few instances are allowed, or they came up too slowly."""


def write_kill(
    service: str, revision: str, at: datetime, insert_id: str, *, limit_mib: int, used_mib: int
) -> Entry:
    """Write that an instance was killed for memory."""
    text = f"Memory limit of {limit_mib} MiB exceeded with {used_mib} MiB used."
    return {**_head(service, revision, at, insert_id, _SYSTEM), **_say("ERROR", text)}


def write_exit(service: str, revision: str, at: datetime, insert_id: str, code: int) -> Entry:
    """Write that a container has exited by itself."""
    text = f"Container called exit({code})."
    return {**_head(service, revision, at, insert_id, _SYSTEM), **_say("WARNING", text)}


def write_no_instance(
    service: str, revision: str, at: datetime, insert_id: str, status: Literal[429, 500]
) -> Entry:
    """Write that a request found no instance."""
    severity, text = _NO_INSTANCE[status]
    entry = {**_head(service, revision, at, insert_id, _REQUESTS), **_say(severity, text)}
    short = service.rsplit("/", 1)[-1]
    entry["httpRequest"] = {
        "requestMethod": "GET",
        "requestUrl": f"https://{short}.run.example/",
        "status": status,
        "latency": "10.004s" if status == 429 else "0.871s",
        "protocol": "HTTP/1.1",
    }
    return entry


def _say(severity: str, text: str) -> Entry:
    return {"severity": severity, "textPayload": text}


def _head(service: str, revision: str, at: datetime, insert_id: str, log: str) -> Entry:
    _, project, _, location, _, short = service.split("/")
    return {
        "insertId": insert_id,
        "logName": f"projects/{project}/logs/run.googleapis.com%2F{log}",
        "resource": {
            "type": "cloud_run_revision",
            "labels": {
                "project_id": project,
                "location": location,
                "service_name": short,
                "revision_name": revision,
                "configuration_name": short,
            },
        },
        "timestamp": write_moment(at),
    }
