"""`health_check`: how the control plane is."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import LineView, Readiness
from autonomics.tools.caller import Caller
from autonomics.tools.sight import narrow_line
from autonomics.tools.tool import Arguments, Gives, Tool


class HealthQuestion(Arguments):
    """Nothing."""


class LineStop(Gives):
    """One open stop of the line."""

    scope: str = Field(description="What is stopped: line, tenant:..., recipe:... or resource:...")
    reason: str
    by: str = Field(description="Who stopped it.")
    at: datetime


class LineState(Gives):
    """The stop-the-line latch, as far as the caller may see it."""

    stopped: bool
    generation: int = Field(description="Rises with each stop and each clearing.")
    stops: tuple[LineStop, ...]


class HealthAnswer(Gives):
    """How the control plane is."""

    status: Readiness = Field(
        description="ready: signals are taken and acted on. Anything else says why not."
    )
    store: str = Field(description="open, or what is wrong with the store.")
    line: LineState
    tenants: int
    tenants_quarantined: int = Field(description="Tenants that keep failing and are kept apart.")
    receipts: int
    effectors: tuple[str, ...] = Field(description="Prefixes of the calls that are carried out.")
    dry_recipes: tuple[str, ...] = Field(
        description="Recipes that only decide: nobody carries out their calls."
    )
    uptime_s: float
    version: str


async def check_health(
    control: ControlPlane, caller: Caller, _question: HealthQuestion
) -> HealthAnswer:
    """Ask ledger and line; what is other tenants' stays theirs."""
    health = await control.health()
    line = health.line
    if caller.principal.tenant_id is not None:
        line = narrow_line(line, await control.tenant(caller.principal.tenant_id))
    return HealthAnswer(
        status=health.readiness,
        store=health.store,
        line=_show_line(line),
        tenants=health.tenants,
        tenants_quarantined=health.tenants_quarantined,
        receipts=health.receipts,
        effectors=health.effectors,
        dry_recipes=health.dry,
        uptime_s=round(health.uptime_s, 3),
        version=health.version,
    )


def _show_line(line: LineView) -> LineState:
    stops = tuple(
        LineStop(scope=stop.scope, reason=stop.reason, by=stop.by, at=stop.at)
        for stop in line.stops
    )
    return LineState(stopped=line.stopped, generation=line.generation, stops=stops)


TOOL = Tool(
    name="health_check",
    title="Health of the control plane",
    about=(
        "Tell whether the control plane takes signals and acts on them: the store, the"
        " stop-the-line latch with the reason of each stop, quarantined tenants, which calls are"
        " carried out and which recipes only decide. Ask this first when something does not work."
    ),
    takes=HealthQuestion,
    gives=HealthAnswer,
    answer=check_health,
)
