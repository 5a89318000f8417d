from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.integrations.log_sink import REDACTED, open_log_sink, redact
from autonomics.runtime import Actor, open_runtime
from autonomics.telemetry import declare, emit, listening
from autonomics.tenancy.api_key import RANDOM_BYTES, make_api_key

AT = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
KEY = make_api_key(bytes(range(RANDOM_BYTES))).text

declare("test.happened", "Something.", request_id="id", trace="trace", what="what")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def write(fields: Mapping[str, object], event: str = "test.happened", **options: Any) -> str:
    stream = options.pop("stream", None) or io.StringIO()
    open_log_sink(stream, clock=lambda: AT, **options)(event, fields)
    (line,) = lines_of(stream)
    return line


def test_an_event_is_one_line_of_json_with_its_ids() -> None:
    stream = io.StringIO()
    with listening("test.sink", open_log_sink(stream, clock=lambda: AT)):
        emit("test.happened", request_id="req-1", trace="0af7", what=3)
        emit("test.happened", request_id="req-2", trace=None, what="two\nlines")
    first, second = [json.loads(line) for line in lines_of(stream)]
    assert first == {
        "at": "2026-11-24T12:00:00.123Z",
        "event": "test.happened",
        "request_id": "req-1",
        "trace": "0af7",
        "what": 3,
    }
    assert second["what"] == "two\nlines"


async def test_a_crash_is_written_with_what_the_actor_was_doing() -> None:
    class Till(Actor):
        async def handle_cast(self, message: object) -> None:
            raise ValueError("token=hunter2")

        def describe(self) -> object:
            return {"open": True, "api_key": "hunter2"}

    stream = io.StringIO()
    with listening("test.sink", open_log_sink(stream, clock=lambda: AT)):
        async with open_runtime() as runtime:
            till = await runtime.start(Till, name="till")
            till.cast("hunter2")
            await till.wait_down()
    (report,) = [
        line["report"]
        for line in map(json.loads, lines_of(stream))
        if line["event"] == "actor.crashed"
    ]
    assert report["state"] == {"open": True, "api_key": REDACTED}
    assert (report["kind"], report["message"]) == ("cast", "str")
    assert report["stack"][-1].endswith(" handle_cast")
    assert "hunter2" not in stream.getvalue()


def test_a_field_called_event_does_not_hide_the_event() -> None:
    line = json.loads(write({"event": "other", "at": "now"}))
    assert (line["event"], line["event_"], line["at_"]) == ("test.happened", "other", "now")


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "token",
        "push_token",
        "secret",
        "client-secret",
        "api_key",
        "apikey",
        "signing_key",
        "password",
        "passwd",
        "cookie",
        "private_key",
    ],
)
def test_what_its_name_calls_secret_is_not_written(name: str) -> None:
    assert json.loads(write({name: "hunter2"}))[name] == REDACTED
    nested = write({"what": {"inner": [{name: "hunter2"}]}})
    assert "hunter2" not in nested


@pytest.mark.parametrize("name", ["key_id", "monkey", "tokenizer", "path", "secretary"])
def test_a_name_that_only_looks_secret_is_written(name: str) -> None:
    assert json.loads(write({name: "plain"}))[name] == "plain"


@pytest.mark.parametrize(
    "value",
    [
        f"nobody holds {KEY}",
        f"Bearer {KEY}",
        RuntimeError(f"refused: authorization=Bearer {KEY}"),
        f"/pubsub?token={KEY}&x=1",
        {"deep": [f"password: {KEY}"]},
        (f"secret='{KEY}'",),
    ],
)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_key_in_a_text_is_not_written(value: Any, log_format: str) -> None:
    line = write({"what": value}, log_format=log_format)
    assert KEY.rpartition("_")[2] not in line
    assert REDACTED in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bearer abc.def", f"Bearer {REDACTED}"),
        ("?token=abc&limit=1", f"?token={REDACTED}&limit=1"),
        ('{"password": "abc"}', '{"password": "' + REDACTED + '"}'),
        ("the token was wrong", "the token was wrong"),
        ("aut_12345678 is revoked", "aut_12345678 is revoked"),
    ],
)
def test_only_the_secret_goes_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact("what", text) == shown


def test_an_exception_is_its_type_and_its_text() -> None:
    assert redact("error", ValueError("no")) == "ValueError: no"


def test_a_value_that_is_no_json_is_its_repr() -> None:
    assert redact("what", {1: {2.5, float("inf")}, "at": object})["at"] == "<class 'object'>"
    assert json.loads(write({"what": float("nan")}))["what"] == "nan"


def test_a_long_text_is_cut() -> None:
    line = json.loads(write({"what": "x" * 10_000}))
    assert line["what"].endswith("... (10000 characters)")
    assert len(line["what"]) < 2100


def test_a_terminal_gets_text_and_a_file_gets_json() -> None:
    text = write({"what": 3}, stream=Terminal())
    assert "test.happened" in text
    with pytest.raises(ValueError, match="Expecting|Extra"):
        json.loads(text)
    assert json.loads(write({"what": 3}))["what"] == 3
    assert json.loads(write({"what": 3}, stream=Terminal(), log_format="json"))["what"] == 3


def test_text_is_readable_and_leaves_out_what_is_none() -> None:
    line = write({"request_id": "req-1", "trace": None, "what": "a b"}, log_format="text")
    assert line == "2026-11-24T12:00:00.123Z test.happened request_id=req-1 what='a b'"


def test_no_text_moves_the_cursor_of_a_terminal() -> None:
    line = write({"what": "\x1b[2J", "path": "/a\r\nfake=line"}, log_format="text")
    assert "\x1b" not in line
    assert "\r" not in line
    assert "\\x1b[2J" in line


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_whatever_is_emitted_gives_one_line(value: Any) -> None:
    assert json.loads(write({"what": value}))["event"] == "test.happened"
    assert write({"what": value}, log_format="text")
