from __future__ import annotations

from string import Formatter

import pytest

from autonomics.errors import InvalidInput
from autonomics.gates import CATALOGUE, GATES, refusal_named, refuse
from autonomics.receipts.canonical import encode

STATUSES = {401, 403, 404, 409, 413, 422, 423, 429}
OUTSIDE_OF_GATES = {"any", "diagnosis", "monitor", "door"}


def test_every_refusal_has_a_lawful_status_and_a_next_step() -> None:
    for code, row in CATALOGUE.items():
        assert row.code == code
        assert row.status in STATUSES
        assert row.next.step
        assert row.next.who


def test_every_refusal_belongs_to_a_gate() -> None:
    gates = {gate.name for gate in GATES} | OUTSIDE_OF_GATES

    assert {row.gate for row in CATALOGUE.values()} == gates


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("line_stopped", 423),
        ("legal_hold", 423),
        ("unauthenticated", 401),
        ("not_entitled", 403),
        ("unknown_tenant", 404),
        ("signal_too_large", 413),
        ("quota_exhausted", 429),
        ("bounds_exceeded", 429),
        ("precondition_failed", 422),
        ("recurrence", 422),
    ],
)
def test_the_status_says_more_than_422_where_it_can(code: str, status: int) -> None:
    assert refusal_named(code).status == status


def test_a_refusal_fills_its_rule_and_can_be_recorded() -> None:
    for code, row in CATALOGUE.items():
        names = [name for _, name, _, _ in Formatter().parse(row.rule) if name]
        verdict = refuse("own", code, subject="it", step="do", **dict.fromkeys(names, "x"))  # type: ignore[arg-type]

        assert verdict.reason.startswith("it may not act: ")
        assert encode(verdict.record())
        assert verdict.next is not None
        assert verdict.next.step == "do"


def test_an_unknown_code_names_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="did you mean 'line_stopped'"):
        refusal_named("line_stoped")
    with pytest.raises(InvalidInput, match="got 'zzz'$"):
        refusal_named("zzz")
