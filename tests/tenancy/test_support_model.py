from __future__ import annotations

import hashlib
import re
from calendar import monthrange
from datetime import time
from decimal import Decimal, localcontext
from fractions import Fraction
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomics.errors import InvalidInput
from autonomics.tenancy import PRICE_PLANS
from autonomics.tenancy.support_model import (
    SupportHours,
    SupportTier,
    describe_support_tier,
    parse_support_model,
)

DATA = (files("autonomics.tenancy") / "support_model.toml").read_bytes()
MODEL = parse_support_model(DATA)
PROMISED = ("standard", "professional", "enterprise")
MONTH = 30 * 24 * 60

# A version that has been out is never changed: whoever changes the file raises its version, and
# adds its digest here.
PUBLISHED = {1: "f3a27b8380aa7302a9ca7632a0ccff7741157050e76bd25358cf16e554be4de6"}


def test_what_a_version_promises_stays_what_it_was() -> None:
    assert hashlib.sha256(DATA).hexdigest() == PUBLISHED[MODEL.version]


def test_every_price_plan_has_its_tier_and_there_is_no_other() -> None:
    assert list(MODEL.tiers) == list(PRICE_PLANS)
    for name, tier in MODEL.tiers.items():
        assert (tier.id, tier.title) == (name, PRICE_PLANS[name].title)
        assert MODEL.tier(name) is tier


def test_evaluation_is_best_effort_without_a_promise() -> None:
    tier = MODEL.tier("evaluation")

    assert tier.hours == SupportHours(coverage="best_effort")
    assert (tier.channels, tier.is_human) == (("mcp",), False)
    assert (tier.response_s, tier.uptime_percent) == (None, None)
    assert tier.allowed_downtime_minutes(30) is None
    assert tier.credits == ()
    assert tier.credit_percent(MONTH, MONTH) == 0


@pytest.mark.parametrize(
    ("name", "response_s", "uptime", "coverage"),
    [
        ("standard", 2 * 3600, "99.5", "business"),
        ("professional", 3600, "99.9", "business"),
        ("enterprise", 15 * 60, "99.99", "round_the_clock"),
    ],
)
def test_a_paid_tier_promises_what_is_sold(
    name: str, response_s: int, uptime: str, coverage: str
) -> None:
    tier = MODEL.tier(name)

    assert (tier.response_s, tier.uptime_percent) == (response_s, Decimal(uptime))
    assert tier.hours.coverage == coverage
    assert tier.is_human
    assert "mcp" in tier.channels


def test_hours_read_as_people_say_them() -> None:
    texts = [tier.hours.text for tier in MODEL.tiers.values()]
    week = "Monday to Friday, 08:00 to 18:00 UTC"
    assert texts == ["best effort", week, week, "round the clock"]

    some = SupportHours(
        coverage="business",
        days=("monday", "wednesday", "friday"),
        opens=time(9, 30),
        closes=time(17),
        zone="UTC",
    )
    assert some.text == "Monday, Wednesday, Friday, 09:30 to 17:00 UTC"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("standard", {28: "201.6", 29: "208.8", 30: "216", 31: "223.2"}),
        ("professional", {28: "40.32", 29: "41.76", 30: "43.2", 31: "44.64"}),
        ("enterprise", {28: "4.032", 29: "4.176", 30: "4.32", 31: "4.464"}),
    ],
)
def test_allowed_downtime_follows_from_the_uptime_for_months_of_any_length(
    name: str, allowed: dict[int, str]
) -> None:
    for days, minutes in allowed.items():
        assert MODEL.tier(name).allowed_downtime_minutes(days) == Decimal(minutes)
    leap, common = monthrange(2028, 2)[1], monthrange(2027, 2)[1]
    assert MODEL.tier(name).allowed_downtime_minutes(leap) == Decimal(allowed[29])
    assert MODEL.tier(name).allowed_downtime_minutes(common) == Decimal(allowed[28])


def test_an_embedding_hosts_coarse_decimals_change_no_number() -> None:
    with localcontext() as coarse:
        coarse.prec = 2
        assert MODEL.tier("enterprise").allowed_downtime_minutes(31) == Decimal("4.464")
        assert MODEL.tier("enterprise").credit_percent(MONTH, 5) == 10
        assert parse_support_model(DATA) == MODEL


@pytest.mark.parametrize("days", [0, 367, True, 1.5])
def test_a_period_is_a_whole_number_of_days(days: int) -> None:
    with pytest.raises(InvalidInput, match="expected days to be an integer from 1 to 366"):
        MODEL.tier("standard").allowed_downtime_minutes(days)


def test_the_ladder_of_each_tier_starts_at_its_own_target() -> None:
    for name in PROMISED:
        tier = MODEL.tier(name)
        assert [step.below_percent for step in tier.credits] == [tier.uptime_percent, 99, 95]
        assert [step.percent for step in tier.credits] == [10, 25, 50]


