"""Every attack of the table, over random logs: each caller hears what the table says.

`python -m tests.receipts.test_attack_matrix` writes the tables of docs/attacks.md anew and prints
what is missed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomics.receipts import verify

from .attack import ATTACKS, BLIND, INTACT, LEVELS, Attack, Case, World

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "attacks.md"
LOGS_PER_ATTACK: Final = 6


@pytest.fixture(autouse=True, scope="module")
def _remember_signatures() -> Iterable[None]:
    """Check each signature once: four callers look at the same checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        cached = functools.lru_cache(maxsize=1024)(verify.verify_ed25519)
        patch.setattr(verify, "verify_ed25519", cached)
        yield


def name_of(attack: Attack) -> str:
    return f"{attack.has}: {attack.name}"


SEEDS = st.integers(0, 2**64 - 1)


@settings(max_examples=LOGS_PER_ATTACK * 3, deadline=None)
@given(SEEDS)
def test_an_intact_log_is_witnessed_and_counted(seed: int) -> None:
    world = World(seed)
    erased = sum(receipt.payload is None for receipt in world.receipts)
    for case in (Case(world.bundle), Case(proof=world.proof(world.pick()))):
        verdicts = [case.judge(level, world.kept) for level in range(len(LEVELS))]
        assert [verdict.code for verdict in verdicts] == [*INTACT]
    counts = Case(world.bundle).judge(3, world.kept)
    assert (counts.present, counts.erased) == (world.size - erased, erased)
    assert counts.warnings == ()


@pytest.mark.parametrize("attack", [*ATTACKS, *BLIND], ids=name_of)
@settings(max_examples=LOGS_PER_ATTACK, deadline=None)
@given(seed=SEEDS)
def test_each_caller_hears_what_the_table_says(attack: Attack, seed: int) -> None:
    world = World(seed)
    case = attack.forge(world)
    for level, expected in enumerate(attack.verdicts):
        verdict = case.judge(level, world.kept)
        assert verdict.code in expected, (LEVELS[level], verdict)
        assert verdict.reason
        if verdict.code == 40 and case.seq is not None:
            assert verdict.seq == case.seq


def test_with_witnesses_and_freshness_no_attack_is_missed() -> None:
    assert [name_of(attack) for attack in ATTACKS if attack.is_missed_at(3)] == []
    missed = [sum(attack.is_missed_at(level) for attack in ATTACKS) for level in range(4)]
    assert missed == sorted(missed, reverse=True)
    assert missed[0] > missed[1] > missed[2] > missed[3] == 0


def test_what_evidence_can_not_show_is_missed_by_everybody() -> None:
    assert all(attack.is_missed_at(level) for attack in BLIND for level in range(4))


# The page


def format_row(attack: Attack) -> str:
    cells = [
        " or ".join(map(str, sorted(codes))) + (" (missed)" if attack.is_missed_at(level) else "")
        for level, codes in enumerate(attack.verdicts)
    ]
    return f"| {attack.name} | {attack.has} | {' | '.join(cells)} |\n"


def format_table(attacks: Sequence[Attack]) -> str:
    missed = [sum(attack.is_missed_at(level) for attack in attacks) for level in range(4)]
    head = ["attack", "the forger has", *(f"you bring {level}" for level in LEVELS)]
    total = f"| **missed of {len(attacks)}** | | {' | '.join(map(str, missed))} |\n"
    lines = [f"| {' | '.join(head)} |\n", "|---" * len(head) + "|\n"]
    intact = f"| nothing: an intact log | | {' | '.join(map(str, INTACT))} |\n"
    return "".join([*lines, intact, *map(format_row, attacks), total])


TABLES: Final = {"attacks": ATTACKS, "blind": BLIND}


def split_at(name: str) -> tuple[str, str, str]:
    head, mark, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    table, end, tail = rest.partition("<!-- end -->")
    return head + mark, table, end + tail


@pytest.mark.parametrize("name", TABLES)
def test_the_page_shows_the_table(name: str) -> None:
    _, shown, _ = split_at(name)
    assert shown == format_table(TABLES[name]), (
        "write it anew with `python -m tests.receipts.test_attack_matrix`"
    )


def write_page() -> None:
    for name, attacks in TABLES.items():
        head, _, tail = split_at(name)
        PAGE.write_text(head + format_table(attacks) + tail, encoding="utf-8")
    for level, caller in enumerate(LEVELS):
        missed = [name_of(attack) for attack in ATTACKS if attack.is_missed_at(level)]
        print(f"who brings {caller} misses {len(missed)} of {len(ATTACKS)}")  # noqa: T201
        for name in missed:
            print(f"  {name}")  # noqa: T201


if __name__ == "__main__":
    write_page()
