"""`autonomics mcp` as a process: beside a server, beside each other, alone, and at its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import attrs
import pytest
import trio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from autonomics.__main__ import main
from autonomics.config import load_settings
from autonomics.errors import InvalidConfig

Shell = Any
Server = Any
Serve = Callable[..., Server]

MODES = ("auto", "2026-07-28", "legacy")
TOOLS = ["health_check", "entitlement_check", "receipt_verify", "support_model"]
SECRET = "aut_do-not-tell_0123456789"
ENDS_WITHIN_S = 15.0
PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
INITIALIZE = (
    '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    '"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}\n'
)


def call_line(id_: int, tool: str, arguments: str = "{}") -> str:
    return (
        f'{{"jsonrpc":"2.0","id":{id_},"method":"tools/call",'
        f'"params":{{"name":"{tool}","arguments":{arguments}}}}}\n'
    )


@attrs.frozen
class Agent:
    """`autonomics mcp` as a process whose lines the test writes and reads itself."""

    popen: subprocess.Popen[str]

    def say(self, text: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(text)
        self.popen.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        heard: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return heard

    def leave(self) -> tuple[int, list[dict[str, Any]], str]:
        """Close stdin; exit code, what else was said, and stderr."""
        out, err = self.popen.communicate(timeout=ENDS_WITHIN_S)
        return self.popen.returncode, [json.loads(line) for line in out.splitlines()], err

    def end(self, number: int) -> tuple[int, str]:
        self.popen.send_signal(number)
        code = self.popen.wait(timeout=ENDS_WITHIN_S)
        assert self.popen.stderr is not None
        return code, self.popen.stderr.read()


Start = Callable[..., Agent]


@pytest.fixture
def start(clean_environment: dict[str, str]) -> Iterator[Start]:
    """Start agents' processes that end with the test."""
    started: list[Agent] = []

    def begin(*words: str, **environ: str) -> Agent:
        popen = subprocess.Popen(
            [sys.executable, "-m", "autonomics", "mcp", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**clean_environment, **environ},
        )
        started.append(Agent(popen))
        return started[-1]

    yield begin
    for agent in started:
        if agent.popen.poll() is None:
            agent.popen.kill()
        agent.popen.wait()
        for stream in (agent.popen.stdin, agent.popen.stdout, agent.popen.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def clean_environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("AUTONOMICS_")}


@pytest.fixture
def acme(new_house: Shell) -> Shell:
    """A folder with the tenant acme."""
    new_house.say("tenants", "create", "acme", "--plan", "standard")
    return new_house


async def run(command: Callable[..., Any], *words: Any) -> Any:
    """Run a command line beside what this test has open; it brings a loop of its own."""
    return await trio.to_thread.run_sync(command, *words)


@asynccontextmanager
async def attach(
    data: Path, *words: str, mode: Any = "auto", env: dict[str, str] | None = None
) -> AsyncGenerator[Client]:
    """The SDK's client on the command, as an agent's configuration starts it."""
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "autonomics", "mcp", "--data", str(data), *words],
        env=env,
    )
    with TemporaryFile("w") as errlog:
        async with Client(stdio_client(parameters, errlog=errlog), mode=mode) as client:
            yield client


async def use_all(client: Client, tenant: str = "acme") -> None:
    """List the tools and call each."""
    listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == TOOLS
    assert all(tool.input_schema and tool.output_schema for tool in listed)
    health = await client.call_tool("health_check", {})
    assert health.structured_content["status"] == "ready"
    held = await client.call_tool("entitlement_check", {"recipe": "run.oom_memory_limit"})
    assert (held.structured_content["entitled"], held.structured_content["tenant"]) == (
        True,
        tenant,
    )
    support = await client.call_tool("support_model", {})
    assert support.structured_content["tier"] == "standard"
    missing = await client.call_tool("receipt_verify", {"receipt": "0123456789abcdef.0"})
    assert missing.structured_content["code"] == "unknown_receipt"


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_beside_a_server_uses_every_tool(served: Server, mode: str) -> None:
    async with attach(served.data, "--tenant", "acme", mode=mode) as client:
        await use_all(client)