@pytest.mark.parametrize(
    ("name", "down", "percent"),
    [
        ("standard", 0, 0),
        ("standard", 216, 0),  # exactly 99.5 %
        ("standard", 217, 10),
        ("standard", 432, 10),  # exactly 99 %
        ("standard", 433, 25),
        ("standard", 2160, 25),  # exactly 95 %
        ("standard", 2161, 50),
        ("standard", MONTH, 50),
        ("professional", 43, 0),
        ("professional", 44, 10),
        ("enterprise", 4, 0),
        ("enterprise", 5, 10),
        ("enterprise", 432, 10),
        ("enterprise", 433, 25),
    ],
)
def test_uptime_at_a_bound_is_not_below_it(name: str, down: int, percent: int) -> None:
    assert MODEL.tier(name).credit_percent(MONTH, down) == percent


@given(
    name=st.sampled_from(PROMISED),
    minutes=st.sampled_from([days * 1440 for days in (28, 29, 30, 31)]),
    data=st.data(),
)
def test_a_credit_is_that_of_exact_arithmetic_and_grows_with_downtime(
    name: str, minutes: int, data: st.DataObject
) -> None:
    down = data.draw(st.integers(0, minutes))
    tier = MODEL.tier(name)
    uptime = Fraction(minutes - down, minutes) * 100
    target = Fraction(str(tier.uptime_percent))
    expected = 50 if uptime < 95 else 25 if uptime < 99 else 10 if uptime < target else 0

    credit = tier.credit_percent(minutes, down)

    assert credit == expected
    assert credit <= 50
    assert down == 0 or credit >= tier.credit_percent(minutes, down - 1)
    allowed = tier.allowed_downtime_minutes(minutes // 1440)
    assert allowed is not None
    assert (credit == 0) is (down <= allowed)


@pytest.mark.parametrize(
    ("minutes", "down", "name"),
    [(0, 0, "minutes"), (MONTH, -1, "down"), (MONTH, MONTH + 1, "down"), (1.0, 0, "minutes")],
)
def test_a_month_that_can_not_be_gets_no_credit(minutes: int, down: int, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"expected {name} to be an integer from"):
        MODEL.tier("standard").credit_percent(minutes, down)


def test_a_tier_is_described_with_its_numbers_as_texts() -> None:
    shown = describe_support_tier(MODEL.tier("professional"))

    assert shown == {
        "tier": "professional",
        "title": "Professional",
        "hours": {
            "coverage": "business",
            "text": "Monday to Friday, 08:00 to 18:00 UTC",
            "days": ["monday", "tuesday", "wednesday", "thursday", "friday"],
            "opens": "08:00",
            "closes": "18:00",
            "zone": "UTC",
        },
        "human": True,
        "channels": ["mcp", "email", "chat"],
        "response_s": 3600,
        "uptime_percent": "99.9",
        "allowed_downtime_minutes_per_30_days": "43.2",
        "credits": [
            {"uptime_below_percent": "99.9", "percent_of_monthly_fee": "10"},
            {"uptime_below_percent": "99.0", "percent_of_monthly_fee": "25"},
            {"uptime_below_percent": "95.0", "percent_of_monthly_fee": "50"},
        ],
        "model_version": MODEL.version,
    }
    best_effort = describe_support_tier(MODEL.tier("evaluation"))
    assert best_effort["uptime_percent"] is None
    assert best_effort["allowed_downtime_minutes_per_30_days"] is None
    assert best_effort["hours"]["opens"] is None


def edited(old: str, new: str) -> bytes:
    text = DATA.decode()
    assert old in text
    return text.replace(old, new, 1).encode()


def without(line: str) -> bytes:
    return edited(f"\n{line}\n", "\n")


def test_a_step_that_the_target_does_not_exceed_is_left_out() -> None:
    def steps(tier: SupportTier) -> list[str]:
        return [f"{step.below_percent}" for step in tier.credits]

    at_bound = parse_support_model(edited("uptime_percent = 99.5", "uptime_percent = 99"))
    assert steps(at_bound.tier("standard")) == ["99", "95.0"]
    under_all = parse_support_model(edited("uptime_percent = 99.5", "uptime_percent = 94.5"))
    assert steps(under_all.tier("standard")) == ["94.5"]
    assert under_all.tier("standard").credit_percent(1000, 55) == 0
    assert under_all.tier("standard").credit_percent(1000, 56) == 10


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "expected the support model to be TOML"),
        (b"schema = ", "expected the support model to be TOML"),
        (b"schema = 1e99999999999999999999", "expected the support model to be TOML"),
        (b"", "expected schema to be an integer from 1 to 1000000, got no such key"),
        (edited("schema = 1", "schema = 2"), "expected schema to be 1, which this program reads"),
        (edited("schema = 1", "schema = true"), "expected schema to be an integer"),
        (edited("version = 1", "version = 0"), "expected version to be an integer from 1"),
        (edited("version = 1", "vresion = 1"), "expected version to be"),
        (
            edited("schema = 1", "schema = 1\ntier = 1"),
            "expected keys of the support model .*, got 'tier'; did you mean 'tiers'?",
        ),
        (edited("schema = 1", "schema = 1\nzzz = 1"), r"got 'zzz'$"),
        (edited("[business_hours]", "[office]"), "business_hours to be a table, got no such key"),
        (edited('["monday", ', '["sunday", '), "business_hours.days to be in the order"),
        (edited('["monday", ', '["friday", '), "business_hours.days to be a list of different"),
        (edited('"monday"', '"moonday"'), "business_hours.days to be a list of different"),
        (edited("opens = 08:00:00", "opens = 08:00:01"), "opens to be a time of the day in whole"),
        (edited("opens = 08:00:00", "opens = 08:00:00.5"), "opens to be a time of the day in who"),
        (edited("opens = 08:00:00", 'opens = "08:00"'), "business_hours.opens to be a time of"),
        (edited("closes = 18:00:00", "closes = 08:00:00"), "closes to be after 08:00, got '08:00'"),
        (edited('"UTC"', '"CET"'), r"business_hours.zone to be one of \['UTC'\], got 'CET'"),
        (edited("zone =", "zones = 1\nzone ="), "of business_hours .*; did you mean 'zone'?"),
        (edited("cap_percent = 50", "cap_percent = 40"), r"steps\[2\].percent to be at most the c"),
        (edited("cap_percent = 50", "cap_percent = 101"), "cap_percent to be a number above 0"),
        (edited('"target"', "99.9"), r"steps\[0\].below to be one of \['target'\], got Dec"),
        (edited("below = 99.0", 'below = "target"'), r"steps\[1\].below to be a number above 0"),
        (edited("below = 95.0", "below = 99.0"), r"steps\[2\].below to be less than 99.0"),
        (edited("percent = 25", "percent = 10"), r"steps\[1\].percent to be more than 10"),
        (edited("percent = 25", "percent = 25, of = 1"), r"keys of service_credits.steps\[1\]"),
        (
            re.sub(rb"steps = \[.*?\n\]", b"steps = []", DATA, flags=re.DOTALL),
            "tables, at least one",
        ),
        (
            re.sub(rb"steps = \[.*?\n\]", b"steps = [1]", DATA, flags=re.DOTALL),
            "tables, at least one",
        ),
        (edited("steps = [", "more = 1\nsteps = ["), "keys of service_credits to be"),
        (edited("[tiers.standard]", "[tiers.standart]"), "plans .*; did you mean 'standard'?"),
        (edited("[tiers.standard]", "[tiers.zzz]"), r"price plans .*, got 'zzz'$"),
        (
            re.sub(rb"\[tiers.enter.*", b"", DATA, flags=re.DOTALL),
            "tiers.enterprise to be a table, got no",
        ),
        (edited('"best_effort"', '"never"'), "tiers.evaluation.hours to be one of"),
        (edited("human = false", 'human = "no"'), "evaluation.human to be true or false"),
        (edited("human = false", "human = true"), "evaluation.human to be true where a channel"),
        (edited('["mcp", "email"]', '["mcp"]'), "standard.human to be true where a channel"),
        (edited('["mcp"]', "[]"), "evaluation.channels to be a list of different words"),
        (edited('["mcp"]', '["mcp", "mcp"]'), "evaluation.channels to be a list of different"),
        (edited('["mcp"]', '["fax"]'), "evaluation.channels to be a list of different words"),
        (edited("human = false", "human = false\nuptime_percent = 99"), "keys of tiers.evaluation"),
        (without("response_minutes = 120"), "standard.response_minutes to be an integer from 1"),
        (edited("response_minutes = 15", "response_minutes = 0"), "response_minutes to be an int"),
        (without("uptime_percent = 99.9"), "professional.uptime_percent to be a number above 0"),
        (edited("uptime_percent = 99.9", "uptime_percent = 100"), "below 100, which nobody can"),
        (edited("uptime_percent = 99.9", "uptime_percent = 0"), "uptime_percent to be a number"),
        (edited("uptime_percent = 99.9", "uptime_percent = nan"), "uptime_percent to be a number"),
        (edited("uptime_percent = 99.9", "uptime_percent = inf"), "uptime_percent to be a number"),
        (edited("uptime_percent = 99.9", "uptime_percent = true"), "uptime_percent to be a numbe"),
        (
            edited("uptime_percent = 99.9", "uptime_percent = 99.9999999"),
            "at most 6 decimal places",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_that_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_support_model(data)
