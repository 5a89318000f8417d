"""Names of Google's resources, as they come in plans and in arguments of facts.

They are filled from a signal's labels, so they are hostile until read here: each segment holds
nothing that means something in a URL or in a filter, and none can be a wildcard or a custom verb.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from autonomics.errors import InvalidInput

# An old project may belong to a domain: example.com:shop.
_PROJECT: Final = r"(?:[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?:)?[a-z0-9][a-z0-9-]{0,62}"
_LABEL: Final = r"[a-z0-9][a-z0-9-]{0,62}"
_SERVICE: Final = rf"projects/(?P<project>{_PROJECT})/locations/(?P<location>{_LABEL})"
_SERVICE_NAME: Final = re.compile(rf"{_SERVICE}/services/(?P<service>{_LABEL})")
_REVISION_NAME: Final = re.compile(rf"{_SERVICE}/services/{_LABEL}/revisions/{_LABEL}")
_REVISION_ID: Final = re.compile(_LABEL)
_METRIC: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99})+")
_METRIC_LABEL: Final = re.compile(r"[a-z][a-z0-9_]{0,99}")


@frozen
class ServiceName:
    """The parts of a Cloud Run service's full name."""

    project: str
    location: str
    service: str


def parse_service_name(text: str) -> ServiceName:
    """Read projects/../locations/../services/..; raise InvalidInput on anything else."""
    found = _SERVICE_NAME.fullmatch(text)
    if found is None:
        raise InvalidInput.expected("name", "projects/../locations/../services/..", text)
    return ServiceName(**found.groupdict())


def check_revision_name(text: str) -> str:
    """Give a revision's full name back; raise InvalidInput if it is none."""
    return _check(_REVISION_NAME, "name", "projects/../locations/../services/../revisions/..", text)


def check_revision_id(text: str) -> str:
    """Give a revision's short name back; raise InvalidInput if it is none."""
    return _check(_REVISION_ID, "revision", "lower-case letters, digits and hyphens", text)


def check_metric(text: str) -> str:
    """Give a metric's type back; raise InvalidInput if it is none."""
    return _check(_METRIC, "metric", "a type such as run.googleapis.com/request_count", text)


def check_metric_label(text: str) -> str:
    """Give the name of a metric's label back; raise InvalidInput if it is none."""
    return _check(_METRIC_LABEL, "metric label", "lower-case letters, digits and _", text)


def _check(pattern: re.Pattern[str], name: str, constraint: str, text: str) -> str:
    if pattern.fullmatch(text) is None:
        raise InvalidInput.expected(name, constraint, text)
    return text
