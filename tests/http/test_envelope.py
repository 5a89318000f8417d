from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.http.envelope import open_push

PAYLOADS = Path(__file__).resolve().parents[2].parent / "shared" / "payloads"


def wrap(data: object, **message: object) -> bytes:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    row = {"data": base64.b64encode(raw).decode(), "messageId": "1", **message}
    return json.dumps({"message": row, "subscription": "projects/p/subscriptions/s"}).encode()


def sample(name: str) -> dict[str, Any]:
    path = PAYLOADS / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    payload: dict[str, Any] = json.loads(path.read_text())["payload"]
    return payload


@pytest.mark.parametrize("name", ["pubsub_push_wrapped_max.json", "pubsub_push_wrapped_min.json"])
def test_googles_wrapped_samples_open_and_their_text_is_no_signal(name: str) -> None:
    pushed = open_push({}, json.dumps(sample(name)).encode())
    assert pushed.source == "projects/myproject/subscriptions/mysubscription"
    assert pushed.message_id == "2070443601311540"
    assert pushed.data == b"Hello Cloud Pub/Sub! Here is my message!"
    assert pushed.published_at == datetime(2021, 2, 26, 19, 13, 55, 749000, tzinfo=UTC)
    assert "message's data to be one JSON value" in str(pushed.fault)
    assert pushed.attributes == ({"key": "value"} if "max" in name else {})


def test_the_unwrapped_sample_opens_from_its_headers() -> None:
    payload = sample("pubsub_push_unwrapped.json")
    headers = {name.lower(): value for name, value in payload["headers"].items()}
    pushed = open_push(headers, json.dumps(payload["body"]).encode())
    assert pushed.fault is None
    assert (pushed.source, pushed.message_id) == ("projects/p/subscriptions/s", "2070443601311540")
    assert json.loads(pushed.data) == {"status": "Hello there"}


def test_both_forms_of_one_message_give_the_same() -> None:
    data = {"severity": "ERROR"}
    wrapped = open_push({}, wrap(data, publishTime="2021-02-26T19:13:55.749Z"))
    headers = {
        "x-goog-pubsub-subscription-name": "projects/p/subscriptions/s",
        "x-goog-pubsub-message-id": "1",
        "x-goog-pubsub-publish-time": "2021-02-26T19:13:55.749Z",
    }
    assert open_push(headers, json.dumps(data).encode()) == wrapped


def test_the_snake_names_do_where_the_camel_names_are_missing() -> None:
    body = {"message": {"data": "e30=", "message_id": "7", "publish_time": "2021-02-26T19:13:55Z"}}
    pushed = open_push({}, json.dumps(body).encode())
    assert (pushed.message_id, pushed.source, pushed.fault) == ("7", "pubsub", None)


def test_base64_of_either_alphabet_is_read() -> None:
    raw = json.dumps({"text": "??>>~~"}).encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        body = {"message": {"data": encode(raw).decode(), "messageId": "1"}}
        assert open_push({}, json.dumps(body).encode()).data == raw


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "one JSON value"),
        (b"\xff", "UTF-8"),
        (b"[]", "JSON object"),
        (b"{}", "message to be an object"),
        (b'{"message": 1}', "message to be an object"),
        (b'{"message": {"data": 5}}', "base64"),
        (b'{"message": {"data": "a"}}', "base64"),
        (b'{"message": {"data": "e30=\\n"}}', "base64"),
        (b'{"message": {"data": "e3 0="}}', "base64"),
        (b'{"message": {"data": "\\u00e9"}}', "base64"),
        (b'{"message": {"messageId": 5}}', "messageId to be a string"),
        (b'{"message": {"attributes": {"a": 1}}}', "an object of strings"),
        (b'{"message": {"attributes": []}}', "an object of strings"),
        (b'{"message": {"publishTime": "yesterday"}}', "RFC 3339"),
        (b'{"message": {"publishTime": "2021-02-26T19:13:55"}}', "RFC 3339"),
        (b'{"message": {"attributes": {"a": "b"}}}', "to have data"),
        (b'{"message": {"data": "W10="}}', "message's data to be a JSON object"),
        (b"[" * 5000, "nest"),
        (wrap(b"[" * 100), "message's data to nest"),
        (wrap({}, messageId="x" * 513), "messageId to be at most 512"),
    ],
)
def test_what_cannot_be_read_says_why(body: Any, why: str) -> None:
    pushed = open_push({}, body)
    assert why in str(pushed.fault)
    assert pushed.message_id


def test_an_unreadable_body_has_the_same_id_each_time_it_comes() -> None:
    one, again, other = (open_push({}, body).message_id for body in (b"x", b"x", b"y"))
    assert one == again != other


@given(st.binary(max_size=300), st.booleans())
def test_no_body_makes_it_raise(body: Any, unwrapped: bool) -> None:
    headers = {"x-goog-pubsub-subscription-name": "s"} if unwrapped else {}
    assert open_push(headers, body).source


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_data_and_attributes_come_out_as_they_went_in(attributes: dict[str, str]) -> None:
    data = {"rows": attributes}
    pushed = open_push({}, wrap(data, attributes=attributes))
    assert pushed.fault is None
    assert json.loads(pushed.data) == data
    assert pushed.attributes == attributes
