"""What support each price plan comes with: hours, response time, uptime and service credits.

All numbers stand in `support_model.toml`; what follows from them is computed here, exactly.
Percents and minutes are decimals, never floats.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import time
from decimal import Context, Decimal, Inexact
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar, cast

from attrs import field, frozen

from autonomics.errors import InvalidInput
from autonomics.tenancy.price_plans import PRICE_PLANS

SCHEMA: Final = 1
MINUTES_A_DAY: Final = 24 * 60
MAX_DAYS: Final = 366
MAX_RESPONSE_MINUTES: Final = 7 * MINUTES_A_DAY
MAX_PLACES: Final = 6
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CHANNELS: Final = ("mcp", "email", "chat", "phone")

Coverage = Literal["best_effort", "business", "round_the_clock"]

# Whoever embeds us may have a coarse context of their own; ours never rounds.
_EXACT: Final = Context(prec=60, traps=[Inexact])
_HUNDRED: Final = Decimal(100)
T = TypeVar("T")


@frozen(kw_only=True)
class SupportHours:
    """When somebody is there. `opens` and `closes` are of the wall clock in `zone`.

    Best effort promises no hours, so it has none; round the clock has no first and last minute.
    """

    coverage: Coverage
    days: tuple[str, ...] = ()
    opens: time | None = None
    closes: time | None = None
    zone: str | None = None

    @property
    def text(self) -> str:
        """The hours for people."""
        if self.opens is None or self.closes is None:
            return self.coverage.replace("_", " ")
        days = [day.capitalize() for day in self.days]
        start = WEEKDAYS.index(self.days[0])
        is_run = self.days == WEEKDAYS[start : start + len(days)]
        shown = f"{days[0]} to {days[-1]}" if is_run and len(days) > 2 else ", ".join(days)
        return f"{shown}, {self.opens:%H:%M} to {self.closes:%H:%M} {self.zone}"


@frozen
class ServiceCredit:
    """A step of the ladder: uptime below one percentage gives back another of the month's fee."""

    below_percent: Decimal
    percent: Decimal


@frozen(kw_only=True)
class SupportTier:
    """The support of one price plan, whose id it bears.

    `response_s` runs within `hours`. `uptime_percent` is None where none is promised; then there
    are no credits. `credits` fall in `below_percent` and rise in `percent`.
    """

    id: str
    title: str
    hours: SupportHours
    is_human: bool
    channels: tuple[str, ...]
    response_s: int | None
    uptime_percent: Decimal | None
    credits: tuple[ServiceCredit, ...]
    model_version: int

    def allowed_downtime_minutes(self, days: int) -> Decimal | None:
        """Give the minutes that a period of so many days may be down; None without a promise."""
        _expect_whole("days", days, 1, MAX_DAYS)
        if self.uptime_percent is None:
            return None
        down = _EXACT.subtract(_HUNDRED, self.uptime_percent)
        minutes = _EXACT.multiply(Decimal(days * MINUTES_A_DAY), down).scaleb(-2, _EXACT)
        return minutes.normalize(_EXACT)

    def credit_percent(self, minutes: int, down: int) -> Decimal:
        """Give the credit, in percent of the month's fee, for a month of which so much was down.

        Uptime at a step's bound is not below it. It is compared as a product, which never rounds:
        most shares of a month are no finite decimal.
        """
        _expect_whole("minutes", minutes, 1, MAX_DAYS * MINUTES_A_DAY)
        _expect_whole("down", down, 0, minutes)
        up = Decimal((minutes - down) * 100)
        return max(
            (
                step.percent
                for step in self.credits
                if up < _EXACT.multiply(step.below_percent, Decimal(minutes))
            ),
            default=Decimal(0),
        )


def _freeze(tiers: Mapping[str, SupportTier]) -> Mapping[str, SupportTier]:
    return MappingProxyType(dict(tiers))


@frozen
class SupportModel:
    """One version of the file: a tier per price plan, in the order of the plans."""

    version: int
    tiers: Mapping[str, SupportTier] = field(converter=_freeze)

    def tier(self, price_plan: str) -> SupportTier:
        """Return the tier of a price plan; parsing saw to it that every plan has one."""
        return self.tiers[price_plan]


