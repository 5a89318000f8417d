"""What a recipe wants to do: bounded calls, each with its way back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Final, assert_never, cast

from attrs import evolve, frozen

from autonomics.receipts.canonical import encode
from autonomics.recipes.diagnosis import Candidate
from autonomics.recipes.effector import PlannedCall
from autonomics.recipes.path import Path
from autonomics.recipes.quantity import read_number
from autonomics.recipes.recipe import (
    ActionSpec,
    Add,
    Const,
    Fill,
    Frame,
    FromPath,
    NextStepUp,
    Recipe,
    Scale,
    ValueSpec,
)
from autonomics.recipes.signal import Json, decimal_text
from autonomics.recipes.template import Template
from autonomics.recipes.view import SignalView

# Of one path's before-image in canonical form: receipts keep it, and a roll-back sends it.
MAX_IMAGE_BYTES: Final = 8_192


@frozen(kw_only=True)
class Plan:
    """The calls of one act, in order, and the calls that undo them, in reverse order."""

    recipe: Mapping[str, Json]
    fingerprint: str
    resource: str
    calls: tuple[PlannedCall, ...]
    rollback: tuple[PlannedCall, ...]
    settle_s: int
    verify_after_s: int
    verify_until_s: int

    def record(self) -> dict[str, Json]:
        """Give the canonical form."""
        return {
            "recipe": dict(self.recipe),
            "fingerprint": self.fingerprint,
            "resource": self.resource,
            "calls": [call.record() for call in self.calls],
            "rollback": [call.record() for call in self.rollback],
            "settle_s": self.settle_s,
            "verify_after_s": self.verify_after_s,
            "verify_until_s": self.verify_until_s,
        }


@frozen
class PlanFault:
    """Why there is no plan: the recipe has no lawful step here, or a value is not known."""

    reason: str


def make_plan(candidate: Candidate, tenant: str) -> Plan | PlanFault:
    """Plan the recipe's actions on what the facts say now."""
    recipe = candidate.recipe
    if not recipe.actions or recipe.verify is None:
        return PlanFault("the recipe declares no action that can be verified")
    calls: list[PlannedCall] = []
    for spec in recipe.actions:
        call = _plan_call(recipe, spec, candidate.view, tenant)
        if isinstance(call, PlanFault):
            return call
        calls.append(call)
    return Plan(
        recipe=recipe.ref(),
        fingerprint=candidate.view.fingerprint,
        resource=calls[0].resource,
        calls=tuple(calls),
        rollback=_undo(recipe, calls),
        settle_s=recipe.verify.settle_s,
        verify_after_s=recipe.verify.after_s,
        verify_until_s=recipe.verify.until_s,
    )


def resource_of(candidate: Candidate) -> str | None:
    """Name the resource that the first action is about; None where the signal doesn't say."""
    actions = candidate.recipe.actions
    return actions[0].resource.fill(candidate.view.lookup) if actions else None


def _undo(recipe: Recipe, calls: list[PlannedCall]) -> tuple[PlannedCall, ...]:
    if recipe.rollback is None:
        return ()
    # Unconditional: after our own change the recorded etag is stale by design, and the bound act
    # holds the resource. The before-image of exactly our mask can't undo anyone else's paths.
    return tuple(
        evolve(
            call,
            call=recipe.rollback.call,
            set=call.before,
            before=call.set,
            etag=None,
            idempotency_key=f"{call.idempotency_key}:rollback",
            validate_only_first=False,
        )
        for call in reversed(calls)
    )


def _plan_call(
    recipe: Recipe, spec: ActionSpec, view: SignalView, tenant: str
) -> PlannedCall | PlanFault:
    resource = spec.resource.fill(view.lookup)
    if resource is None:
        return PlanFault("the signal does not say which resource it is about")
    args = {name: template.fill(view.lookup) for name, template in spec.args.items()}
    filled = {name: text for name, text in args.items() if text is not None}
    if len(filled) != len(args):
        return PlanFault(f"the signal lacks an argument of {spec.call}")
    values: dict[str, Json] = {}
    before: dict[str, Json] = {}
    for path, value_spec in spec.set.items():
        value, present = _compute(value_spec, view), _image(path, spec.before[path], view)
        if isinstance(value, PlanFault):
            return value
        if isinstance(present, PlanFault):
            return present
        if _exceeds_factor(spec.max_factor, present, value):
            return PlanFault(f"{path} would grow from {present} to {value} at once")
        values[path] = value
        # What was left out is left out again by the roll-back, not set to what that means.
        if not view.is_left_out(spec.before[path]):
            before[path] = present
    etag = None if spec.etag is None else view.lookup(spec.etag)
    if spec.etag is not None and not isinstance(etag, str):
        return PlanFault("the resource's etag is not known")
    key = _idempotency_key(recipe, spec, view, tenant, resource)
    if isinstance(key, PlanFault):
        return key
    return PlannedCall(
        call=spec.call,
        resource=resource,
        set=values,
        mask=spec.mask,
        before=before,
        args=filled,
        etag=etag if isinstance(etag, str) else None,
        idempotency_key=key,
        timeout_s=spec.timeout_s,
        validate_only_first=spec.validate_only_first,
    )


