"""People at the door: found and erased by admins, with the name in the body alone."""

from __future__ import annotations

import pytest

from autonomics.testing.door import House, expect_problem

ALICE = "alice@example.com"


async def test_all_that_names_a_person_is_found_and_erased(house: House) -> None:
    async with house.client("tenant") as client:
        sent = await client.post("/v1/signals", json={"text": f"called by {ALICE}"})
        receipt = sent.json()["receipts"]["received"]
    async with house.client("admin") as client:
        found = await client.post("/v1/subjects/find", json={"subject": ALICE})
        assert found.status_code == 200
        rows = {row["receipt"]: row for row in found.json()["receipts"]}
        assert rows[receipt] == {"receipt": receipt, "kind": "received", "kept": None}

        body = {"subject": ALICE.upper(), "reason": "asked"}
        done = await client.post("/v1/subjects/erase", json=body)
        assert done.status_code == 200
        assert {row["receipt"] for row in done.json()["erased"]} == set(rows)
        assert done.json()["kept"] == []
        shown = (await client.get(f"/v1/receipts/{receipt}")).json()
        assert shown["erased"] is True
        assert shown["payload"] is None
        again = await client.post("/v1/subjects/erase", json=body)
        assert ALICE not in again.text.casefold()
        expect_problem(again, 404, "unknown_subject")


async def test_whom_nothing_names_is_unknown(house: House) -> None:
    async with house.client("admin") as client:
        for verb, more in (("find", {}), ("erase", {"reason": "asked"})):
            body = {"subject": "bob@example.com", **more}
            problem = await client.post(f"/v1/subjects/{verb}", json=body)
            expect_problem(problem, 404, "unknown_subject")


@pytest.mark.parametrize("role", ["tenant", "push"])
@pytest.mark.parametrize("verb", ["find", "erase"])
async def test_only_admins_may_ask(house: House, role: str, verb: str) -> None:
    async with house.client(role) as client:
        response = await client.post(f"/v1/subjects/{verb}", json={"subject": ALICE})
        expect_problem(response, 403, "role_may_not")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"subject": ALICE}, "expected reason to be"),
        ({"subject": "", "reason": "asked"}, "expected subject to be"),
        ({"subject": "a\nb", "reason": "asked"}, "expected subject to be"),
        ({"subject": ALICE, "reason": f"{ALICE} asked"}, "expected reason to be"),
        ({"subject": ALICE, "reason": "asked", "more": 1}, "unknown member 'more'"),
    ],
)
async def test_bad_input_is_told(house: House, body: dict[str, object], words: str) -> None:
    async with house.client("admin") as client:
        problem = expect_problem(
            await client.post("/v1/subjects/erase", json=body), 422, "invalid_input"
        )
        assert words in problem["detail"]
