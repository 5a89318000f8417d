from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidSignal
from autonomics.receipts.canonical import decode, encode
from autonomics.recipes import Signal, normalise, parse_signal
from autonomics.recipes.signal import (
    MAX_DEPTH,
    MAX_NAME,
    MAX_NODES,
    MAX_TEXT,
    canonical_tree,
    decimal_text,
    parse_moment,
)

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "signals"
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENTRY: dict[str, Any] = {
    "insertId": "i-1",
    "logName": "projects/p/logs/run.googleapis.com%2Fvarlog%2Fsystem",
    "resource": {"type": "cloud_run_revision", "labels": {"service_name": "a", "port": 8080}},
    "severity": "ERROR",
    "textPayload": "hello",
    "timestamp": "2026-03-01T12:00:00.123456789Z",
}


def test_a_log_entry_is_read_with_its_resource_and_time() -> None:
    signal = normalise(ENTRY, source="push")

    assert (signal.kind, signal.resource_type, signal.severity) == (
        "gcp_log_entry",
        "cloud_run_revision",
        "ERROR",
    )
    assert signal.labels == {"service_name": "a"}
    assert signal.text == "hello"
    assert signal.event_at == T0 + timedelta(microseconds=123456)
    assert (signal.source, signal.message_id) == ("push", "i-1")


def test_the_doors_message_id_wins_over_the_messages_own() -> None:
    assert normalise(ENTRY, message_id="m-1").message_id == "m-1"


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"jsonPayload": {"message": "from json"}, "textPayload": None}, "text", "from json"),
        ({"jsonPayload": {"msg": "short"}, "textPayload": None}, "text", "short"),
        ({"httpRequest": {"status": 429}}, "status", "429"),
        ({"severity": 5}, "severity", "DEFAULT"),
        ({"timestamp": "later", "receiveTimestamp": "2026-03-01T12:00:00Z"}, "event_at", T0),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "event_at", None),
        ({"protoPayload": {"methodName": "x.y.Z"}}, "kind", "gcp_audit_event"),
        (
            {"protoPayload": {"@type": "type.googleapis.com/google.cloud.audit.AuditLog"}},
            "kind",
            "gcp_audit_event",
        ),
        ({"protoPayload": {"@type": "type.googleapis.com/other"}}, "kind", "gcp_log_entry"),
        ({"protoPayload": {"status": {"code": 7}}}, "status", "7"),
    ],
)
def test_a_log_entry_is_read_in_its_variants(
    changes: dict[str, Any], field: str, expected: object
) -> None:
    assert getattr(normalise({**ENTRY, **changes}), field) == expected


INCIDENT: dict[str, Any] = {
    "version": "1.2",
    "incident": {
        "incident_id": "0.abc",
        "state": "open",
        "started_at": 1772366400,
        "ended_at": 1772370000,
        "severity": "Critical",
        "summary": "CPU is above 0.9 with a value of 0.93.",
        "observed_value": "0.930",
        "resource": {"type": "gce_instance", "labels": {"instance_id": "1"}},
        "metric": {"type": "compute.googleapis.com/instance/cpu/utilization"},
    },
}


def test_an_incident_is_read_with_its_value() -> None:
    signal = normalise(INCIDENT)

    assert (signal.kind, signal.status, signal.value) == ("monitoring_incident", "open", "0.930")
    assert signal.event_at == T0
    assert not signal.closed
    assert signal.message_id == "0.abc"


def test_a_closed_incident_is_closed_at_its_end() -> None:
    signal = normalise({**INCIDENT, "incident": {**INCIDENT["incident"], "state": "CLOSED"}})

    assert signal.closed
    assert signal.event_at == T0 + timedelta(hours=1)


ALERT: dict[str, Any] = {
    "labels": {"alertname": "KubeQuotaAlmostFull", "severity": "info", "namespace": "a"},
    "annotations": {"summary": "nearly full", "description": "95% used"},
    "startsAt": "2026-03-01T12:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "f1",
}


def test_a_single_alert_is_read_with_and_without_its_group() -> None:
    alone = normalise(ALERT)
    grouped = normalise({"version": "4", "status": "firing", "alerts": [ALERT]})

    assert alone.kind == grouped.kind == "prometheus_alert"
    assert alone.text == grouped.text == "nearly full\n95% used"
    assert alone.labels == grouped.labels
    assert alone.event_at == grouped.event_at == T0
    assert (grouped.status, grouped.closed) == ("firing", False)


def test_a_resolved_alert_is_closed() -> None:
    ended = {**ALERT, "status": "resolved", "endsAt": "2026-03-01T13:00:00Z"}

    signal = normalise({"status": "firing", "alerts": [ended]})

    assert signal.closed
    assert signal.event_at == T0 + timedelta(hours=1)


