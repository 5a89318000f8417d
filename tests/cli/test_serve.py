from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import httpx2
import pytest

from .conftest import Serve, ServerProcess, Shell, clean_environ

BODY = b'{"kind": "none such"}'


def new_key(shell: Shell) -> str:
    return str(shell.value("tenants", "create", "acme")["api_key"]["secret"])


def test_a_server_says_where_it_is_and_what_only_decides(new_house: Shell, serve: Serve) -> None:
    server = serve(new_house.data, "--port", "0").wait_ready()
    ready = server.events[-1]
    assert ready["data"] == str(new_house.data)
    assert (ready["store"], ready["pid"]) == ("sqlite", server.popen.pid)
    (dry,) = (event for event in server.events if event["event"] == "serve.dry")
    assert "run.oom_memory_limit" in dry["recipes"]
    assert httpx2.get(f"{server.url}/health/ready").json() == {"status": "ready"}
    assert server.end(signal.SIGINT) == 0
    assert server.wait_for("serve.stopping")["signal"] == "SIGINT"
    assert not (new_house.data / "control.sock").exists()


def test_a_stop_answers_the_request_in_flight_and_takes_no_other(
    new_house: Shell, serve: Serve
) -> None:
    key = new_key(new_house)
    server = serve(new_house.data, "--port", "0").wait_ready()
    with begin_request(server, key) as peer:
        server.popen.send_signal(signal.SIGTERM)
        server.wait_for("serve.stopping")
        while is_open(server.port):
            pass
        peer.sendall(BODY[5:])
        answer = peer.makefile("rb").readline()
    assert answer.split()[1] == b"200"
    assert server.wait() == 0
    kinds = [row["kind"] for row in new_house.value("receipts", "acme")["receipts"]]
    assert kinds[-2:] == ["received", "decided"]


