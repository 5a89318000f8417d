from __future__ import annotations

from collections.abc import Mapping

import pytest

from autonomics import telemetry
from autonomics.errors import InvalidInput
from autonomics.telemetry import EventSpec

Seen = list[tuple[str, dict[str, object]]]


def note(seen: Seen) -> telemetry.Listener:
    return lambda event, fields: seen.append((event, dict(fields)))


def test_a_listener_gets_each_event_before_emit_returns() -> None:
    seen: Seen = []
    with telemetry.listening("t", note(seen)):
        telemetry.emit("actor.zombie", path="root/a")
        assert seen == [("actor.zombie", {"path": "root/a"})]
    telemetry.emit("actor.zombie", path="root/b")
    assert len(seen) == 1


def test_an_undeclared_event_is_an_error_and_a_close_name_is_suggested() -> None:
    with pytest.raises(InvalidInput, match=r"unknown event 'actor.zombi'; did you mean 'actor.zom"):
        telemetry.emit("actor.zombi", path="root")
    with pytest.raises(InvalidInput, match="unknown event 'xyzzy'$"):
        telemetry.emit("xyzzy")


@pytest.mark.parametrize("fields", [{}, {"path": "a", "colour": "red"}, {"colour": "red"}])
def test_missing_and_extra_fields_are_errors_even_if_nobody_listens(
    fields: dict[str, object],
) -> None:
    with pytest.raises(InvalidInput, match="fields of 'actor.zombie'"):
        telemetry.emit("actor.zombie", **fields)


def test_a_prepared_event_is_checked_when_it_is_prepared() -> None:
    with pytest.raises(InvalidInput, match="unknown event 'xyzzy'$"):
        telemetry.prepare("xyzzy")
    with pytest.raises(InvalidInput, match="fields of 'actor.zombie'"):
        telemetry.prepare("actor.zombie", "colour")


def test_a_prepared_event_has_its_values_in_the_order_of_its_names() -> None:
    tell = telemetry.prepare("child.restarted", "restarts", "path", "child")
    tell(1, "nobody", "listens")
    seen: Seen = []
    with telemetry.listening("t", note(seen)):
        tell(2, "root", "a")
        with pytest.raises(ValueError, match="shorter"):
            tell(2, "root")
    assert seen == [("child.restarted", {"restarts": 2, "path": "root", "child": "a"})]


def test_a_raising_listener_is_detached_and_reported_and_the_others_go_on() -> None:
    seen: Seen = []
    error = ValueError("no")

    def refuse(event: str, fields: Mapping[str, object]) -> None:
        raise error

    telemetry.subscribe("bad", refuse)
    with telemetry.listening("good", note(seen)):
        telemetry.emit("actor.zombie", path="root/a")
        assert seen == [
            ("telemetry.listener_failed", {"id": "bad", "event": "actor.zombie", "error": error}),
            ("actor.zombie", {"path": "root/a"}),
        ]
    assert telemetry.unsubscribe("bad") is False


def test_a_listener_that_fails_on_the_report_of_a_failure_ends_there() -> None:
    def refuse(event: str, fields: Mapping[str, object]) -> None:
        raise ValueError(event)

    telemetry.subscribe("first", refuse)
    telemetry.subscribe("second", refuse)
    telemetry.emit("actor.zombie", path="root/a")
    assert not telemetry.unsubscribe("first")
    assert not telemetry.unsubscribe("second")


def test_an_id_is_taken_once() -> None:
    with (
        telemetry.listening("t", note([])),
        pytest.raises(InvalidInput, match="listener id to be free"),
    ):
        telemetry.subscribe("t", note([]))


def test_a_room_declares_its_own_events_and_may_say_so_twice() -> None:
    row = telemetry.declare("test.noted", "A test said so.", what="what it said")
    assert telemetry.declare("test.noted", "A test said so.", what="what it said") == row
    assert row in telemetry.events()
    seen: Seen = []
    with telemetry.listening("t", note(seen)):
        telemetry.emit("test.noted", what=1)
    assert seen == [("test.noted", {"what": 1})]
    with pytest.raises(InvalidInput, match="declared once"):
        telemetry.declare("test.noted", "Something else.", what="what it said")


def test_every_row_says_what_it_means_and_names_its_fields() -> None:
    for spec in telemetry.events():
        assert isinstance(spec, EventSpec)
        assert spec.meaning.endswith(".")
        assert all(spec.fields.values())
        assert spec.name.count(".") == 1


def test_fields_reach_a_listener_read_only() -> None:
    def change(event: str, fields: Mapping[str, object]) -> None:
        fields["path"] = "other"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]

    seen: Seen = []
    telemetry.subscribe("changer", change)
    with telemetry.listening("after", note(seen)):
        telemetry.emit("actor.zombie", path="root/a")
    assert seen[-1] == ("actor.zombie", {"path": "root/a"})
