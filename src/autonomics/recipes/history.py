"""What a tenant's receipts say about the past, as a fold: small, bounded, and pure.

Only what recipes count is kept: which signal hit which fingerprint when (event time), what was
done about it and how it ended, and who approved what. No text and no payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, cast, get_args

from attrs import evolve, field, frozen

from autonomics.errors import InvalidInput
from autonomics.gates.context import Approval
from autonomics.recipes.signal import Json, moment_text, parse_moment

ActState = Literal[
    "intended",
    "done",
    "failed",
    "timed_out",
    "killed",
    "unknown",
    "effective",
    "ineffective",
    "rolled_back",
    "rollback_failed",
]
ACT_STATES: Final[tuple[ActState, ...]] = get_args(ActState)
# An act in one of these is not over. One whose end nobody knows has stopped the tenant's line; who
# clears that has looked, so it does not hold the resource for ever.
OPEN_STATES: Final = frozenset({"intended", "done"})

MAX_FINGERPRINTS: Final = 4_096
MAX_HITS: Final = 64
MAX_ACTS: Final = 4_096
HORIZON: Final = timedelta(days=32)

Key: TypeAlias = "tuple[str, str]"


@frozen(order=True)
class Hit:
    """One signal that matched: its event time, and a short hash of its message id if it had one."""

    at: datetime
    id: str = ""


@frozen(kw_only=True)
class Act:
    """One governed act: what it was about, when it was intended and ended, how far it came."""

    id: str
    recipe: str
    fingerprint: str
    resource: str
    at: datetime
    ended_at: datetime | None = None
    state: ActState = "intended"


@frozen(kw_only=True)
class HistoryView:
    """The numbers that one recipe sees of the past, for one fingerprint and resource."""

    window: int
    since_action: int | None
    approvals: tuple[str, ...] = ()
    acts_on_resource: int = 0
    acts_of_tenant: int = 0
    recurrence: int = 0
    open_acts: int = 0
    counts: Mapping[str, int] = field(factory=dict[str, int])

    def record(self) -> dict[str, Json]:
        """Give the canonical form."""
        # A recipe that counts nothing more leaves the form as it was, and its digests with it.
        more: dict[str, Json] = {"counts": dict(self.counts)} if self.counts else {}
        return {
            **more,
            "window": self.window,
            "since_action": self.since_action,
            "approvals": list(self.approvals),
            "acts_on_resource": self.acts_on_resource,
            "acts_of_tenant": self.acts_of_tenant,
            "recurrence": self.recurrence,
            "open_acts": self.open_acts,
        }


@frozen(kw_only=True)
class History:
    """The fold. `hits` by (recipe, fingerprint), ascending; `acts` by id, in order of intent."""

    hits: Mapping[Key, tuple[Hit, ...]] = field(factory=dict[Key, tuple[Hit, ...]])
    acts: Mapping[str, Act] = field(factory=dict[str, Act])
    approvals: Mapping[Key, tuple[Approval, ...]] = field(factory=dict[Key, tuple[Approval, ...]])

    @classmethod
    def empty(cls) -> History:
        """Give the history of a tenant to whom nothing has happened."""
        return cls()

    def apply(self, kind: str, payload: Mapping[str, Json], seq: int, at: datetime) -> History:
        """Fold one receipt in. Kinds that recipes don't count change nothing.

        `payload` is the decoded payload as `record.py` builds it, `at` the receipt's time. `seq`
        is named in the error that a payload of the wrong form raises (InvalidInput).
        """
        try:
            match kind:
                case "decided":
                    return self._with_hits(payload)
                case "intent":
                    return self._with_intent(payload, at)
                case "outcome" | "verified" | "rolled_back":
                    return self._with_state(payload, at)
                case "approval":
                    return self._with_approval(payload)
                case _:
                    return self
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"expected payload of {kind} at seq {seq} to be as record.py builds it: {error!r}"
            ) from error

    def _with_hits(self, payload: Mapping[str, Json]) -> History:
        hit = Hit(parse_moment(payload["event_at"]), cast("str", payload["hit"]))
        rows = cast("list[dict[str, str]]", payload["matches"])
        if not rows:
            return self
        hits = dict(self.hits)
        for row in rows:
            key = (row["recipe"], row["fingerprint"])
            earlier = hits.pop(key, ())
            if payload["closed"]:
                # A closed incident takes its signals out of every count. (keep#5115)
                rest = tuple(each for each in earlier if each.at > hit.at)
            else:
                # A signal that is decided again, say after an approval, has hit once.
                rest = tuple(sorted((*_others(earlier, hit.id), hit)))[-MAX_HITS:]
            if rest:
                hits[key] = rest
        while len(hits) > MAX_FINGERPRINTS:
            del hits[next(iter(hits))]
        return evolve(self, hits=hits)

    def _with_intent(self, payload: Mapping[str, Json], at: datetime) -> History:
        act = Act(
            id=cast("str", payload["action_id"]),
            recipe=cast("dict[str, str]", payload["recipe"])["id"],
            fingerprint=cast("str", payload["fingerprint"]),
            resource=cast("str", payload["resource"]),
            at=at,
        )
        kept = {each.id: each for each in self.acts.values() if at - each.at <= HORIZON}
        kept[act.id] = act
        while len(kept) > MAX_ACTS:
            del kept[next(iter(kept))]
        approvals = dict(self.approvals)
        # An approval is for one act: the next one asks again.
        approvals.pop((act.recipe, act.fingerprint), None)
        return evolve(self, acts=kept, approvals=approvals)

    def _with_state(self, payload: Mapping[str, Json], at: datetime) -> History:
        act = self.acts.get(cast("str", payload["action_id"]))
        state = payload["result"]
        if state not in ACT_STATES:
            raise ValueError(f"result {state!r} is none of {ACT_STATES}")
        if act is None:
            return self
        ended = evolve(act, state=state, ended_at=act.ended_at or at)
        return evolve(self, acts={**self.acts, act.id: ended})

    def _with_approval(self, payload: Mapping[str, Json]) -> History:
        key = (cast("str", payload["recipe"]), cast("str", payload["fingerprint"]))
        by = cast("str", payload["by"])
        others = tuple(each for each in self.approvals.get(key, ()) if each.by != by)
        approvals = {**self.approvals, key: others}
        if payload["approved"]:
            approval = Approval(by=by, expires_at=parse_moment(payload["expires_at"]))
            approvals[key] = (*others, approval)
        return evolve(self, approvals=approvals)

    def count_window(self, key: Key, hit: Hit, window_s: int) -> int:
        """Count the other hits within the window around a hit, and the hit itself."""
        return self.count_around(key, hit.at, window_s, hit)

    def count_around(self, key: Key, at: datetime, window_s: int, hit: Hit | None) -> int:
        """Count the hits within the window around a moment, and `hit` once if it is one."""
        width = timedelta(seconds=window_s)
        others = _others(self.hits.get(key, ()), "" if hit is None else hit.id)
        return (hit is not None) + sum(abs(at - each.at) <= width for each in others)

    def count_since_action(
        self,
        key: Key,
        hit: Hit | None = None,
        settle_s: int = 0,
        hits_of: Key | None = None,
    ) -> int | None:
        """Count the hits from `settle_s` after the last act on; None if no act has ended.

        `hits_of` names other hits than those that the act was about.
        """
        ends = [act.ended_at for act in self._acts_on(key) if act.ended_at is not None]
        if not ends:
            return None
        since = max(ends) + timedelta(seconds=settle_s)
        hits = self.hits.get(hits_of or key, ())
        counted = hits if hit is None else (*_others(hits, hit.id), hit)
        return sum(each.at > since for each in counted)

    def count_acts_on_resource(
        self, recipe: str, resource: str, now: datetime, period_s: int
    ) -> int:
        """Count the acts of a recipe on one resource within the last `period_s`."""
        return sum(
            act.recipe == recipe and act.resource == resource and _is_within(act, now, period_s)
            for act in self.acts.values()
        )

    def count_acts_of_tenant(self, recipe: str, now: datetime, period_s: int) -> int:
        """Count the acts of a recipe for the tenant within the last `period_s`."""
        return sum(
            act.recipe == recipe and _is_within(act, now, period_s) for act in self.acts.values()
        )

    def count_recurrence(self, key: Key, now: datetime, period_s: int) -> int:
        """Count the acts after which the same signal came back, within the last `period_s`."""
        return sum(_is_within(act, now, period_s) for act in self._acts_on(key))

    def count_open_acts(self, resource: str) -> int:
        """Count the acts on a resource, of any recipe, whose end nobody has seen."""
        return sum(
            act.resource == resource and act.state in OPEN_STATES for act in self.acts.values()
        )

    def _acts_on(self, key: Key) -> list[Act]:
        return [act for act in self.acts.values() if (act.recipe, act.fingerprint) == key]

    def record(self) -> dict[str, Json]:
        """Give the canonical form, for snapshots."""
        return {
            "hits": [
                [recipe, fingerprint, [[moment_text(each.at), each.id] for each in hits]]
                for (recipe, fingerprint), hits in self.hits.items()
            ],
            "acts": [
                [
                    act.id,
                    act.recipe,
                    act.fingerprint,
                    act.resource,
                    moment_text(act.at),
                    None if act.ended_at is None else moment_text(act.ended_at),
                    act.state,
                ]
                for act in self.acts.values()
            ],
            "approvals": [
                [recipe, fingerprint, each.by, moment_text(each.expires_at)]
                for (recipe, fingerprint), approvals in self.approvals.items()
                for each in approvals
            ],
        }


def _others(hits: tuple[Hit, ...], hit_id: str) -> tuple[Hit, ...]:
    """Leave out the hit of that id; hits without an id are all different."""
    return tuple(each for each in hits if not hit_id or each.id != hit_id)


def _is_within(act: Act, now: datetime, period_s: int) -> bool:
    # Inclusive: what happened exactly one period ago still counts.
    return now - act.at <= timedelta(seconds=period_s)


def parse_history(record: Mapping[str, Json]) -> History:
    """Read what `History.record` wrote."""
    hits = cast("list[tuple[str, str, list[tuple[str, str]]]]", record["hits"])
    acts = cast("list[tuple[str, str, str, str, str, str | None, ActState]]", record["acts"])
    approvals: dict[Key, tuple[Approval, ...]] = {}
    for recipe, fingerprint, by, expires_at in cast(
        "list[tuple[str, str, str, str]]", record["approvals"]
    ):
        key = (recipe, fingerprint)
        approval = Approval(by=by, expires_at=parse_moment(expires_at))
        approvals[key] = (*approvals.get(key, ()), approval)
    return History(
        hits={
            (recipe, fingerprint): tuple(Hit(parse_moment(text), hit_id) for text, hit_id in rows)
            for recipe, fingerprint, rows in hits
        },
        acts={
            row[0]: Act(
                id=row[0],
                recipe=row[1],
                fingerprint=row[2],
                resource=row[3],
                at=parse_moment(row[4]),
                ended_at=None if row[5] is None else parse_moment(row[5]),
                state=row[6],
            )
            for row in acts
        },
        approvals=approvals,
    )