def describe_support_tier(tier: SupportTier) -> dict[str, Any]:
    """Describe a tier as a JSON value: what the tool, the command and the page say of it.

    Decimals are texts, so that 99.99 stays 99.99.
    """
    hours = tier.hours
    downtime = tier.allowed_downtime_minutes(30)
    return {
        "tier": tier.id,
        "title": tier.title,
        "hours": {
            "coverage": hours.coverage,
            "text": hours.text,
            "days": list(hours.days),
            "opens": None if hours.opens is None else f"{hours.opens:%H:%M}",
            "closes": None if hours.closes is None else f"{hours.closes:%H:%M}",
            "zone": hours.zone,
        },
        "human": tier.is_human,
        "channels": list(tier.channels),
        "response_s": tier.response_s,
        "uptime_percent": None if tier.uptime_percent is None else f"{tier.uptime_percent:f}",
        "allowed_downtime_minutes_per_30_days": None if downtime is None else f"{downtime:f}",
        "credits": [
            {
                "uptime_below_percent": f"{step.below_percent:f}",
                "percent_of_monthly_fee": f"{step.percent:f}",
            }
            for step in tier.credits
        ],
        "model_version": tier.model_version,
    }


def parse_support_model(data: bytes) -> SupportModel:
    """Read the file strictly; InvalidInput names the first key that is wrong.

    Its tiers have to be the price plans on offer, each of them and no other.
    """
    try:
        rows = tomllib.loads(data.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ArithmeticError) as error:
        raise InvalidInput(f"expected the support model to be TOML, got: {error}") from None
    table = _Table("", rows)
    if (schema := table.whole("schema", 1, 1_000_000)) != SCHEMA:
        raise InvalidInput.expected("schema", f"{SCHEMA}, which this program reads", schema)
    version = table.whole("version", 1, 1_000_000)
    business = _read_business_hours(table.table("business_hours"))
    ladder = _read_ladder(table.table("service_credits"))
    tiers = table.table("tiers")
    table.end()
    _expect_plans(tiers)
    return SupportModel(
        version,
        {
            plan: _read_tier(plan, tiers.table(plan), business, ladder, version)
            for plan in PRICE_PLANS
        },
    )


def _read_business_hours(table: _Table) -> SupportHours:
    days = table.words("days", WEEKDAYS)
    if sorted(days, key=WEEKDAYS.index) != list(days):
        raise table.fail("days", "in the order of the week", list(days))
    opens, closes = table.clock("opens"), table.clock("closes")
    if closes <= opens:
        raise table.fail("closes", f"after {opens:%H:%M}", f"{closes:%H:%M}")
    zone = table.word("zone", ("UTC",))
    table.end()
    return SupportHours(coverage="business", days=days, opens=opens, closes=closes, zone=zone)


@frozen
class _Ladder:
    """Steps for all tiers: one at the tier's own target, the others at fixed bounds."""

    at_target: Decimal
    fixed: tuple[ServiceCredit, ...]

    def below(self, target: Decimal) -> tuple[ServiceCredit, ...]:
        """Give the steps of a tier: a bound that its target does not exceed means nothing there."""
        fixed = (step for step in self.fixed if step.below_percent < target)
        return (ServiceCredit(target, self.at_target), *fixed)


def _read_ladder(table: _Table) -> _Ladder:
    cap = table.percent("cap_percent")
    rows = table.tables("steps")
    table.end()
    steps: list[ServiceCredit] = []
    for place, row in enumerate(rows):
        is_first = place == 0
        if is_first:
            row.word("below", ("target",))
        below = _HUNDRED if is_first else row.percent("below")
        step = ServiceCredit(below, row.percent("percent"))
        row.end()
        if steps and not step.below_percent < steps[-1].below_percent:
            raise row.fail("below", f"less than {steps[-1].below_percent}", step.below_percent)
        if steps and not step.percent > steps[-1].percent:
            raise row.fail("percent", f"more than {steps[-1].percent}", step.percent)
        if step.percent > cap:
            raise row.fail("percent", f"at most the cap of {cap}", step.percent)
        steps.append(step)
    return _Ladder(steps[0].percent, tuple(steps[1:]))