def test_a_group_says_only_what_its_alerts_have_in_common() -> None:
    other = {**ALERT, "labels": {**ALERT["labels"], "namespace": "b"}}
    group = {
        "status": "firing",
        "alerts": [ALERT, other],
        "commonLabels": {"alertname": "KubeQuotaAlmostFull", "severity": "info"},
        "commonAnnotations": {"summary": "nearly full"},
    }

    signal = normalise(group)

    assert signal.kind == "prometheus_alert"
    assert "namespace" not in signal.labels
    assert signal.text == "nearly full"


@pytest.mark.parametrize(
    ("used", "limit", "value"),
    [
        (80, 100, "0.8"),
        (79_999_999, 100_000_000, "0.799999"),
        (8 * 10**30 - 1, 10**31, "0.799999"),
        (0, 5, "0"),
        (7, 5, "1.4"),
        (0, 0, "1"),
        (0.5, 2, "0.25"),
        ("4", "8", "0.5"),
        (-1, 5, None),
        (1, -5, None),
        ("many", 5, None),
        (None, 5, None),
        (True, 5, None),
    ],
)
def test_a_quota_signal_gives_its_share_rounded_down(
    used: object, limit: object, value: str | None
) -> None:
    signal = normalise({"kind": "quota", "quota": "acts", "used": used, "limit": limit})

    assert (signal.kind, signal.resource_type) == ("quota", "platform_quota")
    assert signal.value == value


def test_a_quota_may_be_named_as_metric_and_be_over() -> None:
    signal = normalise({"kind": "quota", "metric": "acts", "state": "resolved", "id": "q-1"})

    assert signal.labels == {"quota": "acts"}
    assert signal.closed
    assert signal.message_id == "q-1"
    assert normalise({"kind": "quota"}).labels == {}


@pytest.mark.parametrize(
    ("message", "status", "text"),
    [
        (
            {"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}},
            "PERMISSION_DENIED",
            "no",
        ),
        ({"code": 8, "message": "full"}, "RESOURCE_EXHAUSTED", "full"),
        ({"code": "409", "body": "busy"}, "409", "busy"),
        ({"error": {"code": 500}}, "500", ""),
    ],
)
def test_an_api_error_is_read_by_its_code(message: dict[str, Any], status: str, text: str) -> None:
    signal = normalise(message)

    assert (signal.kind, signal.status, signal.text) == ("api_error", status, text)


@pytest.mark.parametrize(
    "message",
    [
        {"text": "a line"},
        {"message": "a line", "severity": "ERROR"},
        {"text": "a line", "status": 500},
    ],
)
def test_a_lone_text_is_a_text(message: dict[str, Any]) -> None:
    signal = normalise(message)

    assert (signal.kind, signal.text) == ("text", "a line")


UNKNOWN: list[dict[str, Any]] = [
    {},
    {"text": "a line", "more": 1},
    {"incident": {"summary": "no state"}},
    {"alerts": [{"labels": {}}]},
    {"alerts": [1, 2]},
    {"labels": {"severity": "info"}},
    {"code": 99, "message": "no rpc code"},
    {"code": True, "message": "no code"},
    {"textPayload": "an entry of nobody"},
    {"finding": {"category": "PUBLIC_BUCKET_ACL"}},
    {"error": "a word"},
]


@pytest.mark.parametrize("message", UNKNOWN)
def test_what_nobody_knows_is_kept_whole(message: dict[str, Any]) -> None:
    signal = normalise(message)

    assert signal.kind == "unknown"
    assert signal.fields == message


def test_an_overlong_name_is_dropped_and_not_cut_to_anothers() -> None:
    labels = {"service_name": "a" * (MAX_NAME + 1), "fine": "a" * MAX_NAME}

    signal = normalise({**ENTRY, "resource": {"type": "t", "labels": labels}})

    assert set(signal.labels) == {"fine"}
    assert normalise({**ENTRY, "insertId": "i" * (MAX_NAME + 1)}).message_id == ""


def test_a_long_text_is_cut_and_kept_in_the_fields() -> None:
    signal = normalise({"text": "x" * (MAX_TEXT + 5)})

    assert len(signal.text) == MAX_TEXT
    assert signal.fields["text"] == "x" * (MAX_TEXT + 5)


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    "message",
    [
        None,
        "text",
        [],
        7,
        nested(MAX_DEPTH),
        {"a": list(range(MAX_NODES))},
        {"a": "x" * 262_145},
        {"k" * (MAX_NAME + 1): 1},
        {1: "a"},
        {"a": b"bytes"},
        {"a": 1 << 1025},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_object_or_too_large_is_refused(message: object) -> None:
    with pytest.raises(InvalidSignal):
        normalise(message)


def test_an_overlong_source_is_refused() -> None:
    with pytest.raises(InvalidSignal, match="signal source"):
        normalise({}, source="s" * (MAX_NAME + 1))


def test_numbers_become_canonical() -> None:
    tree = canonical_tree(
        {"a": 0.1, "b": 1e21, "c": -0.0, "d": 2**60, "e": float("nan"), "f": 2.50, "g": 1e-7}
    )

    assert tree == {
        "a": "0.1",
        "b": "1000000000000000000000",
        "c": "0",
        "d": str(2**60),
        "e": "NaN",
        "f": "2.5",
        "g": "0.0000001",
    }


def test_a_lone_surrogate_is_replaced() -> None:
    assert canonical_tree({"a": "x\ud800y", "b": "\U0001f600"}) == {
        "a": "x\ufffdy",
        "b": "\U0001f600",
    }


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40))
def test_a_decimal_has_one_text(value: Decimal) -> None:
    text = decimal_text(value)

    assert Decimal(text) == value
    assert decimal_text(Decimal(text)) == text
    assert decimal_text(Decimal(f"{text}0" if "." in text else f"{text}.0")) == text


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), Decimal("1e999")])
def test_a_decimal_beyond_all_bounds_is_refused(value: Decimal) -> None:
    with pytest.raises(InvalidSignal, match="finite"):
        decimal_text(value)


