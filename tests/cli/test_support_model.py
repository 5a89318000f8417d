from __future__ import annotations

import json
from pathlib import Path

from autonomics.service import read_support_model
from autonomics.tenancy.support_model import describe_support_tier

from .conftest import Shell

PAGE = Path(__file__).resolve().parents[2] / "docs" / "support-model.md"


def test_the_page_shows_what_the_command_prints(shell: Shell) -> None:
    code, out, err = shell.run("support-model")

    assert (code, err) == (0, "")
    block = PAGE.read_text("utf-8").partition("```console\n")[2].partition("```")[0]
    assert block == f"$ autonomics support-model\n{out}"


def test_the_numbers_on_the_page_are_those_of_the_file() -> None:
    page = PAGE.read_text("utf-8")
    tier = read_support_model().tier("enterprise")
    minutes = 30 * 24 * 60
    assert f"30 days have {minutes:,} minutes" in page
    left = tier.allowed_downtime_minutes(30)
    assert f"{tier.uptime_percent} % of them leave {left}." in page


def test_a_program_reads_the_same_as_json(shell: Shell) -> None:
    code, out, _ = shell.run("support-model", "--json")
    model = read_support_model()

    assert code == 0
    assert json.loads(out) == {
        "version": model.version,
        "tiers": [describe_support_tier(tier) for tier in model.tiers.values()],
    }