def begin_request(server: ServerProcess, key: str) -> socket.socket:
    """Send a request but for the end of its body."""
    head = (
        f"POST /v1/signals HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode()
    peer = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    peer.sendall(head + BODY[:5])
    # Answered by the same process after ours was begun: it is in flight now.
    httpx2.get(f"{server.url}/health/live")
    return peer


def test_a_second_signal_does_not_wait_for_the_request_in_flight(
    new_house: Shell, serve: Serve
) -> None:
    key = new_key(new_house)
    server = serve(new_house.data, "--port", "0").wait_ready()
    with begin_request(server, key) as peer:
        server.popen.send_signal(signal.SIGTERM)
        server.wait_for("serve.stopping")
        assert server.end(signal.SIGTERM) == 128 + signal.SIGTERM
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
    assert [row["id"] for row in new_house.value("tenants", "list")["tenants"]] == ["acme"]


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except ConnectionError:
        return False
    return True


def test_a_kill_under_load_loses_nothing_that_was_acknowledged(
    new_house: Shell, serve: Serve
) -> None:
    key = new_key(new_house)
    server = serve(new_house.data, "--port", "0").wait_ready()
    acknowledged: dict[str, str] = {}
    enough = threading.Event()

    def load(sender: int) -> None:
        with httpx2.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as http:
            number = 0
            while True:
                number += 1
                name = f"{sender}-{number}"
                try:
                    reply = http.post(
                        "/v1/signals",
                        headers={"Content-Type": "application/json", "Idempotency-Key": name},
                        content=BODY,
                    )
                except httpx2.TransportError:
                    return
                if reply.status_code == 200:
                    acknowledged[name] = reply.json()["receipts"]["received"]
                if len(acknowledged) >= 60:
                    enough.set()

    senders = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for sender in senders:
        sender.start()
    assert enough.wait(timeout=40)
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    for sender in senders:
        sender.join()

    again = serve(new_house.data, "--port", "0").wait_ready()
    receipts = new_house.value("receipts", "acme")["receipts"]
    found = {
        row["payload"]["signal"]["message_id"]: row["id"]
        for row in receipts
        if row["kind"] == "received"
    }
    assert len(acknowledged) >= 60
    assert {name: found.get(name) for name in acknowledged} == acknowledged
    with httpx2.Client(base_url=again.url, headers={"Authorization": f"Bearer {key}"}) as http:
        name, receipt = acknowledged.popitem()
        headers = {"Content-Type": "application/json", "Idempotency-Key": name}
        reply = http.post("/v1/signals", headers=headers, content=BODY).json()
    assert (reply["receipts"]["received"], reply["duplicate"]) == (receipt, True)
    assert again.end() == 0


def follow_words(shell: Shell) -> list[str]:
    words = ["receipts", "acme", "--follow", "--json", "--data", str(shell.data)]
    return [sys.executable, "-m", "autonomics", *words]


def test_followed_receipts_come_as_they_are_made(
    new_house: Shell, serve: Serve, tmp_path: Path
) -> None:
    new_house.say("tenants", "create", "acme")
    serve(new_house.data, "--port", "0").wait_ready()
    path = tmp_path / "signal.json"
    path.write_bytes(BODY)
    new_house.say("signal", "acme", str(path))
    follow = subprocess.Popen(
        follow_words(new_house),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ(),
    )
    with follow:
        assert follow.stdout is not None
        assert read_kinds(follow.stdout)[0] == "genesis"
        new_house.say("signal", "acme", str(path))
        assert read_kinds(follow.stdout) == ["received", "decided"]
        follow.send_signal(signal.SIGINT)
        out, err = follow.communicate(timeout=20)
    assert (follow.returncode, out, err) == (130, "", "")
    last = new_house.value("receipts", "acme")["receipts"][-1]["seq"]
    words = ("--follow", "--limit", "2", "--after", str(last - 2))
    out = new_house.say("receipts", "acme", *words)
    assert [line.split()[2] for line in out.splitlines()] == ["received:", "decided:"]


def read_kinds(stream: IO[str]) -> list[str]:
    """Read until a signal is decided."""
    kinds: list[str] = []
    while "decided" not in kinds:
        kinds.append(json.loads(stream.readline())["kind"])
    return kinds


def test_to_follow_takes_a_server(new_house: Shell) -> None:
    new_house.say("tenants", "create", "acme")
    code, line = new_house.fail("receipts", "acme", "--follow")
    assert (code, line) == (1, f"no server runs on {new_house.data}")


def test_with_store_stdout_standard_output_holds_receipts_and_nothing_else(
    shell: Shell, serve: Serve, tmp_path: Path
) -> None:
    server = serve(shell.data, "--port", "0", "--store", "stdout").wait_ready()
    shell.say("tenants", "create", "acme")
    path = tmp_path / "signal.json"
    path.write_bytes(BODY)
    shell.say("signal", "acme", str(path))
    assert server.end() == 0
    lines = tmp_path / "receipts.jsonl"
    lines.write_text("".join(server.output))
    kinds = [json.loads(json.loads(line)["leaf"])["kind"] for line in server.output]
    assert kinds[-2:] == ["received", "decided"]
    code, out, _ = shell.run("verify", str(lines))
    assert code == 20
    assert out.count("unanchored") == 2


def test_what_a_store_in_memory_held_is_gone_with_its_server(
    shell: Shell, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTONOMICS_STORE", "memory")
    server = serve(shell.data, "--port", "0", "--store", "memory").wait_ready()
    shell.say("tenants", "create", "acme")
    assert server.end() == 0
    code, line = shell.fail("tenants", "list")
    assert code == 1
    assert line.startswith(f"no server runs on {shell.data}, and a store of kind memory")


def test_the_log_may_be_read_by_people(new_house: Shell) -> None:
    words = ["serve", "--port", "0", "--log-format", "text", "--data", str(new_house.data)]
    done = subprocess.Popen(
        [sys.executable, "-m", "autonomics", *words],
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ(),
    )
    with done:
        assert done.stderr is not None
        while "serve.ready" not in (line := done.stderr.readline()):
            assert line
        assert "url=http://127.0.0.1:" in line
        done.terminate()
        done.communicate(timeout=20)
    assert done.returncode == 0


def test_a_stop_that_comes_before_the_tree_stands_is_a_stop_too(
    new_house: Shell, serve: Serve
) -> None:
    for _ in range(2):
        server = serve(new_house.data, "--port", "0")
        while not (new_house.data / "lock").read_bytes():
            assert server.popen.poll() is None
        server.popen.send_signal(signal.SIGTERM)
        assert server.wait() in (0, -signal.SIGTERM)  # the latter: nobody listened for it yet
    assert new_house.value("tenants", "list") == {"tenants": []}
