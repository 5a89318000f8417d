"""What the four tools answer, on every kind of control plane."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from autonomics.actors.message import Inbound
from autonomics.actors.receipt_view import parse_receipt_id
from autonomics.service import read_support_model
from autonomics.tenancy.price_plans import PRICE_PLANS
from autonomics.tenancy.support_model import describe_support_tier
from autonomics.testing.memory_control_plane import MemoryControlPlane

# The file is loaded by path, so a relative import would have no parent.
Desk = Any


async def signal(desk: Desk, tenant: str = "acme") -> str:
    """Submit a signal, and return the id of its receipt."""
    inbound = Inbound(tenant, "test", "m-1", b'{"severity": "ERROR"}')
    accepted = (await desk.control.submit_and_wait(inbound)).accepted
    receipt_id: str = accepted.receipt.id
    return receipt_id


# health_check


async def test_health_tells_readiness_store_line_and_version(desk: Desk) -> None:
    health = await desk.answer("health_check")
    real = await desk.control.health()
    assert health["status"] == "ready"
    assert health["line"] == {"stopped": False, "generation": 0, "stops": []}
    assert (health["tenants"], health["tenants_quarantined"]) == (2, 0)
    assert (health["store"], health["version"]) == (real.store, real.version)
    assert (health["effectors"], health["dry_recipes"]) == (list(real.effectors), list(real.dry))
    assert health["receipts"] > 0
    assert health["uptime_s"] >= 0


async def test_health_tells_why_the_line_is_stopped(desk: Desk) -> None:
    await desk.control.stop_line("line", "the store smells of burning", "op")
    health = await desk.answer("health_check")
    assert health["status"] == "line_stopped"
    assert health["line"]["stopped"] is True
    (stop,) = health["line"]["stops"]
    assert (stop["reason"], stop["by"]) == ("the store smells of burning", "op")


async def test_health_shows_a_tenant_no_stop_of_another(desk: Desk) -> None:
    await desk.control.stop_line("tenant:globex", "theirs", "op")
    own = await desk.answer("health_check")
    assert own["line"]["stops"] == []
    assert own["line"]["stopped"] is False
    for tenant in (None, "acme"):  # an operator sees all, whatever tenant it asks for
        result = await desk.call("health_check", tenant=tenant, role="operator")
        assert [stop["reason"] for stop in result.structured_content["line"]["stops"]] == ["theirs"]


async def test_health_is_an_answer_while_the_store_is_down(memory_desk: Desk) -> None:
    assert isinstance(memory_desk.control, MemoryControlPlane)
    memory_desk.control.is_store_down = True
    assert (await memory_desk.answer("health_check"))["status"] == "store_unavailable"


# entitlement_check


async def test_a_recipe_of_the_price_plan_is_granted(desk: Desk) -> None:
    answer = await desk.answer("entitlement_check", {"recipe": "run.oom_memory_limit"})
    assert (answer["entitled"], answer["refusal"]) == (True, None)
    assert (answer["tenant"], answer["state"], answer["price_plan"]) == (
        "acme",
        "active",
        "standard",
    )
    assert answer["recipes"] == ["run.*", "ent.*", "pubsub.*"]


async def test_a_recipe_that_is_not_paid_for_is_answered_with_no(memory_desk: Desk) -> None:
    answer = await memory_desk.answer("entitlement_check", {"recipe": "opt.idle"})
    assert answer["entitled"] is False
    assert answer["refusal"] == {
        "code": "not_entitled",
        "reason": "tenant acme may not act by opt.idle: the tenant's entitlement does not cover"
        " this recipe (price plan standard)",
        "next_step": "choose a price plan that includes the recipe",
        "who": "tenant",
    }


async def test_a_tenant_that_is_not_active_is_entitled_to_no_act(desk: Desk) -> None:
    await desk.control.change_tenant("acme", "suspend", "op")
    answer = await desk.answer("entitlement_check", {"recipe": "run.oom_memory_limit"})
    assert (answer["entitled"], answer["state"]) == (False, "suspended")
    assert answer["refusal"]["code"] == "tenant_not_active"
    assert answer["refusal"]["who"] == "administrator"


async def test_a_quota_is_told_with_what_is_used_and_left(tree_desk: Desk) -> None:
    await signal(tree_desk)
    answer = await tree_desk.answer("entitlement_check", {"quota": "signals"})
    assert answer["entitled"] is True
    assert answer["quotas"] == [
        {
            "name": "signals",
            "limit": 1_000_000,
            "used": 1,
            "left": 999_999,
            "ceiling": 5_000_000,
        }
    ]


async def test_a_quota_that_is_used_up_is_answered_with_no(desk: Desk) -> None:
    await desk.control.create_tenant("frugal", "Frugal", "standard", "test", {"acts": 0})
    result = await desk.call("entitlement_check", {"quota": "acts"}, tenant="frugal")
    answer = result.structured_content
    assert (result.is_error, answer["entitled"]) == (False, False)
    assert answer["refusal"]["code"] == "quota_exhausted"
    assert "(limit=0, used=0)" in answer["refusal"]["reason"]
    assert answer["quotas"][0]["left"] == 0


async def test_a_question_without_arguments_tells_everything(desk: Desk) -> None:
    answer = await desk.answer("entitlement_check")
    assert answer["entitled"] is True
    assert [row["name"] for row in answer["quotas"]] == ["acts", "signals", "recipes"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"recipe": "run.oom_memory"}, "did you mean run.oom_memory_limit?"),
        ({"quota": "signal"}, "there is no quota 'signal'; did you mean signals?"),
        ({"recip": "x"}, "unknown argument 'recip'; did you mean recipe?"),
        ({"recipe": 7}, "expected recipe to be a valid string, got 7"),
        ({"recipe": ""}, "expected recipe to have at least 1 character, got ''"),
        ({"recipe": {"a": [1]}}, "expected recipe to be a valid string, got {'a': [1]}"),
        ({"tenant": "globex"}, "unknown argument 'tenant'"),
    ],
)
async def test_arguments_that_do_not_fit_are_named(
    memory_desk: Desk, arguments: dict[str, Any], reason: str
) -> None:
    refusal = await memory_desk.refusal("entitlement_check", arguments)
    assert refusal["code"] == "invalid_arguments"
    assert reason in refusal["reason"]


async def test_the_usage_of_a_closed_tenant_can_not_be_told(tree_desk: Desk) -> None:
    await tree_desk.control.change_tenant("acme", "close", "op")
    answer = await tree_desk.answer("entitlement_check")
    assert (answer["entitled"], answer["state"]) == (False, "closed")
    assert {row["used"] for row in answer["quotas"]} == {None}
    refusal = await tree_desk.refusal("entitlement_check", {"quota": "acts"})
    assert refusal["code"] == "tenant_unavailable"


# receipt_verify


async def test_an_own_receipt_is_verified_with_log_and_tree_size(desk: Desk) -> None:
    receipt = await signal(desk)
    answer = await desk.answer("receipt_verify", {"receipt": receipt})
    _, seq = parse_receipt_id(receipt) if len(receipt) > 16 else ("", int(receipt.split(".")[1]))
    assert (answer["verified"], answer["verdict"], answer["code"]) == (True, "consistent", 10)
    assert answer["log"].endswith(await desk.handle())
    assert answer["tree_size"] > seq
    assert answer["key"] == "the server's"
    assert "Ed25519 signature of the checkpoint" in answer["checks"]


async def test_a_receipt_is_held_to_the_callers_own_key(desk: Desk) -> None:
    receipt = await signal(desk)
    vkey = await desk.control.verifier_key("acme")
    good = await desk.answer("receipt_verify", {"receipt": receipt, "vkey": vkey})
    assert (good["verified"], good["key"]) == (True, "yours")
    foreign = await desk.control.verifier_key("globex")
    bad = await desk.answer("receipt_verify", {"receipt": receipt, "vkey": foreign})
    assert (bad["verified"], bad["code"]) == (False, 40)


@pytest.mark.parametrize("receipt_id", ["{globex}.0", "{acme}.999", "nonsense", "platform.0", "x."])
async def test_what_is_no_receipt_of_the_tenant_is_not_found(desk: Desk, receipt_id: str) -> None:
    names = {name: await desk.handle(name) for name in ("acme", "globex")}
    shown = receipt_id.format(**names)
    refusal = await desk.refusal("receipt_verify", {"receipt": shown.ljust(3, "0")})
    assert refusal["code"] == "unknown_receipt"


async def test_an_operator_verifies_the_platforms_receipts(desk: Desk) -> None:
    result = await desk.call(
        "receipt_verify", {"receipt": "platform.0"}, tenant=None, role="operator"
    )
    assert result.structured_content["verified"] is True
    assert result.structured_content["log"].endswith("/platform")


async def test_a_proof_of_ones_own_needs_no_tenant(desk: Desk) -> None:
    receipt = await signal(desk)
    proof = (await desk.control.proof(receipt)).decode()
    vkey = await desk.control.verifier_key("acme")
    result = await desk.call(
        "receipt_verify", {"proof": proof, "vkey": vkey}, tenant=None, role="admin"
    )
    assert result.structured_content["code"] == 10
    alone = await desk.call("receipt_verify", {"proof": proof}, tenant=None, role="admin")
    answer = alone.structured_content
    assert (answer["verified"], answer["verdict"], answer["code"]) == (False, "unanchored", 20)
    assert answer["key"] == "none"


def tamper(proof: bytes) -> bytes:
    """Change one character of the payload in a proof."""
    lines = proof.split(b"\n")
    extra = json.loads(base64.b64decode(lines[1].removeprefix(b"extra ")))
    payload = extra["payload"]
    extra["payload"] = payload[:-2] + ("x" if payload[-2] != "x" else "y") + payload[-1]
    lines[1] = b"extra " + base64.b64encode(json.dumps(extra).encode())
    return b"\n".join(lines)


async def test_a_proof_that_was_tampered_with_is_not_verified(desk: Desk) -> None:
    receipt = await signal(desk)
    proof = tamper(await desk.control.proof(receipt)).decode()
    vkey = await desk.control.verifier_key("acme")
    answer = await desk.answer("receipt_verify", {"proof": proof, "vkey": vkey})
    assert (answer["verified"], answer["verdict"], answer["code"]) == (False, "invalid", 40)
    assert answer["reason"] == "payload does not match its commitment"


class Forger(MemoryControlPlane):
    """A server whose own receipts were tampered with."""

    async def proof(self, receipt_id: str) -> bytes:
        return tamper(await super().proof(receipt_id))


async def test_a_receipt_that_was_tampered_with_here_is_not_verified(memory_desk: Desk) -> None:
    control = Forger()
    await control.create_tenant("acme", "Acme", "standard", "test")
    desk = type(memory_desk)(control)
    receipt = await signal(desk)
    answer = await desk.answer("receipt_verify", {"receipt": receipt})
    assert (answer["verified"], answer["code"]) == (False, 40)
    assert answer["seq"] == int(receipt.rpartition(".")[2])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "expected one of receipt and proof to be given, got neither"),
        ({"receipt": "a.1", "proof": "x"}, "expected one of receipt and proof to be given, got"),
        ({"proof": "x", "vkey": "nonsense"}, "expected vkey to be a C2SP verifier key"),
    ],
)
async def test_a_question_about_nothing_or_two_things_is_refused(
    memory_desk: Desk, arguments: dict[str, Any], reason: str
) -> None:
    refusal = await memory_desk.refusal("receipt_verify", arguments)
    assert refusal["code"] == "invalid_arguments"
    assert reason in refusal["reason"]


async def test_what_is_no_proof_is_not_verified(memory_desk: Desk) -> None:
    answer = await memory_desk.answer("receipt_verify", {"proof": "\u00e9 \ud7ff"})
    assert (answer["verified"], answer["reason"]) == (False, "not a tlog-proof")
    assert (answer["log"], answer["tree_size"]) == (None, None)


# support_model


@pytest.mark.parametrize("plan", PRICE_PLANS)
async def test_the_support_model_is_that_of_the_price_plan(desk: Desk, plan: str) -> None:
    await desk.control.create_tenant("new", "New", plan, "test")
    result = await desk.call("support_model", tenant="new")
    assert result.structured_content == describe_support_tier(read_support_model().tier(plan))


# All of them


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("entitlement_check", {}),
        ("receipt_verify", {"receipt": "abc.1"}),
        ("support_model", {}),
    ],
)
@pytest.mark.parametrize("role", ["operator", "admin"])
async def test_who_names_no_tenant_is_told_how_to(
    memory_desk: Desk, tool: str, arguments: dict[str, Any], role: Any
) -> None:
    refusal = await memory_desk.refusal(tool, arguments, tenant=None, role=role)
    assert refusal["code"] == "tenant_not_named"
    assert "--tenant" in refusal["next_step"]


@pytest.mark.parametrize("tool", ["entitlement_check", "support_model"])
async def test_a_tenant_that_nobody_has_created_is_refused(desk: Desk, tool: str) -> None:
    refusal = await desk.refusal(tool, tenant="nobody", role="operator")
    assert refusal["code"] == "unknown_tenant"
