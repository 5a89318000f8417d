"""`support-model`: what support each price plan comes with. No server is needed."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from autonomics.cli.command import Command
from autonomics.cli.output import print_json, print_table, print_text
from autonomics.cli.parser import CommandParser

if TYPE_CHECKING:
    from autonomics.tenancy.support_model import SupportTier

NONE = "--"
PERIOD_DAYS = 30


def _add(parser: CommandParser) -> None:
    parser.add_json()


def _print(options: Namespace) -> None:
    from autonomics.service import read_support_model
    from autonomics.tenancy.support_model import describe_support_tier

    model = read_support_model()
    tiers = model.tiers.values()
    if options.json:
        shown: list[Any] = [describe_support_tier(tier) for tier in tiers]
        print_json({"version": model.version, "tiers": shown})
        return
    columns = [_describe(tier) for tier in tiers]
    rows = dict.fromkeys(name for column in columns for name in column)
    print_table(
        ("", *(tier.id for tier in tiers)),
        [(name, *(column.get(name, NONE) for column in columns)) for name in rows],
    )
    print_text(f"\nVersion {model.version} of the support model. {NONE} means: not promised.")


def _describe(tier: SupportTier) -> dict[str, str]:
    """Describe a tier in words; what it does not promise is not there."""
    shown = {
        "hours": tier.hours.text,
        "a person answers": "yes" if tier.is_human else "no",
        "channels": ", ".join(tier.channels),
    }
    if tier.response_s is not None:
        shown["first response within"] = _span(tier.response_s)
    down = tier.allowed_downtime_minutes(PERIOD_DAYS)
    if down is not None:
        shown["uptime in a month"] = f"{tier.uptime_percent:f} %"
        shown[f"down in {PERIOD_DAYS} days, at most"] = f"{down:f} min"
    for credit in tier.credits:
        shown[f"{credit.percent:f} % of the fee back below"] = f"{credit.below_percent:f} %"
    return shown


def _span(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{seconds // 60} min" if rest else f"{hours} h"


COMMANDS = (Command(None, "print what support each price plan comes with", _add, _print),)
