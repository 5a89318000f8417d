"""Cloud Monitoring incidents, Prometheus alerts, and the platform's own quota signal."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any, Final

from autonomics.recipes.normalise_field import (
    join_text,
    take_labels,
    take_list,
    take_moment,
    take_name,
    take_object,
)
from autonomics.recipes.quantity import read_number
from autonomics.recipes.signal import Json

_CLOSED: Final = frozenset({"closed", "resolved", "ok"})
_MILLIONTHS: Final = 10**6


def read_quota(tree: dict[str, Json]) -> dict[str, Any] | None:
    """Read `{"kind": "quota", "quota": name, "used": n, "limit": n}`; `metric` may name it too."""
    if tree.get("kind") != "quota":
        return None
    name = take_name(tree, "quota") or take_name(tree, "metric")
    state = take_name(tree, "state")
    return {
        "kind": "quota",
        "resource_type": "platform_quota",
        "labels": {"quota": name} if name else {},
        "severity": take_name(tree, "severity"),
        "status": state,
        "text": join_text(tree.get("text")),
        "value": _share(tree.get("used"), tree.get("limit")),
        "event_at": take_moment(tree, "at") or take_moment(tree, "timestamp"),
        "closed": state.lower() in _CLOSED,
        "own_id": take_name(tree, "id"),
    }


def _share(used: Json, limit: Json) -> str | None:
    """Give used / limit, rounded down to millionths so that no threshold is met by rounding."""
    spent, granted = read_number(used), read_number(limit)
    if spent is None or granted is None or spent < 0 or granted < 0:
        return None
    # Nothing granted is all used up, and no division by it.
    share = Fraction(1) if granted == 0 else Fraction(spent) / Fraction(granted)
    whole, part = divmod(floor(share * _MILLIONTHS), _MILLIONTHS)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def read_monitoring_incident(tree: dict[str, Json]) -> dict[str, Any] | None:
    """Read a Cloud Monitoring notification, schema 1.0 to 1.2."""
    incident = tree.get("incident")
    if not isinstance(incident, dict) or not take_name(incident, "state"):
        return None
    resource = take_object(incident, "resource")
    state = take_name(incident, "state")
    is_closed = state.lower() in _CLOSED
    observed = read_number(incident.get("observed_value"))
    return {
        "kind": "monitoring_incident",
        "resource_type": take_name(resource, "type"),
        "labels": take_labels(resource, "labels"),
        "severity": take_name(incident, "severity"),
        "status": state,
        "text": join_text(
            incident.get("summary"), incident.get("policy_name"), incident.get("condition_name")
        ),
        "value": None if observed is None else str(incident["observed_value"]),
        "event_at": (take_moment(incident, "ended_at") if is_closed else None)
        or take_moment(incident, "started_at"),
        "closed": is_closed,
        "own_id": take_name(incident, "incident_id"),
    }


def read_prometheus_alert(tree: dict[str, Json]) -> dict[str, Any] | None:
    """Read one alert, or an Alertmanager group by what its alerts have in common.

    A group is one message, so one signal: where its alerts differ in a label, the group has none,
    and a recipe that needs it can't act. Each alert of it is still in `fields`.
    """
    alerts = take_list(tree, "alerts")
    if alerts:
        if len(alerts) == 1:
            return _alert(alerts[0], take_name(alerts[0], "status") or take_name(tree, "status"))
        shared = {
            "labels": tree.get("commonLabels"),
            "annotations": tree.get("commonAnnotations"),
            "startsAt": alerts[0].get("startsAt"),
        }
        return _alert(shared, take_name(tree, "status"))
    if "alertname" in take_labels(tree, "labels"):
        return _alert(tree, take_name(tree, "status"))
    return None


def _alert(alert: dict[str, Json], status: str) -> dict[str, Any] | None:
    labels = take_labels(alert, "labels")
    if "alertname" not in labels:
        return None
    notes = take_object(alert, "annotations")
    is_closed = status.lower() in _CLOSED
    return {
        "kind": "prometheus_alert",
        "labels": labels,
        "severity": labels.get("severity", ""),
        "status": status,
        "text": join_text(notes.get("summary"), notes.get("description"), notes.get("message")),
        "event_at": (take_moment(alert, "endsAt") if is_closed else None)
        or take_moment(alert, "startsAt"),
        "closed": is_closed,
        "own_id": take_name(alert, "fingerprint"),
    }
