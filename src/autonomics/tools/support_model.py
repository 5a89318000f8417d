"""`support_model`: what support the tenant's price plan comes with."""

from __future__ import annotations

from pydantic import Field

from autonomics.actors.control_plane import ControlPlane
from autonomics.tenancy.support_model import Coverage, describe_support_tier
from autonomics.tools.caller import Caller
from autonomics.tools.tool import Arguments, Gives, Tool


class SupportQuestion(Arguments):
    """Nothing."""


class Hours(Gives):
    """When somebody is there; the parts are null or empty where nothing is promised."""

    coverage: Coverage
    text: str
    days: tuple[str, ...]
    opens: str | None
    closes: str | None
    zone: str | None


class Credit(Gives):
    """A step of the ladder of service credits; percents are decimals as text."""

    uptime_below_percent: str
    percent_of_monthly_fee: str


class SupportAnswer(Gives):
    """The support tier of the tenant; null means: not promised."""

    tier: str
    title: str
    hours: Hours
    human: bool = Field(description="Whether a person answers.")
    channels: tuple[str, ...]
    response_s: int | None = Field(description="First response within so many seconds of hours.")
    uptime_percent: str | None
    allowed_downtime_minutes_per_30_days: str | None
    credits: tuple[Credit, ...]
    model_version: int


async def tell_support_model(
    control: ControlPlane, caller: Caller, _question: SupportQuestion
) -> SupportAnswer:
    """Tell the tier of the caller's tenant."""
    tier = await control.support_model(caller.expect_tenant())
    return SupportAnswer.model_validate(describe_support_tier(tier))


TOOL = Tool(
    name="support_model",
    title="Support model of the tenant",
    about=(
        "Tell what support the caller's tenant has: hours, channels, whether a person answers,"
        " response time, promised uptime with the downtime that it allows, and service credits."
    ),
    takes=SupportQuestion,
    gives=SupportAnswer,
    answer=tell_support_model,
)
