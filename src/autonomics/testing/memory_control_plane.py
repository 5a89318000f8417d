"""A control plane without a tree: real receipts, keys and parking, one decision it can take.

It decides nothing but whether the line is stopped, and acts on nothing. For doors and whatever
else holds a `ControlPlane`; held to the same contract suite as the real one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta

import attrs
import trio

from autonomics.actors.erasure import KEPT_KINDS
from autonomics.actors.message import (
    PLATFORM,
    Accepted,
    Decided,
    EntitlementView,
    Health,
    Inbound,
    KeyView,
    LineView,
    NamedIn,
    NewKey,
    Parked,
    Principal,
    QuotaView,
    ReceiptView,
    Role,
    SignedUp,
    Stop,
    TenantCreated,
    TenantView,
    Unplaced,
)
from autonomics.actors.receipt_view import view_receipt
from autonomics.errors import (
    CallTimedOut,
    IdempotencyConflict,
    InvalidInput,
    NoSuchTenant,
    Overloaded,
    ParkingFull,
    TenantRefused,
    TenantUnavailable,
)
from autonomics.gates.verdict import Verdict, permit, refuse
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import LogHead
from autonomics.receipts.subject import find_subjects, normalise_subject
from autonomics.runtime import Actor, ActorStatus, open_runtime, status
from autonomics.service import read_support_model
from autonomics.supervisors import TreeNode
from autonomics.tenancy.api_key import RANDOM_BYTES, make_api_key
from autonomics.tenancy.price_plans import price_plan_named
from autonomics.tenancy.sign_up import Account
from autonomics.tenancy.support_model import SupportModel, SupportTier
from autonomics.testing.memory_ledger import PAYLOAD_TYPE, Log, MemoryLedger

STATES: Mapping[str, str] = {
    "activate": "active",
    "suspend": "suspended",
    "resume": "active",
    "close": "closed",
}


@attrs.define
class MemoryControlPlane(MemoryLedger):
    """`ControlPlane` in memory; `is_store_down` and `deciding` are what a test turns."""

    open_signals: int = 256
    parked_messages: int = 1000
    parked_bytes: int = 16 * 2**20
    deciding: trio.Event = attrs.Factory(trio.Event)
    """Set: signals are decided at once. Unset: they wait, as behind a busy governor."""

    strangers: int = 0
    support: SupportModel = attrs.Factory(read_support_model)
    known_recipes: tuple[str, ...] = ("ent.quota_near_limit", "opt.idle", "run.oom_memory_limit")
    _keys: dict[str, tuple[KeyView, str]] = attrs.field(
        factory=dict[str, tuple[KeyView, str]], init=False
    )
    _parked: list[Unplaced] = attrs.field(factory=list[Unplaced], init=False)
    _signed_up: dict[str, ReceiptView] = attrs.field(factory=dict[str, ReceiptView], init=False)
    _stops: dict[str, Stop] = attrs.field(factory=dict[str, Stop], init=False)
    _generation: int = attrs.field(default=0, init=False)
    _waiting: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.deciding.set()

    async def authenticate(self, secret: str) -> Principal | None:
        """Look the secret up."""
        for view, known in self._keys.values():
            if known == secret and view.revoked_at is None:
                return Principal(view.id, view.role, view.tenant_id)
        return None

    async def submit(self, inbound: Inbound) -> Accepted:
        """Append `received`, or give the one that is there."""
        return self._submit(inbound, decide=self.deciding.is_set())

    def _submit(self, inbound: Inbound, *, decide: bool) -> Accepted:
        tenant = self._found(inbound.tenant_id)
        if tenant.state == "closed":
            raise TenantUnavailable(f"tenant {tenant.id} is closed", 3600.0)
        log = self._logs[tenant.handle]
        twin = log.seen.get((inbound.source, inbound.message_id))
        if twin is not None:
            if inbound.key_is_chosen and twin[1] != inbound.body:
                raise IdempotencyConflict("the key was used before with another body")
            return Accepted(view_receipt(tenant.handle, log.receipts[twin[0]]), duplicate=True)
        if self._waiting >= self.open_signals:
            raise Overloaded(f"{tenant.id} has {self._waiting} undecided signals")
        entry = Entry(
            kind="received",
            actor="memory",
            payload=inbound.body,
            payload_type=PAYLOAD_TYPE,
            trace=inbound.trace,
        )
        received = self._append(tenant.handle, entry)
        log.seen[inbound.source, inbound.message_id] = (received.seq, inbound.body)
        if decide:
            self._decide(tenant, received.seq)
        return Accepted(received, duplicate=False)

    def _decide(self, tenant: TenantView, seq: int) -> ReceiptView:
        log = self._logs[tenant.handle]
        if seq in log.decisions:
            return view_receipt(tenant.handle, log.receipts[log.decisions[seq]])
        verdict: Verdict = permit("stop_line")
        stop = self._stops.get("line") or self._stops.get(f"tenant:{tenant.id}")
        if stop is not None:
            verdict = refuse(
                "stop_line",
                "line_stopped",
                subject=tenant.id,
                scope=stop.scope,
                reason=stop.reason,
            )
        payload: dict[str, object] = {
            "answer": "refuse" if verdict.refuses else "none",
            "code": verdict.code,
            "verdicts": [verdict.record()],
        }
        entry = Entry(
            kind="decided",
            actor="memory",
            payload=canonical.encode(payload),
            payload_type=PAYLOAD_TYPE,
            cause=(seq,),
            digest=hashlib.sha256(canonical.encode(payload)).hexdigest(),
        )
        decided = self._append(tenant.handle, entry)
        log.decisions[seq] = decided.seq
        return decided

    async def submit_and_wait(self, inbound: Inbound, timeout_s: float = 10.0) -> Decided:
        """Append, wait until decisions are taken, decide."""
        accepted = self._submit(inbound, decide=False)
        self._waiting += 1
        try:
            with trio.fail_after(timeout_s):
                await self.deciding.wait()
        except trio.TooSlowError:
            raise CallTimedOut(f"no decision within {timeout_s:g} s") from None
        finally:
            self._waiting -= 1
        return Decided(accepted, self._decide(self._found(inbound.tenant_id), accepted.receipt.seq))

    async def park(self, unplaced: Unplaced) -> Parked:
        """Keep it in the platform's log, within the sender's bounds."""
        log = self._logs[PLATFORM]
        key = (f"{unplaced.sender} {unplaced.source}", unplaced.message_id)
        if key in log.seen:
            return Parked(view_receipt(PLATFORM, log.receipts[log.seen[key][0]]), duplicate=True)
        mine = [item for item in self._parked if item.sender == unplaced.sender]
        held_bytes = sum(len(item.body) for item in mine) + len(unplaced.body)
        if len(mine) >= self.parked_messages or held_bytes > self.parked_bytes:
            raise ParkingFull(
                f"{unplaced.sender} may not park: limit={self.parked_messages}, used={len(mine)}"
            )
        receipt = self._note("received", parked=unplaced.reason, why=unplaced.why)
        log.seen[key] = (receipt.seq, unplaced.body)
        self._parked.append(unplaced)
        return Parked(receipt, duplicate=False)

    async def count_stranger(self, reason: str) -> None:
        """Count one."""
        self.strangers += 1

    async def tenants(self) -> tuple[TenantView, ...]:
        """Return all."""
        return tuple(self._tenants.values())

    async def tenant(self, tenant_id: str) -> TenantView | None:
        """Return one, by id or handle."""
        try:
            return self._found(tenant_id)
        except NoSuchTenant:
            return None

    async def support_model(self, tenant_id: str) -> SupportTier:
        """Return the tier of its price plan."""
        return self.support.tier(self._found(tenant_id).price_plan)

    async def entitlement(self, tenant_id: str) -> EntitlementView:
        """Return what its price plan gives; nothing is ever used here."""
        tenant = self._found(tenant_id)
        plan = price_plan_named(tenant.price_plan)
        return EntitlementView(
            tenant_id=tenant.id,
            state=tenant.state,
            price_plan=plan.id,
            recipes=plan.recipes,
            is_current=True,
            quotas={
                name: QuotaView(limit, plan.quotas[name].ceiling, used)
                for name, (used, limit) in tenant.quotas.items()
            },
            known_recipes=self.known_recipes,
        )

    async def create_tenant(
        self,
        tenant_id: str,
        name: str,
        price_plan: str,
        by: str,
        limits: Mapping[str, int] | None = None,
    ) -> TenantCreated:
        """Create it, with a log, two keys, and what was parked for it."""
        if tenant_id in self._tenants:
            raise InvalidInput.expected("tenant id", "free", tenant_id)
        plan = price_plan_named(price_plan)
        wanted = {row: grant.limit for row, grant in plan.quotas.items()} | dict(limits or {})
        quotas = {row: (0, limit) for row, limit in wanted.items()}
        handle = f"t{len(self._tenants) + 1:04d}"
        view = TenantView(tenant_id, name, handle, "active", plan.id, self.clock(), quotas=quotas)
        self._note("tenant", event="created", tenant=tenant_id, by=by)
        self._move_in(view)
        api_key = await self.create_key("tenant", tenant_id, by)
        push_token = await self.create_key("push", tenant_id, by)
        mine = [item for item in self._parked if item.tenant_id == tenant_id]
        mine = [item for item in mine if item.reason == "unknown_tenant"]
        self._parked = [item for item in self._parked if item not in mine]
        for item in mine:
            inbound = Inbound(tenant_id, item.source, item.message_id, item.body, item.attributes)
            await self.submit(inbound)
        return TenantCreated(view, api_key, push_token, len(mine))

    def _move_in(self, view: TenantView) -> None:
        self._logs[view.handle] = Log(LogHead.empty(f"memory.test/{view.handle}"))
        self._append(
            view.handle,
            Entry(
                kind="entitlement",
                actor="memory",
                payload=canonical.encode({"price_plan": view.price_plan}),
                payload_type=PAYLOAD_TYPE,
            ),
        )
        self._tenants[view.id] = view

    async def sign_up(self, account: Account) -> SignedUp:
        """Have a pending tenant for it."""
        known = self._tenants.get(account.tenant_id)
        if known is not None:
            if known.account != account.id:
                raise TenantRefused(f"tenant {known.id} was made by hand")
            return SignedUp(known, self._signed_up[known.id], duplicate=True)
        view = TenantView(
            id=account.tenant_id,
            name=f"Google Cloud Marketplace {account.id}",
            handle=f"t{len(self._tenants) + 1:04d}",
            state="pending",
            price_plan="evaluation",
            created_at=self.clock(),
            account=account.id,
        )
        receipt = self._note("tenant", event="signed_up", tenant=view.id, account=account.id)
        self._signed_up[view.id] = receipt
        self._move_in(view)
        return SignedUp(view, receipt, duplicate=False)

    async def change_tenant(self, tenant_id: str, verb: str, by: str) -> TenantView:
        """Carry the verb out."""
        view = self._found(tenant_id)
        if verb not in (*STATES, "readmit"):
            raise InvalidInput.expected("verb", "activate, suspend, resume, close or readmit", verb)
        if view.state == "closed":
            raise InvalidInput.expected("tenant", "open", tenant_id)
        if verb == "activate" and view.state != "pending":
            raise InvalidInput.expected("tenant", "pending", tenant_id)
        self._note("tenant", event=verb, tenant=view.id, by=by)
        state = STATES.get(verb, view.state)
        self._tenants[view.id] = attrs.evolve(view, state=state, quarantined=False)
        return self._tenants[view.id]

    async def create_key(self, role: Role, tenant_id: str | None, by: str) -> NewKey:
        """Make one."""
        if tenant_id is not None:
            tenant_id = self._found(tenant_id).id
        key = make_api_key(self.random_bytes(RANDOM_BYTES))
        self._note("key", event="created", key=key.id, by=by)
        self._keys[key.id] = (KeyView(key.id, role, tenant_id, self.clock()), key.text)
        return NewKey(key.id, key.text, role, tenant_id)

    async def revoke_key(self, key_id: str, by: str) -> KeyView:
        """Revoke one."""
        if key_id not in self._keys:
            raise InvalidInput.expected("key id", "that of a known key", key_id)
        view, secret = self._keys[key_id]
        if view.revoked_at is None:
            self._note("key", event="revoked", key=key_id, by=by)
            view = attrs.evolve(view, revoked_at=self.clock())
            self._keys[key_id] = (view, secret)
        return view

    async def keys(self) -> tuple[KeyView, ...]:
        """Return all."""
        return tuple(view for view, _ in self._keys.values())

    async def line(self) -> LineView:
        """Return the latch."""
        return LineView(self._generation, bool(self._stops), tuple(self._stops.values()))

    async def stop_line(self, scope: str, reason: str, by: str) -> LineView:
        """Stop it in a scope; the first reason stays."""
        kind, _, name = scope.partition(":")
        if (kind == "line") != (not name) or kind not in ("line", "tenant", "recipe", "resource"):
            raise InvalidInput.expected("scope", "line, tenant:, recipe: or resource:", scope)
        self._note("line", event="stopped", scope=scope, reason=reason, by=by)
        self._stops.setdefault(scope, Stop(scope, reason, by, self.clock()))
        self._generation += 1
        return await self.line()

    async def clear_line(
        self, scope: str, root_cause: str, fix: str, prevention: str, by: str
    ) -> LineView:
        """Clear one stop."""
        if scope not in self._stops:
            raise InvalidInput.expected("scope", "one that is stopped", scope)
        texts = {"root_cause": root_cause, "fix": fix, "prevention": prevention}
        self._note("line", event="cleared", scope=scope, by=by, **texts)
        del self._stops[scope]
        self._generation += 1
        return await self.line()

    async def find_subject(self, subject: str) -> tuple[NamedIn, ...]:
        """Look through all payloads."""
        subject = normalise_subject(subject)
        return tuple(
            NamedIn(f"{name}.{receipt.seq}", kind, KEPT_KINDS.get(kind))
            for name, log in sorted(self._logs.items())
            for receipt in log.receipts
            for kind in (receipt.fields.kind,)
            if receipt.payload is not None and subject in find_subjects(receipt.payload)
        )

    async def erase_subject(self, subject: str, reason: str, by: str) -> tuple[NamedIn, ...]:
        """Append an erasure for each, and forget the payloads."""
        if not reason.strip() or normalise_subject(subject) in reason.casefold():
            raise InvalidInput.expected("reason", "a text that doesn't name the subject", reason)
        found = await self.find_subject(subject)
        for named in found:
            name, _, seq = named.receipt_id.rpartition(".")
            if named.kept is None:
                self._erase(name, int(seq), reason, by)
        return found

    async def health(self) -> Health:
        """Say how it is."""
        stopped = "line" in self._stops
        return Health(
            readiness="store_unavailable"
            if self.is_store_down
            else ("line_stopped" if stopped else "ready"),
            store="memory",
            line=await self.line(),
            tenants=len(self._tenants),
            tenants_quarantined=0,
            receipts=sum(log.head.size for log in self._logs.values()),
            uptime_s=timedelta(0).total_seconds(),
            version="memory",
        )

    async def tree(self) -> TreeNode:
        """Return a tree of one."""
        return TreeNode("memory", "memory", "actor", "running")

    async def actor_status(self, path: str) -> ActorStatus | None:
        """Return the status of that one, which is none."""
        if path != "memory":
            return None
        async with open_runtime() as runtime:
            return status(await runtime.start(Actor, id="memory"))