def _expect_plans(tiers: _Table) -> None:
    for name in tiers.rows:
        if name not in PRICE_PLANS:
            near = get_close_matches(name, PRICE_PLANS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InvalidInput(
                f"expected tiers to be those of the price plans {list(PRICE_PLANS)},"
                f" got {name!r}{hint}"
            )


def _read_tier(
    plan: str, table: _Table, business: SupportHours, ladder: _Ladder, version: int
) -> SupportTier:
    hours = {
        "best_effort": SupportHours(coverage="best_effort"),
        "business": business,
        "round_the_clock": SupportHours(coverage="round_the_clock"),
    }[table.word("hours", ("best_effort", "business", "round_the_clock"))]
    is_human = table.flag("human")
    channels = table.words("channels", CHANNELS)
    response_s = uptime = None
    if hours.coverage != "best_effort":
        response_s = 60 * table.whole("response_minutes", 1, MAX_RESPONSE_MINUTES)
        uptime = table.percent("uptime_percent")
        if not uptime < _HUNDRED:
            raise table.fail("uptime_percent", "below 100, which nobody can promise", uptime)
    table.end()
    if is_human != (channels != ("mcp",)):
        raise table.fail("human", "true where a channel beside mcp leads to somebody", is_human)
    return SupportTier(
        id=plan,
        title=PRICE_PLANS[plan].title,
        hours=hours,
        is_human=is_human,
        channels=channels,
        response_s=response_s,
        uptime_percent=uptime,
        credits=() if uptime is None else ladder.below(uptime),
        model_version=version,
    )


class _Table:
    """One table of the file that is read strictly, with its place for messages."""

    def __init__(self, place: str, rows: Mapping[str, object]) -> None:
        self.rows = rows
        self._place = place
        self._asked: set[str] = set()

    def _name(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key

    def fail(self, key: str, constraint: str, value: object) -> InvalidInput:
        """Build the error for a key."""
        return InvalidInput.expected(self._name(key), constraint, value)

    def _take(self, key: str, kind: type[T], constraint: str) -> T:
        self._asked.add(key)
        if key not in self.rows:
            raise InvalidInput(f"expected {self._name(key)} to be {constraint}, got no such key")
        value = self.rows[key]
        if type(value) is not kind:  # a boolean is no integer here
            raise self.fail(key, constraint, value)
        return value

    def end(self) -> None:
        """Refuse the keys that nobody has asked for."""
        for key in self.rows:
            if key not in self._asked:
                near = get_close_matches(key, self._asked, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                known = sorted(self._asked)
                place = self._place or "the support model"
                raise InvalidInput(f"expected keys of {place} to be of {known}, got {key!r}{hint}")

    def table(self, key: str) -> _Table:
        """Take a table."""
        rows = cast("dict[str, object]", self._take(key, dict, "a table"))
        return _Table(self._name(key), rows)

    def tables(self, key: str) -> list[_Table]:
        """Take a list of tables that is not empty."""
        rows = cast("list[object]", self._take(key, list, "a list of tables"))
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise self.fail(key, "a list of tables, at least one", rows)
        return [
            _Table(f"{self._name(key)}[{place}]", cast("dict[str, object]", row))
            for place, row in enumerate(rows)
        ]

    def flag(self, key: str) -> bool:
        """Take a boolean."""
        return self._take(key, bool, "true or false")

    def whole(self, key: str, low: int, high: int) -> int:
        """Take an integer."""
        constraint = f"an integer from {low} to {high}"
        value = self._take(key, int, constraint)
        if not low <= value <= high:
            raise self.fail(key, constraint, value)
        return value

    def percent(self, key: str) -> Decimal:
        """Take a number above 0, at most 100."""
        constraint = f"a number above 0, at most 100, with at most {MAX_PLACES} decimal places"
        value = self.rows.get(key)
        number = Decimal(value) if type(value) is int else self._take(key, Decimal, constraint)
        self._asked.add(key)
        exponent = number.as_tuple().exponent
        is_short = isinstance(exponent, int) and exponent >= -MAX_PLACES
        if not is_short or not 0 < number <= _HUNDRED:
            raise self.fail(key, constraint, value)
        return number

    def clock(self, key: str) -> time:
        """Take a time of the day, of whole minutes."""
        value = self._take(key, time, "a time of the day")
        if value.second or value.microsecond:
            raise self.fail(key, "a time of the day in whole minutes", value)
        return value

    def word(self, key: str, known: tuple[str, ...]) -> str:
        """Take one of the known words."""
        value = self._take(key, str, f"one of {list(known)}")
        if value not in known:
            raise self.fail(key, f"one of {list(known)}", value)
        return value

    def words(self, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """Take a list of different known words, at least one."""
        constraint = f"a list of different words of {list(known)}, at least one"
        words = cast("list[object]", self._take(key, list, constraint))
        found = tuple(word for word in known if word in words)
        if not words or len(found) != len(words):
            raise self.fail(key, constraint, words)
        return tuple(str(word) for word in words)


def _expect_whole(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InvalidInput.expected(name, f"an integer from {low} to {high}", value)
