"""Numbers as they appear in signals and API answers: 3, "3.5", "512Mi", "1000m"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Context, Decimal
from types import MappingProxyType

_NUMBER = re.compile(r"(-?[0-9]{1,400}(?:\.[0-9]{1,400})?)(Ki|Mi|Gi|Ti|m|k|M|G|T)?")

# Wide enough for 800 digits times 2^40: no number is ever rounded here.
_EXACT = Context(prec=1000)

# Kubernetes quantities: binary with i, decimal without, and thousandths.
_FACTORS: Mapping[str, Decimal] = MappingProxyType(
    {
        "": Decimal(1),
        "m": Decimal("0.001"),
        "k": Decimal(10**3),
        "M": Decimal(10**6),
        "G": Decimal(10**9),
        "T": Decimal(10**12),
        "Ki": Decimal(2**10),
        "Mi": Decimal(2**20),
        "Gi": Decimal(2**30),
        "Ti": Decimal(2**40),
    }
)


def read_number(value: object) -> Decimal | None:
    """Read an integer, a decimal text or a quantity; None for anything else, a flag included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if not isinstance(value, str):
        return None
    found = _NUMBER.fullmatch(value)
    if found is None:
        return None
    return _EXACT.multiply(Decimal(found.group(1)), _FACTORS[found.group(2) or ""])
