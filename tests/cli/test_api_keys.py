from __future__ import annotations

from .conftest import Shell


def test_a_key_is_made_listed_and_revoked(house: Shell) -> None:
    house.say("tenants", "create", "holder")
    made = house.value("api-keys", "create", "--role", "push", "--tenant", "holder")
    assert (made["role"], made["tenant"]) == ("push", "holder")
    listed = {row["id"]: row for row in house.value("api-keys", "list")["api_keys"]}
    assert listed[made["id"]]["revoked_at"] is None
    assert made["secret"] not in str(listed)
    assert house.value("api-keys", "revoke", made["id"])["revoked_at"] is not None
    (row,) = (row for row in house.say("api-keys", "list").splitlines() if made["id"] in row)
    assert row.split()[:3] == [made["id"], "push", "holder"]
    assert "is revoked since" in house.say("api-keys", "revoke", made["id"])


def test_a_key_is_printed_once_for_people(house: Shell) -> None:
    out = house.say("api-keys", "create", "--role", "admin")
    assert out.count("aut_") == 1


def test_a_tenant_key_needs_its_tenant(house: Shell) -> None:
    code, line = house.fail("api-keys", "create", "--role", "tenant")
    assert code == 1
    assert line.startswith("expected tenant to be named for tenant and push keys")


def test_a_role_that_nobody_may_hand_out_is_misuse(house: Shell) -> None:
    code, line = house.fail("api-keys", "create", "--role", "operator")
    assert code == 2
    assert "invalid choice: 'operator'" in line


def test_a_key_that_nobody_has_can_not_be_revoked(house: Shell) -> None:
    assert house.fail("api-keys", "revoke", "00000000")[1].startswith("there is no key '00000000'")
    line = "there is none named '0/0' among the api keys"
    assert house.fail("api-keys", "revoke", "0/0") == (1, line)
