"""What of the line a principal may see."""

from __future__ import annotations

import re

import attrs

from autonomics.actors.message import LineView, TenantView


def narrow_line(view: LineView, own: TenantView | None) -> LineView:
    """Leave out what is not that tenant's: other tenants, and resources, whose names tell."""
    names = () if own is None else (own.id, own.handle)
    stops = tuple(stop for stop in view.stops if _may_see(stop.scope, names))
    is_unreadable = view.stopped and not view.stops
    return attrs.evolve(view, stops=stops, stopped=is_unreadable or bool(stops))


def _may_see(scope: str, names: tuple[str, ...]) -> bool:
    kind, *name = re.split("[: ]", scope, maxsplit=1)
    return kind in ("line", "recipe") or (kind == "tenant" and name[0] in names)
