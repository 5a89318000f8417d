"""The table of tools, in the order in which they are listed."""

from __future__ import annotations

from typing import Any, Final

from autonomics.tools import entitlement_check, health_check, receipt_verify, support_model
from autonomics.tools.tool import Tool

TOOLS: Final[tuple[Tool[Any, Any], ...]] = (
    health_check.TOOL,
    entitlement_check.TOOL,
    receipt_verify.TOOL,
    support_model.TOOL,
)