@pytest.mark.parametrize(
    "text",
    [
        None,
        5,
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-13-01T12:00:00Z",
        "x" * 30,
        "0001-01-01T00:00:00+23:59",
        "20260301T120000Z....",
    ],
)
def test_what_is_no_moment_is_refused(text: object) -> None:
    with pytest.raises(InvalidSignal, match="RFC 3339"):
        parse_moment(text)


def test_a_signal_is_in_utc() -> None:
    with pytest.raises(InvalidSignal, match="aware UTC"):
        Signal(kind="text", event_at=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))))


def test_limits_hold_for_a_signal_made_by_hand() -> None:
    with pytest.raises(InvalidSignal, match="signal text"):
        Signal(kind="text", text="x" * (MAX_TEXT + 1))
    with pytest.raises(InvalidSignal, match="signal label"):
        Signal(kind="text", labels={"a": "x" * (MAX_NAME + 1)})


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"text": 5},
        {"labels": {"a": 1}},
        {"labels": []},
        {"closed": "no"},
        {"fields": []},
        {"value": 5},
        {"event_at": "noon"},
    ],
)
def test_a_record_of_another_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignal):
        parse_signal({**Signal(kind="text").record(), **change})
    with pytest.raises(InvalidSignal):
        parse_signal([])


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
words = st.sampled_from(
    """incident state labels alertname alerts error code message text kind quota used limit resource
    type textPayload jsonPayload protoPayload logName insertId timestamp status started_at body
    observed_value annotations startsAt commonLabels metric httpRequest severity""".split()  # noqa: SIM905
)
json_trees = st.recursive(
    scalars | st.just("quota") | st.just("closed"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(words | st.text(), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(st.dictionaries(words | st.text(), json_trees, max_size=8))
def test_any_json_object_becomes_a_signal_that_can_be_recorded(message: dict[str, Any]) -> None:
    signal = normalise(message)

    assert parse_signal(decode(encode(signal.record()))) == signal


def samples() -> Iterator[dict[str, Any]]:
    for path in sorted(SHARED.glob("*/samples.jsonl")):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


# What each family of the samples has to become; a family that is missing here stays unknown.
KNOWN = {
    "gcp_log_entry": {"gcp_log_entry", "gcp_audit_event"},
    "prometheus_alert": {"prometheus_alert"},
    "gcp_api_error": {"api_error"},
    "gcp_api_error_fragment": {"text"},
    "log_message_fragment": {"text"},
    "cloud_run_doc_error": {"text"},
    # Some of these are an SDK's or a SIEM's rendering, without the entry around the audit log.
    "gcp_audit_event": {"gcp_audit_event", "gcp_log_entry", "unknown"},
    "cloudevent_data": {"gcp_audit_event", "unknown"},
}


def test_all_samples_are_read_and_none_is_guessed() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no samples at {SHARED}")
    for sample in samples():
        signal = normalise(sample["payload"])
        assert signal.kind in KNOWN.get(sample["kind"], {"unknown"}), sample["id"]
        assert parse_signal(decode(encode(signal.record()))) == signal