def _image(path: str, where: Path, view: SignalView) -> Json | PlanFault:
    """Give a path's present value, of any form."""
    present = view.lookup(where)
    if isinstance(present, str | int):
        return present
    if not isinstance(present, list | dict):
        return PlanFault(f"the present value of {path} is not known, so it can't be restored")
    image = cast("list[Json] | dict[str, Json]", present)
    if len(encode(image)) > MAX_IMAGE_BYTES:
        return PlanFault(f"the present value of {path} is larger than {MAX_IMAGE_BYTES} bytes")
    return image


def _idempotency_key(
    recipe: Recipe, spec: ActionSpec, view: SignalView, tenant: str, resource: str
) -> str | PlanFault:
    values: list[Json] = []
    for path in spec.idempotency_key:
        value = view.lookup(path)
        if not isinstance(value, str | int):
            return PlanFault(f"{'.'.join(path)} is not known, so a repeat can't be told")
        values.append(value)
    content: list[Json] = [tenant, recipe.id, spec.call, resource, values]
    return hashlib.sha256(encode(content)).hexdigest()


def _exceeds_factor(factor: Decimal | None, present: Json, value: Json) -> bool:
    before, after = read_number(present), read_number(value)
    if factor is None:
        return False
    # A factor on what is no number can't be held, so it is not kept.
    return before is None or after is None or after > before * factor


def _compute(spec: ValueSpec, view: SignalView) -> Json | PlanFault:
    match spec:
        case Const(value=value):
            return decimal_text(value) if isinstance(value, Decimal) else value
        case FromPath(path=path):
            found = view.lookup(path)
            if isinstance(found, str | int):
                return found
            return PlanFault(f"{'.'.join(path)} is not known")
        case NextStepUp():
            return _step_up(spec, view)
        case Scale():
            return _scale(spec, view)
        case Add():
            return _grow(spec.of, spec.caps, view, lambda present: present + spec.by)
        case Fill(value=frame):
            return _fill(frame, view)
        case _:
            assert_never(spec)


def _present(path: Path, view: SignalView) -> Decimal | PlanFault:
    number = read_number(view.lookup(path))
    return PlanFault(f"{'.'.join(path)} is not known") if number is None else number


def _step_up(spec: NextStepUp, view: SignalView) -> str | PlanFault:
    present = _present(spec.of, view)
    if isinstance(present, PlanFault):
        return present
    for step in spec.steps:
        size = read_number(step)
        if size is not None and size > present:
            return step
    return PlanFault(f"{'.'.join(spec.of)} stands at the largest step, {spec.steps[-1]}")


def _scale(spec: Scale, view: SignalView) -> int | PlanFault:
    return _grow(spec.of, spec.caps, view, lambda present: max(present * spec.factor, present + 1))


def _grow(
    of: Path,
    caps: tuple[Path | Decimal, ...],
    view: SignalView,
    wish: Callable[[Decimal], Decimal],
) -> int | PlanFault:
    """Give the integer wished for, within all caps; it is always above the present value."""
    present = _present(of, view)
    if isinstance(present, PlanFault):
        return present
    least: Decimal | None = None
    for cap in caps:
        limit = cap if isinstance(cap, Decimal) else _present(cap, view)
        if isinstance(limit, PlanFault):
            return limit
        least = limit if least is None else min(least, limit)
    wished = wish(present) if least is None else min(wish(present), least)
    grown = wished.to_integral_value(rounding=ROUND_FLOOR)
    if grown <= present:
        ceiling = present if least is None else least
        return PlanFault(f"{'.'.join(of)} stands at its ceiling, {decimal_text(ceiling)}")
    return int(grown)


def _fill(frame: Frame, view: SignalView) -> Json | PlanFault:
    match frame:
        case Template():
            text = frame.fill(view.lookup)
            if text is not None:
                return text
            places = " and ".join(".".join(path) for path in frame.paths())
            return PlanFault(f"{places} is not known")
        case list():
            parts = [_fill(each, view) for each in frame]
            values = [each for each in parts if not isinstance(each, PlanFault)]
            return values if len(values) == len(parts) else _first_fault(parts)
        case dict():
            pairs = {name: _fill(each, view) for name, each in frame.items()}
            known = {name: each for name, each in pairs.items() if not isinstance(each, PlanFault)}
            return known if len(known) == len(pairs) else _first_fault(pairs.values())
        case _:
            return frame


def _first_fault(parts: Iterable[Json | PlanFault]) -> PlanFault:
    return next(each for each in parts if isinstance(each, PlanFault))
