from __future__ import annotations

import pytest

from .conftest import Shell


def test_create_prints_both_keys_once(house: Shell) -> None:
    out = house.say("tenants", "create", "once")
    keys = [word for word in out.split() if word.startswith("aut_")]
    assert len(set(keys)) == 2
    assert "aut_" not in house.say("tenants", "show", "once")
    assert "aut_" not in house.say("tenants", "list")


def test_a_tenant_is_shown_as_it_was_created(house: Shell) -> None:
    made = house.value(
        "tenants", "create", "shown", "--name", "Sh own", "--plan", "standard", "--quota", "acts=7"
    )
    tenant = house.value("tenants", "show", "shown")
    assert tenant == {**made["tenant"], "quotas": tenant["quotas"]}
    assert (tenant["name"], tenant["price_plan"], tenant["state"]) == (
        "Sh own",
        "standard",
        "active",
    )
    assert tenant["quotas"]["acts"] == {"used": 0, "limit": 7}
    assert (made["api_key"]["role"], made["push_token"]["role"]) == ("tenant", "push")
    assert "quota acts: 0 of 7 used" in house.say("tenants", "show", "shown")
    assert "shown" in [row["id"] for row in house.value("tenants", "list")["tenants"]]


def test_the_list_has_a_line_for_each_tenant(house: Shell) -> None:
    house.say("tenants", "create", "listed", "--name", "Grüße & Söhne")
    head, *rows = house.say("tenants", "list").splitlines()
    assert head.split()[:3] == ["ID", "LOG", "STATE"]
    (row,) = (row for row in rows if row.startswith("listed "))
    assert row.endswith("  Grüße & Söhne")


def test_a_tenant_is_suspended_resumed_and_closed(house: Shell) -> None:
    house.say("tenants", "create", "moved")
    for verb, state in (("suspend", "suspended"), ("resume", "active"), ("close", "closed")):
        assert house.value("tenants", verb, "moved")["state"] == state
        assert house.value("tenants", "show", "moved")["state"] == state
    assert house.fail("tenants", "resume", "moved")[0] == 1


def test_a_tenant_that_is_not_in_quarantine_may_be_readmitted(house: Shell) -> None:
    house.say("tenants", "create", "readmitted")
    assert house.value("tenants", "readmit", "readmitted")["quarantined"] is False


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "nobody"), "there is no tenant 'nobody'"),
        (("close", "no/body"), "there is none named 'no/body' among the tenants"),
        (("show", ".."), "there is none named '..' among the tenants"),
        (("create", "bad id"), "'bad id'"),
        (("create", "x", "--plan", "gold"), "gold"),
        (("create", "x", "--quota", "wishes=1"), "wishes"),
    ],
)
def test_what_the_control_plane_refuses_is_one_line(
    house: Shell, words: tuple[str, ...], says: str
) -> None:
    code, line = house.fail("tenants", *words)
    assert code == 1
    assert says in line
    assert "x" not in [row["id"] for row in house.value("tenants", "list")["tenants"]]


@pytest.mark.parametrize("quota", ["acts", "acts=", "acts=-1", "=1", "acts=1.5"])
def test_a_quota_that_is_no_name_and_limit_is_misuse(shell: Shell, quota: str) -> None:
    code, line = shell.fail("tenants", "create", "x", "--quota", quota)
    assert code == 2
    assert line.startswith("argument --quota: expected NAME=LIMIT")


def test_a_name_that_is_taken_is_refused(house: Shell) -> None:
    house.say("tenants", "create", "taken")
    assert "'taken'" in house.fail("tenants", "create", "taken")[1]
