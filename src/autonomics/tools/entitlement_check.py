"""`entitlement_check`: what the caller's tenant has bought, and what is left of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autonomics.actors.control_plane import ControlPlane
from autonomics.actors.message import EntitlementView
from autonomics.gates.verdict import Verdict
from autonomics.gates.verdict import refuse as refuse_at_gate
from autonomics.tenancy.price_plan import covers_recipe
from autonomics.tools.caller import Caller
from autonomics.tools.refusal import Refusal, refusal_of, refuse
from autonomics.tools.tool import Arguments, Gives, Tool, did_you_mean

Name = Annotated[str, Field(min_length=1, max_length=127)]


class EntitlementQuestion(Arguments):
    """A recipe, a quota, both, or neither: then everything is told."""

    recipe: Name | None = Field(
        default=None, description="Id of a recipe, such as run.oom_memory_limit."
    )
    quota: Name | None = Field(default=None, description="Name of a quota, such as acts.")


class QuotaState(Gives):
    """One quota of this month; `used` and `left` are null where nobody can tell now."""

    name: str
    limit: int
    used: int | None
    left: int | None
    ceiling: int = Field(description="The highest limit that the price plan allows.")


class EntitlementAnswer(Gives):
    """What the tenant may have done for it."""

    entitled: bool = Field(description="Yes or no to what was asked; no comes with a refusal.")
    refusal: Refusal | None = Field(description="Why not, and the next lawful step.")
    tenant: str
    state: str = Field(description="Acts need a tenant that is active.")
    price_plan: str
    recipe: str | None = Field(description="The recipe that was asked for.")
    recipes: tuple[str, ...] = Field(
        description="Recipes that the price plan pays for: ids, area.* or *."
    )
    quotas: tuple[QuotaState, ...] = Field(description="The one asked for, else all.")


async def check_entitlement(
    control: ControlPlane, caller: Caller, question: EntitlementQuestion
) -> EntitlementAnswer | Refusal:
    """Answer yes, or no with the refusal that a gate would give."""
    view = await control.entitlement(caller.expect_tenant())
    wrong = _find_unknown(view, question)
    if wrong is not None:
        return wrong
    verdict = _judge(view, question)
    return EntitlementAnswer(
        entitled=verdict is None,
        refusal=None if verdict is None else refusal_of(verdict),
        tenant=view.tenant_id,
        state=view.state,
        price_plan=view.price_plan,
        recipe=question.recipe,
        recipes=view.recipes,
        quotas=_show_quotas(view, question.quota),
    )


def _find_unknown(view: EntitlementView, question: EntitlementQuestion) -> Refusal | None:
    for what, name, known in (
        ("recipe", question.recipe, view.known_recipes),
        ("quota", question.quota, tuple(view.quotas)),
    ):
        if name is not None and name not in known:
            return refuse(
                "invalid_arguments", f"there is no {what} {name!a}{did_you_mean(name, known)}"
            )
    if question.quota is not None and view.quotas[question.quota].used is None:
        return refuse(
            "tenant_unavailable", f"nobody can tell now what is used of quota {question.quota}"
        )
    return None


def _judge(view: EntitlementView, question: EntitlementQuestion) -> Verdict | None:
    """Return the first refusal, in the order of the gates; None: entitled."""
    who = f"tenant {view.tenant_id}"
    if view.state != "active":
        return refuse_at_gate("tenant_state", "tenant_not_active", subject=who, state=view.state)
    if not view.is_current:
        return refuse_at_gate("entitlement", "entitlement_missing", subject=who)
    recipe = question.recipe
    if recipe is not None and not any(covers_recipe(row, recipe) for row in view.recipes):
        return refuse_at_gate(
            "entitlement",
            "not_entitled",
            subject=who,
            verb=f"act by {recipe}",
            price_plan=view.price_plan,
        )
    quota = None if question.quota is None else view.quotas[question.quota]
    if quota is not None and (quota.used is None or quota.used >= quota.limit):
        return refuse_at_gate(
            "quota",
            "quota_exhausted",
            subject=who,
            verb=f"use quota {question.quota}",
            quota=question.quota,
            limit=quota.limit,
            used=quota.used,
        )
    return None


def _show_quotas(view: EntitlementView, asked: str | None) -> tuple[QuotaState, ...]:
    return tuple(
        QuotaState(
            name=name,
            limit=row.limit,
            used=row.used,
            left=None if row.used is None else max(0, row.limit - row.used),
            ceiling=row.ceiling,
        )
        for name, row in view.quotas.items()
        if asked in (None, name)
    )


TOOL = Tool(
    name="entitlement_check",
    title="What the tenant is entitled to",
    about=(
        "Tell whether the caller's tenant may have a recipe act for it, or how much of a quota is"
        " used and left this month. Give a recipe, a quota, both, or neither for everything. No is"
        " an answer: it comes with code, reason and the next lawful step. Nothing is changed."
    ),
    takes=EntitlementQuestion,
    gives=EntitlementAnswer,
    answer=check_entitlement,
)
