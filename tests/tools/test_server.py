"""What holds for every tool: listing, schemas, refusals, events, bounds."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import trio
from mcp.shared.exceptions import MCPError

from autonomics import errors
from autonomics.errors import AutonomicsError, CallFailed, StoreUnavailable
from autonomics.http.problem import ERRORS, problem_for
from autonomics.tools.refusal import Refusal, refusal_for
from autonomics.tools.table import TOOLS
from autonomics.tools.tool import Arguments, Gives, Tool

Desk = Any
Heard = list[tuple[str, dict[str, Any]]]


class Nothing(Arguments):
    pass


class Done(Gives):
    done: bool


def make_tool(answer: Any) -> Tool[Nothing, Done]:
    return Tool(
        name="probe", title="Probe", about="A probe.", takes=Nothing, gives=Done, answer=answer
    )


def raising(error: Exception) -> Tool[Nothing, Done]:
    async def answer(*_: Any) -> Done:
        raise error

    return make_tool(answer)


async def test_the_tools_are_listed_with_titles_schemas_and_hints(memory_desk: Desk) -> None:
    async with memory_desk.client() as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == [tool.name for tool in TOOLS]
    assert len(listed) == 4
    for tool in listed:
        assert tool.title
        assert len(tool.description or "") > 60
        assert tool.annotations.read_only_hint is True
        assert tool.annotations.destructive_hint is False
        assert tool.annotations.idempotent_hint is True
        assert tool.annotations.open_world_hint is False
        for schema in (tool.input_schema, tool.output_schema):
            jsonschema.Draft202012Validator.check_schema(schema)
            assert schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert all("description" in row for row in tool.input_schema["properties"].values())


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS])
async def test_no_tool_takes_a_tenant(memory_desk: Desk, tool: str) -> None:
    refusal = await memory_desk.refusal(tool, {"tenant": "globex"})
    assert refusal["code"] == "invalid_arguments"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("health_check", {}),
        ("entitlement_check", {}),
        ("entitlement_check", {"recipe": "opt.idle"}),
        ("entitlement_check", {"recipe": "nope"}),
        ("receipt_verify", {"proof": "nope"}),
        ("receipt_verify", {"receipt": "t0001.0"}),
        ("receipt_verify", {"receipt": "nope"}),
        ("support_model", {}),
        ("support_model", {"a": 1}),
    ],
)
async def test_answers_and_refusals_are_of_the_schema_and_the_text_says_the_same(
    memory_desk: Desk, tool: str, arguments: dict[str, Any]
) -> None:
    async with memory_desk.client() as client:
        listed = {row.name: row for row in (await client.list_tools()).tools}
        result = await client.call_tool(tool, arguments)
    jsonschema.validate(result.structured_content, listed[tool].output_schema)
    (text,) = result.content
    assert json.loads(text.text) == result.structured_content


async def test_a_tool_that_nobody_knows_is_the_protocols_error(memory_desk: Desk) -> None:
    async with memory_desk.client() as client:
        with pytest.raises(MCPError) as failed:
            await client.call_tool("health_chek", {})
    assert failed.value.error.code == -32602
    data = failed.value.error.data
    assert data["code"] == "unknown_tool"
    assert data["reason"] == "there is no tool 'health_chek'; did you mean health_check?"
    assert data["next_step"]


async def test_each_call_leaves_an_event(memory_desk: Desk, heard: Heard) -> None:
    await memory_desk.call("support_model")
    await memory_desk.call("support_model", tenant=None, role="admin")
    async with memory_desk.client() as client:
        with pytest.raises(MCPError):
            await client.call_tool("x" * 100, {})
    called = [fields for event, fields in heard if event == "tool.called"]
    assert all(fields.pop("duration_s") >= 0 for fields in called)
    row = {"key_id": "key-1", "tenant": "acme"}
    assert called == [
        {**row, "tool": "support_model", "outcome": "answered"},
        {**row, "tool": "support_model", "tenant": None, "outcome": "tenant_not_named"},
        {**row, "tool": "x" * 64, "outcome": "unknown_tool"},
    ]


async def test_reads_leave_no_receipt(memory_desk: Desk) -> None:
    before = (await memory_desk.control.health()).receipts
    for tool in TOOLS:
        await memory_desk.call(tool.name)
    assert (await memory_desk.control.health()).receipts == before


async def test_a_tool_has_a_deadline(memory_desk: Desk, autojump_clock: Any) -> None:
    async def answer(*_: Any) -> Done:
        await trio.sleep_forever()
        raise AssertionError

    tools = (make_tool(answer),)
    async with memory_desk.client(tools=tools, deadline_s=3.0) as client:
        started = trio.current_time()
        result = await client.call_tool("probe", {})
    assert result.structured_content["code"] == "timed_out"
    assert result.structured_content["reason"] == "no answer within 3 s"
    assert trio.current_time() - started == pytest.approx(3.0)


async def test_a_call_that_is_cancelled_ends_in_the_tool_and_leaves_its_event(
    memory_desk: Desk, heard: Heard
) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def answer(*_: Any) -> Done:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    async with memory_desk.client(tools=(make_tool(answer),)) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.call_tool, "probe")
            await begun.wait()
            nursery.cancel_scope.cancel()
        await ended.wait()
    outcomes = [fields["outcome"] for event, fields in heard if event == "tool.called"]
    assert outcomes == ["cancelled"]


@pytest.mark.parametrize("error", [RuntimeError("secret"), AutonomicsError("secret")])
async def test_a_fault_of_ours_is_told_without_its_text(
    memory_desk: Desk, heard: Heard, error: Exception
) -> None:
    async with memory_desk.client(tools=(raising(error),)) as client:
        result = await client.call_tool("probe", {})
    assert result.is_error is True
    assert result.structured_content["code"] == "internal"
    assert "secret" not in repr(result)
    assert ("tool.failed", {"tool": "probe", "error": error}) in heard


async def test_an_error_of_the_tree_is_a_refusal(memory_desk: Desk) -> None:
    async with memory_desk.client(tools=(raising(StoreUnavailable("the disk is away")),)) as client:
        result = await client.call_tool("probe", {})
    assert result.structured_content["code"] == "store_unavailable"
    assert result.structured_content["reason"] == "the disk is away"


async def test_an_act_that_is_refused_comes_back_as_a_value(memory_desk: Desk) -> None:
    async def answer(*_: Any) -> Refusal:
        return Refusal(code="c", reason="r", next_step="n", who="w")

    async with memory_desk.client(tools=(make_tool(answer),)) as client:
        result = await client.call_tool("probe", {})
    assert (result.is_error, result.structured_content["code"]) == (True, "c")


@pytest.mark.parametrize("row", [row for row in ERRORS if row[1] != "sign_up_refused"])
def test_an_error_has_the_code_that_it_has_over_http(
    row: tuple[type[AutonomicsError], str],
) -> None:
    kind, code = row
    error = kind("why", 1.0) if kind is errors.TenantUnavailable else _make(kind)
    refusal = refusal_for(error)
    if code == "conflict" and kind is errors.ChildRefused:
        assert refusal is None
        return
    assert refusal is not None
    assert refusal.code == problem_for(error).code == code


def _make(kind: Any) -> AutonomicsError:
    made: AutonomicsError = (
        kind("why", "rule") if issubclass(kind, errors.ChildRefused) else kind("why")
    )
    return made


def test_an_error_without_words_is_named_by_its_code() -> None:
    refusal = refusal_for(CallFailed())
    assert refusal is not None
    assert refusal.reason == "busy"
