"""The MCP server of one control plane: lists the tools, calls them, and says no in one form.

The SDK's low-level server carries the protocol. Its higher one was tried and left: it sets up the
process's logging, and answers wrong arguments with the text of its validator.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import trio
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ListedTool
from pydantic import ValidationError

from autonomics.actors.control_plane import ControlPlane
from autonomics.errors import AutonomicsError
from autonomics.telemetry import declare, emit
from autonomics.tools.caller import Caller
from autonomics.tools.refusal import Refusal, refusal_for, refuse
from autonomics.tools.table import TOOLS
from autonomics.tools.tool import Gives, Tool, did_you_mean

Context: TypeAlias = ServerRequestContext[Any, Any]
Identify: TypeAlias = Callable[[Context], Caller]

NAME: Final = "autonomics"
DEADLINE_S: Final = 10.0
LIST_FRESH_MS: Final = 60_000
NAME_SHOWN: Final = 64
INSTRUCTIONS: Final = (
    "Autonomics acts on a tenant's services by recipes, within gates, and leaves a receipt of every"
    " step. Ask health_check when something does not work, entitlement_check for what the tenant"
    " may have done for it, receipt_verify for evidence, support_model for what support there is."
    " A refusal has a code, a reason and the next lawful step: follow the step rather than repeat"
    " the call."
)

# Without a handler the standard library prints the SDK's warnings on stderr, in no form.
logging.getLogger("mcp").addHandler(logging.NullHandler())

declare(
    "tool.called",
    "A tool was called over MCP.",
    tool="its name",
    key_id="id of the key that was used, or None",
    tenant="id of the tenant that it was called for, or None",
    outcome="answered, the code of the refusal, or cancelled by a caller that left",
    duration_s="seconds that it took",
)
declare(
    "tool.failed",
    "A tool ran into an error of ours; the caller was told that, and nothing of what is inside.",
    tool="its name",
    error="what was raised",
)


def build_server(
    control: ControlPlane,
    identify: Identify,
    *,
    tools: tuple[Tool[Any, Any], ...] = TOOLS,
    deadline_s: float = DEADLINE_S,
) -> Server[Any]:
    """Build the server; `identify` tells from a request's context who is calling."""
    desk = _Desk(control, identify, {tool.name: tool for tool in tools}, deadline_s)
    server: Server[Any] = Server(
        NAME,
        version=version("autonomics"),
        title="Autonomics",
        description="A control plane whose every decision leaves a receipt",
        instructions=INSTRUCTIONS,
        cache_hints={"tools/list": CacheHint(ttl_ms=LIST_FRESH_MS, scope="private")},
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
    )
    server.middleware.append(explain_errors)
    return server


class _Desk:
    """Takes the requests about tools."""

    def __init__(
        self,
        control: ControlPlane,
        identify: Identify,
        tools: Mapping[str, Tool[Any, Any]],
        deadline_s: float,
    ) -> None:
        self._control = control
        self._identify = identify
        self._tools = tools
        self._deadline_s = deadline_s
        self._listed = [_show_tool(tool) for tool in tools.values()]

    async def list_tools(
        self, _context: Context, _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        """List all of them, in the order of the table."""
        return ListToolsResult(tools=self._listed)

    async def call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Call one; what nobody knows is an error of the protocol, as it says."""
        caller = self._identify(context)
        started = trio.current_time()
        tool = self._tools.get(params.name)
        outcome = "cancelled"
        try:
            if tool is None:
                refusal = refuse("unknown_tool", _describe_unknown(params.name, tuple(self._tools)))
                outcome = refusal.code
                raise MCPError(INVALID_PARAMS, refusal.reason, refusal.model_dump())
            given = await self._answer(tool, caller, params.arguments or {})
            outcome = given.code if isinstance(given, Refusal) else "answered"
            return _show(given)
        finally:
            emit(
                "tool.called",
                tool=params.name[:NAME_SHOWN],
                key_id=caller.principal.key_id or None,
                tenant=caller.tenant_id,
                outcome=outcome,
                duration_s=trio.current_time() - started,
            )

    async def _answer(
        self, tool: Tool[Any, Any], caller: Caller, arguments: Mapping[str, Any]
    ) -> Gives | Refusal:
        asked = tool.read(arguments)
        if isinstance(asked, Refusal):
            return asked
        try:
            with trio.fail_after(self._deadline_s):
                return await tool.answer(self._control, caller, asked)
        except trio.TooSlowError:
            return refuse("timed_out", f"no answer within {self._deadline_s:g} s")
        except AutonomicsError as error:
            refusal = refusal_for(error)
            return self._fail(tool, error) if refusal is None else refusal
        except Exception as error:  # noqa: BLE001 - this door's boundary, as the guard is HTTP's:
            # the SDK would put the error's own text on the wire.
            return self._fail(tool, error)

    def _fail(self, tool: Tool[Any, Any], error: Exception) -> Refusal:
        emit("tool.failed", tool=tool.name, error=error)
        return refuse("internal", "the call failed for a reason that only the log tells")


def _describe_unknown(name: str, known: tuple[str, ...]) -> str:
    return f"there is no tool {name[:NAME_SHOWN]!a}{did_you_mean(name, known)}"


def _show_tool(tool: Tool[Any, Any]) -> ListedTool:
    return ListedTool(
        name=tool.name,
        title=tool.title,
        description=tool.about,
        input_schema=tool.input_schema(),
        output_schema=tool.output_schema(),
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.is_read_only,
            destructive_hint=tool.is_destructive,
            idempotent_hint=tool.is_idempotent,
            open_world_hint=tool.is_open_world,
        ),
    )


def _show(given: Gives | Refusal) -> CallToolResult:
    """Show an answer or a refusal, structured and as text for clients that read nothing else."""
    shown = given.model_dump(mode="json")
    return CallToolResult(
        content=[TextContent(type="text", text=json.dumps(shown, ensure_ascii=False))],
        structured_content=shown,
        is_error=isinstance(given, Refusal),
    )


async def explain_errors(ctx: Context, call_next: CallNext) -> HandlerResult:
    """Give errors of the protocol a code, a reason and a next step, where the SDK gives none."""
    try:
        return await call_next(ctx)
    except ValidationError as error:
        where = ", ".join(sorted({".".join(map(str, row["loc"])) for row in error.errors()}))
        reason = f"{ctx.method[:NAME_SHOWN]}: not as the protocol wants it: {where}"
        refusal = refuse("invalid_params", reason)
        raise MCPError(INVALID_PARAMS, "Invalid request parameters", refusal.model_dump()) from None
    except MCPError as error:
        if error.error.code != METHOD_NOT_FOUND:
            raise
        refusal = refuse("unknown_method", f"there is no method {ctx.method[:NAME_SHOWN]!a}")
        raise MCPError(METHOD_NOT_FOUND, "Method not found", refusal.model_dump()) from None