@pytest.mark.parametrize("mode", MODES)
async def test_an_agent_without_a_server_serves_the_folder_itself(acme: Shell, mode: str) -> None:
    async with attach(acme.data, "--tenant", "acme", mode=mode) as client:
        await use_all(client)
    assert await run(acme.say, "tenants", "list")  # the folder is free again


async def test_two_agents_and_a_command_beside_one_server_are_all_answered(
    served: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("tenants", "list", "--json", "--data", str(served.data))
    async with (
        attach(served.data, "--tenant", "acme") as one,
        attach(served.data, "--tenant", "globex", mode="legacy") as two,
    ):
        assert await run(main, words) == 0
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(use_all, one)
                nursery.start_soon(use_all, two, "globex")
    shown = json.loads(capsys.readouterr().out)["tenants"]
    assert [row["id"] for row in shown] == ["acme", "globex"]


async def test_agents_and_commands_share_a_folder_without_a_server(acme: Shell) -> None:
    async with (
        attach(acme.data, "--tenant", "acme") as first,
        attach(acme.data, "--tenant", "acme") as second,
    ):
        await use_all(second)
        shown = await run(acme.value, "tenants", "list")
        await use_all(first)
    assert [row["id"] for row in shown["tenants"]] == ["acme"]


async def test_the_tenant_may_come_from_the_environment(served: Server) -> None:
    async with attach(served.data, env={"AUTONOMICS_TENANT": "acme"}) as client:
        await use_all(client)
    async with attach(served.data) as client:
        refused = await client.call_tool("support_model", {})
        assert refused.is_error is True
        assert refused.structured_content["code"] == "tenant_not_named"


async def test_a_receipt_is_verified_through_the_command(
    served: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = tmp_path / "signal.json"
    message.write_text('{"severity": "ERROR"}')
    words = ("signal", "acme", str(message), "--json", "--data", str(served.data))
    assert await run(main, words) == 0
    receipt = json.loads(capsys.readouterr().out)["receipts"]["decided"]
    async with attach(served.data, "--tenant", "acme") as client:
        result = await client.call_tool("receipt_verify", {"receipt": receipt})
    answer = result.structured_content
    assert (answer["verified"], answer["code"]) == (True, 10)


# Elsewhere, with a key


async def test_a_server_elsewhere_is_asked_with_the_key_of_the_environment(
    served: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("api-keys", "create", "--role", "tenant", "--tenant", "acme", "--json")
    assert await run(main, (*words, "--data", str(served.data))) == 0
    key = json.loads(capsys.readouterr().out)["secret"]
    for url in (served.url, f"{served.url}/", f"{served.url}/mcp"):
        async with attach(tmp_path, "--url", url, env={"AUTONOMICS_API_KEY": key}) as client:
            await use_all(client)


def test_a_key_that_nobody_holds_is_told_by_the_protocol(served: Server, start: Start) -> None:
    agent = start("--url", served.url, AUTONOMICS_API_KEY=SECRET)
    agent.say(INITIALIZE)
    error = agent.hear()["error"]
    assert error["data"]["code"] == "unauthenticated"
    assert error["data"]["next_step"]
    code, rest, err = agent.leave()
    assert (code, rest, err) == (0, [], "")


def test_a_server_that_is_not_there_is_one_line_and_an_answer(start: Start) -> None:
    agent = start("--url", "http://127.0.0.1:1", AUTONOMICS_API_KEY=SECRET)
    agent.say(INITIALIZE)
    assert agent.hear()["error"]["data"]["code"] == "server_unreachable"
    code, rest, err = agent.leave()
    assert (code, rest) == (1, [])
    assert err.startswith("autonomics: the server has gone: ")
    assert err.count("\n") == 1
    assert SECRET not in err


@pytest.mark.parametrize(
    ("words", "environ", "line"),
    [
        (("--url", "http://127.0.0.1:1"), {}, "--url needs a key: set AUTONOMICS_API_KEY"),
        (
            ("--url", "http://ledger.example"),
            {"AUTONOMICS_API_KEY": SECRET},
            "expected --url to be an https URL without a query, or http to this machine",
        ),
        (
            ("--url", "http://127.0.0.1:1", "--tenant", "acme"),
            {"AUTONOMICS_API_KEY": SECRET},
            "a tenant (--tenant, AUTONOMICS_TENANT) does not go with --url",
        ),
        (("--api-key", SECRET), {}, "unknown option --api-key of autonomics mcp"),
        (("--tenant", "no such"), {}, "expected tenant to be a tenant's id"),
    ],
)
def test_what_can_not_be_right_is_usage(
    start: Start, words: tuple[str, ...], environ: dict[str, str], line: str
) -> None:
    code, rest, err = start(*words, **environ).leave()
    assert (code, rest) == (2, [])
    assert line in err
    assert err.count("\n") == 1
    assert SECRET not in err.replace(f"--api-key {SECRET}", "")


def test_the_key_is_in_no_message_and_no_representation() -> None:
    with pytest.raises(InvalidConfig) as failed:
        load_settings(environ={"AUTONOMICS_API_KEY": f"{SECRET} "})
    assert SECRET not in str(failed.value)
    settings = load_settings(environ={"AUTONOMICS_API_KEY": SECRET})
    assert settings.api_key == SECRET
    assert SECRET not in repr(settings)


# Nonsense, and ends


def test_a_folder_that_is_not_there_is_one_line(start: Start, tmp_path: Path) -> None:
    code, rest, err = start("--data", str(tmp_path / "none")).leave()
    assert (code, rest) == (1, [])
    assert "run `autonomics init` first" in err
    assert err.count("\n") == 1


HIDDEN = """
import sys
sys.modules["mcp"] = None
from autonomics.__main__ import main
sys.exit(main(["mcp", "--data", sys.argv[1]]))
"""


def test_without_the_extra_a_folder_without_a_server_is_one_line(new_house: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, str(new_house.data)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    line = "autonomics: this command needs mcp: install it with pip install 'autonomics[mcp]'\n"
    assert done.stderr == line


@pytest.mark.parametrize("text", ["a.example:80", "a b", "", ",", "https://a"])
def test_hosts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidConfig, match="expected mcp_hosts to be host names without a port"):
        load_settings({"mcp_hosts": text}, environ={})


def test_hosts_are_names_with_commas_between() -> None:
    settings = load_settings(environ={"AUTONOMICS_MCP_HOSTS": "a.example, ::1"})
    assert settings.mcp_hosts == ("a.example", "::1")


def test_nonsense_is_answered_and_the_session_goes_on(served: Server, start: Start) -> None:
    agent = start("--data", str(served.data), "--tenant", "acme")
    for said, number, code in (
        ("{", -32700, "body_not_json"),
        ("\ufeff7", -32700, "body_not_json"),
        ("[" * 100_000, -32700, "body_not_json"),
        ("7", -32600, "body_not_object"),
        ("[]", -32600, "body_not_object"),
        ('{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600, "bad_request"),
        ('{"jsonrpc":"2.0","id":1}', -32600, "bad_request"),
        ('{"jsonrpc":"2.0","id":2,"method":"burn"}', -32601, "unknown_method"),
        (call_line(3, "nope").strip(), -32602, "unknown_tool"),
        (f'{{"pad":"{"x" * (4 * 2**20)}"}}', -32600, "body_too_large"),
    ):
        agent.say(f"{said}\n\n  \n")
        error = agent.hear()["error"]
        assert (error["code"], error["data"]["code"]) == (number, code), said[:80]
        assert error["data"]["next_step"]
    over_the_servers_limit = call_line(4, "receipt_verify", f'{{"proof":"{"x" * 2**20}"}}')
    agent.say(over_the_servers_limit)
    assert agent.hear()["error"]["data"]["code"] == "body_too_large"
    agent.say(call_line(5, "entitlement_check", '{"recipe":7}'))
    assert agent.hear()["result"]["structuredContent"]["code"] == "invalid_arguments"
    agent.say(call_line(6, "support_model"))
    assert agent.hear()["result"]["structuredContent"]["tier"] == "standard"
    assert agent.leave() == (0, [], "")


def test_what_was_asked_before_the_end_is_answered(acme: Shell, start: Start) -> None:
    agent = start("--data", str(acme.data), "--tenant", "acme")
    agent.say(INITIALIZE + call_line(2, "support_model") + call_line(3, "health_check").strip())
    code, answers, _ = agent.leave()
    assert code == 0
    assert sorted(answer["id"] for answer in answers) == [1, 2, 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(served: Server, start: Start, number: int) -> None:
    agent = start("--data", str(served.data), "--tenant", "acme")
    agent.say(INITIALIZE)
    assert agent.hear()["result"]["serverInfo"]["name"] == "autonomics"
    assert agent.end(number) == (0, "")


def test_a_signal_ends_the_service_of_its_own_in_order(acme: Shell, start: Start) -> None:
    agent = start("--data", str(acme.data), "--tenant", "acme")
    agent.say(INITIALIZE)
    assert agent.hear()["id"] == 1
    assert (acme.data / "control.sock").exists()
    code, err = agent.end(signal.SIGTERM)
    assert code == 0
    assert all(json.loads(line)["event"] for line in err.splitlines())
    assert not (acme.data / "control.sock").exists()


def test_a_server_that_goes_away_ends_it_in_one_line(
    acme: Shell, serve: Serve, start: Start
) -> None:
    server = serve(acme.data, "--port", "0").wait_ready()
    agent = start("--data", str(acme.data), "--tenant", "acme")
    agent.say(INITIALIZE)
    assert agent.hear()["id"] == 1
    server.end(signal.SIGKILL)
    agent.say(call_line(2, "support_model"))
    answer = agent.hear()
    assert (answer["id"], answer["error"]["data"]["code"]) == (2, "server_unreachable")
    code = agent.popen.wait(timeout=ENDS_WITHIN_S)
    assert agent.popen.stderr is not None
    err = agent.popen.stderr.read()
    assert code == 1
    assert err.startswith("autonomics: the server has gone: ")
    assert err.count("\n") == 1


def test_a_server_that_comes_back_in_time_is_asked_again(
    acme: Shell, serve: Serve, start: Start
) -> None:
    server = serve(acme.data, "--port", "0").wait_ready()
    agent = start("--data", str(acme.data), "--tenant", "acme")
    agent.say(INITIALIZE)
    agent.hear()
    assert server.end() == 0
    serve(acme.data, "--port", "0").wait_ready()
    agent.say(call_line(2, "support_model"))
    assert agent.hear()["result"]["structuredContent"]["tier"] == "standard"
    assert agent.leave() == (0, [], "")


def test_a_client_that_closes_its_end_is_gone(served: Server, start: Start) -> None:
    agent = start("--data", str(served.data), "--tenant", "acme")
    assert agent.popen.stdout is not None
    agent.popen.stdout.close()
    agent.say(INITIALIZE)
    assert agent.popen.wait(timeout=ENDS_WITHIN_S) == 0
    assert agent.popen.stderr is not None
    assert agent.popen.stderr.read() == ""


def test_stdin_may_be_a_file(served: Server, tmp_path: Path) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text(INITIALIZE + call_line(2, "support_model"))
    with asked.open() as stdin:
        done = subprocess.run(
            [sys.executable, "-m", "autonomics", "mcp", "--data", str(served.data)],
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert sorted(json.loads(line)["id"] for line in done.stdout.splitlines()) == [1, 2]
    assert done.stderr == ""
